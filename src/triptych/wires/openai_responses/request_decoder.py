"""A request of this wire, decoded whole: what is asked for, in the terms every wire shares."""

import base64
import binascii
import re
from collections.abc import Collection

import msgspec

from triptych.core.conversation import (
    Base64,
    CacheHint,
    Citation,
    Conversation,
    Document,
    FileId,
    Image,
    Message,
    OutputFormat,
    Part,
    PlainText,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from triptych.core.failure import Failure, FailureKind
from triptych.wires.openai_conventions import ERROR_PREFIX
from triptych.wires.openai_responses import request_schema as schema
from triptych.wires.openai_responses.encrypted import OWN, unsealed
from triptych.wires.strict import decode, untranslatable

SUMMARY_SEPARATOR = "\n\n"
TEXT_DOCUMENT_TYPE = "text/plain"

EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
VERBOSITIES = frozenset({"low", "medium", "high"})
DETAILS = frozenset({"low", "high", "original"})
SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority"})

_REQUEST = msgspec.json.Decoder(schema.Request)
_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*)*?;base64,(?P<data>.*)", re.DOTALL)
_NO_ARGUMENTS = msgspec.Raw(b'{"type":"object","properties":{}}')
_NULL = b"null"
_ABSENT = msgspec.UNSET
# Included only with what server tools do, or what a client has anyway: there is nothing to include.
_EMPTY_INCLUDES = frozenset(
    {
        "reasoning.encrypted_content",
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
    }
)
_REFUSED_UNLESS_NULL = (
    "access_programs",
    "background_options",
    "context_management",
    "conversation",
    "image",
    "moderation",
    "previous_response_id",
    "prompt",
)
_IGNORED = ("client_metadata", "max_tool_calls", "prompt_cache_options")
_ASSISTANT_ITEMS = frozenset({"function_call", "reasoning"})


def decode_request(body: bytes) -> Conversation:
    """``body`` is one that ``parse_request`` accepted.

    Raises Failure UNSUPPORTED_PARAMETER for a field, or a value of it, that cannot be translated
    (``param`` is its path, with ``[]`` for an index), INVALID_BODY for a value of the wrong type.
    """
    request = decode(_REQUEST, body)
    left_out: dict[str, None] = {}
    _check(request, left_out)
    text = request.text or schema.TextConfig()
    if text.verbosity is not None:
        _one_of("text.verbosity", text.verbosity, VERBOSITIES)
    return Conversation(
        messages=tuple(_messages(request, left_out)),
        stream=request.stream or False,
        max_output_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        tools=tuple(_tool(tool) for tool in request.tools or ()),
        tool_choice=_tool_choice(request.tool_choice),
        parallel_tool_calls=request.parallel_tool_calls,
        output_format=_output_format(text),
        thinking=_thinking(request.reasoning),
        verbosity=text.verbosity,
        service_tier=_service_tier(request.service_tier),
        user=request.user,
        safety_identifier=request.safety_identifier,
        prompt_cache_key=request.prompt_cache_key,
        prompt_cache_retention=request.prompt_cache_retention,
        left_out=tuple(left_out),
    )


def _check(request: schema.Request, left_out: dict[str, None]) -> None:
    """Fields that only this wire has: refused, neutral, or left out."""
    for name in _REFUSED_UNLESS_NULL:
        if _said(getattr(request, name)):
            raise untranslatable(name)
    if request.background:
        raise untranslatable("background")
    if request.top_logprobs:
        raise untranslatable("top_logprobs")
    if request.truncation not in (None, "disabled"):
        raise untranslatable("truncation")
    for included in request.include or ():
        _one_of("include", included, _EMPTY_INCLUDES)
    for name in _IGNORED:
        if _said(getattr(request, name)):
            left_out[name] = None
    if request.stream_options is not None and request.stream_options.include_obfuscation is not None:
        left_out["stream_options.include_obfuscation"] = None


def _said(raw: msgspec.Raw | msgspec.UnsetType) -> bool:
    return raw is not _ABSENT and bytes(raw) != _NULL


def _one_of(path: str, value: str, values: Collection[str]) -> str:
    if value not in values:
        raise untranslatable(path, "has a value that cannot be translated")
    return value


def _messages(request: schema.Request, left_out: dict[str, None]) -> list[Message]:
    messages: list[Message] = []
    if request.instructions:
        messages.append(Message(Role.SYSTEM, (Text(request.instructions),)))
    if isinstance(request.input, str):
        if request.input:
            messages.append(Message(Role.USER, (Text(request.input),)))
        return messages
    role: Role | None = None
    parts: list[Part] = []
    for item in request.input:
        item_role, item_parts = _item(item, left_out)
        if not item_parts:
            continue
        # One turn of the assistant is many items here, and one message everywhere else.
        if item_role is role and role in (Role.ASSISTANT, Role.TOOL):
            parts += item_parts
            continue
        if role is not None:
            messages.append(Message(role, tuple(parts)))
        role, parts = item_role, item_parts
    if role is not None:
        messages.append(Message(role, tuple(parts)))
    return messages


def _item(item: schema.Item, left_out: dict[str, None]) -> tuple[Role, list[Part]]:
    known = schema.ITEM_FIELDS.get(item.type)
    if known is None:
        raise untranslatable("input[].type", "has a value that cannot be translated")
    for name, encoded in zip(item.__struct_fields__, item.__struct_encode_fields__, strict=True):
        if name != "type" and encoded not in known and getattr(item, name) is not None:
            raise untranslatable(f"input[].{encoded}")
    if item.type == "message":
        return _message(item, left_out)
    if item.type == "reasoning":
        return Role.ASSISTANT, _reasoning(item)
    if item.namespace:
        raise untranslatable("input[].namespace")
    if item.caller and item.caller.type != "direct":
        raise untranslatable("input[].caller")
    if item.type == "function_call":
        if item.is_async:
            raise untranslatable("input[].async")
        call_id, name = _required("call_id", item.call_id), _required("name", item.name)
        return Role.ASSISTANT, [ToolCall(call_id, name, _required("arguments", item.arguments))]
    return Role.TOOL, [_tool_result(item)]


def _required(name: str, value: str | None) -> str:
    if value is None:
        path = f"input[].{name}"
        raise Failure(FailureKind.INVALID_BODY, f"{path} is required", param=path)
    return value


def _message(item: schema.Item, left_out: dict[str, None]) -> tuple[Role, list[Part]]:
    role = Role(_one_of("input[].role", _required("role", item.role), schema.MESSAGE_ROLES))
    if item.phase is not None:
        left_out["input[].phase"] = None
    content = item.content
    if isinstance(content, str):
        return role, [Text(content)] if content else []
    if content is None:
        raise Failure(FailureKind.INVALID_BODY, "input[].content is required", param="input[].content")
    parts: list[Part] = []
    for part in content:
        decoded = _content(role, part, left_out)
        if decoded is not None:
            parts.append(decoded)
    return role, parts


def _content(role: Role, part: schema.Content, left_out: dict[str, None]) -> Part | None:
    if isinstance(part, schema.InputText):
        return Text(part.text, cache=_cache(part.prompt_cache_breakpoint)) if part.text else None
    if role is Role.USER and isinstance(part, schema.InputImage | schema.InputFile):
        return _attachment("input[].content[]", part)
    if role is Role.ASSISTANT:
        if isinstance(part, schema.OutputText):
            return _output_text(part, left_out)
        if isinstance(part, schema.OutputRefusal):
            return Refusal(part.refusal) if part.refusal else None
    raise untranslatable("input[].content[].type", "has a value that cannot be translated")


def _output_text(part: schema.OutputText, left_out: dict[str, None]) -> Text | None:
    if _said(part.logprobs):
        left_out["input[].content[].logprobs"] = None
    citations: list[Citation] = []
    for cited in part.annotations or ():
        if isinstance(cited, schema.UrlCitation):
            citations.append(
                Citation(cited.url, cited.title or None, start=cited.start_index, end=cited.end_index)
            )
        else:
            left_out["input[].content[].annotations[]"] = None
    return Text(part.text, tuple(citations)) if part.text else None


def _cache(given: schema.Breakpoint | None) -> CacheHint | None:
    if given is None:
        return None
    # At least 30 minutes: of the two lifetimes that can be named elsewhere only the longer will do.
    return CacheHint(None if given.ttl is None else "1h")


def _attachment(path: str, part: schema.InputImage | schema.InputFile) -> Image | Document:
    cache = _cache(part.prompt_cache_breakpoint)
    if isinstance(part, schema.InputImage):
        source = _one_source(path, image_url=part.image_url, file_id=part.file_id)
        detail = None if part.detail in (None, "auto") else part.detail
        if detail is not None:
            _one_of(f"{path}.detail", detail, DETAILS)
        if part.image_url:
            source = _data_or_url(f"{path}.image_url", part.image_url)
        return Image(source, detail, cache)
    if part.detail not in (None, "auto"):
        raise untranslatable(f"{path}.detail")
    source = _one_source(path, file_data=part.file_data, file_url=part.file_url, file_id=part.file_id)
    if part.file_data:
        source = _data(f"{path}.file_data", part.file_data)
        if source.media_type == TEXT_DOCUMENT_TYPE:
            return Document(_plain_text(f"{path}.file_data", source), part.filename or None, cache)
    return Document(source, part.filename or None, cache)


def _one_source(path: str, **sources: str | None) -> Url | FileId | Base64:
    """The file id or URL; of what holds data only its own reader knows."""
    given = {name: value for name, value in sources.items() if value}
    if len(given) != 1:
        names = " or ".join(sources)
        raise Failure(FailureKind.INVALID_BODY, f"{path} must have one of {names}", param=path)
    name, value = given.popitem()
    return FileId(OWN, value) if name == "file_id" else Url(value)


def _data_or_url(path: str, url: str) -> Url | Base64:
    return _data(path, url) if url[:5].lower() == "data:" else Url(url)


def _data(path: str, url: str) -> Base64:
    match = _DATA_URL.fullmatch(url)
    if match is None or not match["type"]:
        raise Failure(FailureKind.INVALID_BODY, f"{path} must be a data URL with base64 data", param=path)
    return Base64(match["type"], match["data"])


def _plain_text(path: str, source: Base64) -> PlainText:
    try:
        return PlainText(base64.b64decode(source.data, validate=True).decode())
    except (binascii.Error, ValueError):
        raise Failure(FailureKind.INVALID_BODY, f"{path} must be UTF-8 text in base64", param=path) from None


def _tool_result(item: schema.Item) -> ToolResult:
    call_id = _required("call_id", item.call_id)
    output = item.output
    if output is None:
        raise Failure(FailureKind.INVALID_BODY, "input[].output is required", param="input[].output")
    if isinstance(output, str):
        output = [schema.InputText(output)]
    parts: list[Text | Image | Document] = []
    for part in output:
        if isinstance(part, schema.InputText):
            parts.append(Text(part.text, cache=_cache(part.prompt_cache_breakpoint)))
        else:
            parts.append(_attachment("input[].output[]", part))
    first = next((index for index, part in enumerate(parts) if isinstance(part, Text)), None)
    is_error = False
    if first is not None:
        text = parts[first]
        assert isinstance(text, Text)
        if text.text.startswith(ERROR_PREFIX):
            is_error = True
            parts[first] = Text(text.text[len(ERROR_PREFIX) :], cache=text.cache)
    kept = tuple(part for part in parts if not (isinstance(part, Text) and not part.text))
    return ToolResult(call_id, kept, is_error)


def _reasoning(item: schema.Item) -> list[Part]:
    texts = [piece.text for piece in (item.summary or ())]
    if isinstance(item.content, str):
        raise Failure(FailureKind.INVALID_BODY, "input[].content has the wrong type", param="input[].content")
    for piece in item.content or ():
        if not isinstance(piece, schema.ReasoningText):
            raise untranslatable("input[].content[].type", "has a value that cannot be translated")
        texts.append(piece.text)
    text = SUMMARY_SEPARATOR.join(filter(None, texts))
    if not item.encrypted_content:
        return [Reasoning(text)] if text else []
    return [Reasoning(text, unsealed(item.encrypted_content, item.id or None))]


def _tool(tool: schema.FunctionTool) -> Tool:
    if tool.is_async:
        raise untranslatable("tools[].async")
    if tool.allowed_callers not in (None, ["direct"]):
        raise untranslatable("tools[].allowed_callers")
    if tool.defer_loading:
        raise untranslatable("tools[].defer_loading")
    if _said(tool.output_schema):
        raise untranslatable("tools[].output_schema")
    parameters = tool.parameters
    arguments = parameters if parameters is not _ABSENT and _said(parameters) else _NO_ARGUMENTS
    if not bytes(arguments).startswith(b"{"):
        path = "tools[].parameters"
        raise Failure(FailureKind.INVALID_BODY, f"{path} must be an object", param=path)
    return Tool(tool.name, arguments, tool.description, tool.strict)


def _tool_choice(choice: str | schema.ChosenFunction | None) -> ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, schema.ChosenFunction):
        return ToolChoice("named", choice.name)
    return ToolChoice(_one_of("tool_choice", choice, ("none", "auto", "required")))


def _output_format(text: schema.TextConfig) -> OutputFormat | None:
    asked = text.format
    if isinstance(asked, schema.JsonSchemaFormat):
        return OutputFormat(asked.schema, asked.name, asked.description, asked.strict)
    return OutputFormat() if isinstance(asked, schema.JsonObjectFormat) else None


def _thinking(asked: schema.ReasoningConfig | None) -> Thinking | None:
    if asked is None:
        return None
    if asked.context not in (None, "auto"):
        raise untranslatable("reasoning.context")
    if asked.mode not in (None, "standard"):
        raise untranslatable("reasoning.mode")
    for name in ("summary", "generate_summary"):
        wanted = getattr(asked, name)
        if wanted is not None:
            _one_of(f"reasoning.{name}", wanted, ("auto", "concise", "detailed"))
    if asked.effort is not None:
        _one_of("reasoning.effort", asked.effort, EFFORTS)
    shown = True if asked.summary or asked.generate_summary else None
    if asked.effort is None and shown is None:
        return None
    return Thinking(asked.effort, shown=shown)


def _service_tier(tier: str | None) -> str | None:
    if tier is None:
        return None
    # Two words for the same, says the vendor; answers know only the second.
    return "priority" if tier == "fast" else _one_of("service_tier", tier, SERVICE_TIERS)
