"""A request of this wire, read for a provider on another one."""

import base64
import binascii
from collections.abc import Iterator, Sequence

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
from triptych.wires import strict
from triptych.wires.faults import wrong
from triptych.wires.openai_chat import request_shape as shape
from triptych.wires.openai_chat.answer_shape import NO_ARGUMENTS
from triptych.wires.openai_chat.fields import NEUTRAL
from triptych.wires.openai_chat.thinking_blocks import reasonings_of
from triptych.wires.openai_conventions import ERROR_PREFIX

_ASKED = msgspec.json.Decoder(shape.Asked)
_NO_OPTIONS = shape.ReasoningOptions()
_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')
_OBJECT = ord("{")
_TEXT_TYPE = "text/plain"
_PDF = "application/pdf"


def decode_request(body: bytes) -> Conversation:
    """Read what ``parse_request`` took.

    Raises Failure UNSUPPORTED_PARAMETER for a field, or a value, that has no meaning on another
    wire (``fields.FIELDS``), INVALID_BODY for a value that is wrong on this one; ``param`` is its path.
    """
    asked = strict.decode(_ASKED, body)
    for name, neutral in NEUTRAL.items():
        value = getattr(asked, name)
        if value is not None and value not in neutral:
            raise strict.untranslatable(name)
    signed, one_name = _signing(asked.messages)
    messages = _messages(asked.messages, signed)
    if not messages:
        raise wrong("messages", "must have content")
    left_out = []
    if asked.prompt_cache_options is not None:
        left_out.append("prompt_cache_options")
    if asked.stream_options and asked.stream_options.include_obfuscation is not None:
        left_out.append("stream_options.include_obfuscation")
    if one_name:
        left_out.append("messages[].name")
    left_out += _extras(asked.messages)
    bounds = [bound for bound in (asked.max_completion_tokens, asked.max_tokens) if bound is not None]
    tier = asked.service_tier
    return Conversation(
        messages=messages,
        stream=asked.stream,
        max_output_tokens=min(bounds, default=None),
        temperature=asked.temperature,
        top_p=asked.top_p,
        stop=(asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()),
        tools=tuple(_tool(index, tool) for index, tool in enumerate(asked.tools or ())),
        tool_choice=_choice(asked.tool_choice),
        parallel_tool_calls=asked.parallel_tool_calls,
        output_format=_output_format(asked.response_format),
        thinking=_thinking(asked),
        verbosity=asked.verbosity,
        service_tier="priority" if tier == "fast" else tier,
        user=asked.user,
        safety_identifier=asked.safety_identifier,
        prompt_cache_key=asked.prompt_cache_key,
        prompt_cache_retention=asked.prompt_cache_retention,
        left_out=tuple(left_out),
    )


def _signing(said: Sequence[shape.Message]) -> tuple[frozenset[type], bool]:
    """The roles whose messages bear different names, and whether another role bears but one. Agents
    sign whatever they say: a single name tells nobody from another, and a model that reads it at the
    beginning of each of its own texts would go on to write it."""
    names: dict[type, set[str]] = {}
    for message in said:
        # On a tool's message it repeats the call.
        if message.name is not None and not isinstance(message, shape.ToolMessage):
            names.setdefault(type(message), set()).add(message.name)
    several = frozenset(role for role, found in names.items() if len(found) > 1)
    return several, len(several) < len(names)


def _extras(said: list[shape.Message]) -> Iterator[str]:
    answers = [message for message in said if isinstance(message, shape.AssistantMessage)]
    if any(call.extra_content is not msgspec.UNSET for answer in answers for call in answer.tool_calls or ()):
        yield "messages[].tool_calls[].extra_content"
    if any(answer.extra_content is not msgspec.UNSET for answer in answers):
        yield "messages[].extra_content"


def _thinking(asked: shape.Asked) -> Thinking | None:
    """None when neither of the two fields asks for reasoning: to hide it is not to ask for it."""
    options = asked.reasoning or _NO_OPTIONS
    switch = "none" if options.enabled is False else None
    efforts = {asked.reasoning_effort, options.effort, switch} - {None}
    if len(efforts) > 1:
        raise wrong("reasoning", "must not contradict itself or reasoning_effort")
    effort = next(iter(efforts), None)
    shown = None if options.summary is None else True
    if options.exclude:
        shown = False
    if not (effort or options.max_tokens or options.enabled or shown):
        return None
    return Thinking(effort, options.max_tokens, shown)


def _messages(asked: Sequence[shape.Message], signed: frozenset[type]) -> tuple[Message, ...]:
    messages: list[Message] = []
    for index, message in enumerate(asked):
        path = f"messages[{index}]"
        if isinstance(message, shape.ToolMessage):
            result = _result(message)
            if messages and messages[-1].role is Role.TOOL:
                messages[-1] = Message(Role.TOOL, (*messages[-1].parts, result))
            else:
                messages.append(Message(Role.TOOL, (result,)))
            continue
        role, parts = _said(path, message)
        if parts and message.name is not None and type(message) in signed:
            # Reasoning stays first: there it was signed by its vendor.
            at = sum(isinstance(part, Reasoning) for part in parts)
            parts = (*parts[:at], Text(f"{message.name}:"), *parts[at:])
        if parts:
            messages.append(Message(role, parts))
    return tuple(messages)


def _said(
    path: str,
    message: shape.SystemMessage | shape.DeveloperMessage | shape.UserMessage | shape.AssistantMessage,
) -> tuple[Role, tuple[Part, ...]]:
    match message:
        case shape.SystemMessage():
            return Role.SYSTEM, _parts(path, message.content)
        case shape.DeveloperMessage():
            return Role.DEVELOPER, _parts(path, message.content)
        case shape.UserMessage():
            return Role.USER, _parts(path, message.content)
        case shape.AssistantMessage():
            return Role.ASSISTANT, _assistant(path, message)


def _assistant(path: str, message: shape.AssistantMessage) -> tuple[Part, ...]:
    for name in ("audio", "function_call"):
        if getattr(message, name) is not None:
            raise strict.untranslatable(f"{path}.{name}")
    parts: list[Part] = list(reasonings_of(message.thinking_blocks or ()))
    thought = message.reasoning_content or message.reasoning
    if thought and not parts:
        parts.append(Reasoning(thought))
    texts = _parts(path, message.content)
    if message.annotations and len(texts) == 1 and isinstance(text := texts[0], Text):
        texts = (Text(text.text, tuple(map(_citation, message.annotations)), text.cache),)
    parts += texts
    if message.refusal:
        parts.append(Refusal(message.refusal))
    parts += [
        ToolCall(call.id, call.function.name, call.function.arguments or NO_ARGUMENTS)
        for call in message.tool_calls or ()
    ]
    return tuple(parts)


def _citation(annotation: shape.Annotation) -> Citation:
    cited = annotation.url_citation
    return Citation(cited.url, cited.title or None, None, cited.start_index, cited.end_index)


def _result(message: shape.ToolMessage) -> ToolResult:
    content = message.content
    texts = [Text(content)] if isinstance(content, str) else [_text(part) for part in content or ()]
    is_error = bool(texts) and texts[0].text.startswith(ERROR_PREFIX)
    if is_error:
        first = texts[0]
        texts[0] = Text(first.text.removeprefix(ERROR_PREFIX), (), first.cache)
    return ToolResult(message.tool_call_id, tuple(text for text in texts if text.text), is_error)


def _parts(
    path: str,
    content: str | Sequence[shape.TextPart | shape.ImagePart | shape.FilePart | shape.RefusalPart] | None,
) -> tuple[Text | Image | Document | Refusal, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    parts: list[Text | Image | Document | Refusal] = []
    for index, part in enumerate(content or ()):
        match part:
            case shape.TextPart():
                if part.text:
                    parts.append(_text(part))
            case shape.RefusalPart():
                if part.refusal:
                    parts.append(Refusal(part.refusal))
            case shape.ImagePart():
                parts.append(_image(f"{path}.content[{index}].image_url.url", part))
            case shape.FilePart():
                parts.append(_document(f"{path}.content[{index}].file", part))
    return tuple(parts)


def _text(part: shape.TextPart) -> Text:
    return Text(part.text, (), _cache(part))


def _image(path: str, part: shape.ImagePart) -> Image:
    url, detail = part.image_url.url, part.image_url.detail
    source = _from_data_url(path, url) if _is_data_url(url) else Url(url)
    return Image(source, None if detail == "auto" else detail, _cache(part))


def _document(path: str, part: shape.FilePart) -> Document:
    file = part.file
    if (file.file_data is None) == (file.file_id is None):
        raise wrong(path, "must have either file_data or file_id")
    name = file.filename or None
    if file.file_id is not None:
        return Document(FileId("openai", file.file_id), name, _cache(part))
    path, data = f"{path}.file_data", file.file_data or ""
    if _is_data_url(data):
        return Document(_plain(_from_data_url(path, data)), name, _cache(part))
    # The vendor's schema says base64, its guide a data: URL; without one the name tells the type.
    if name is None or not name.lower().endswith(".pdf"):
        raise wrong(path, "must be a data: URL")
    return Document(Base64(_PDF, data), name, _cache(part))


def _plain(source: Base64) -> Base64 | PlainText:
    if source.media_type != _TEXT_TYPE:
        return source
    try:
        text = base64.b64decode(source.data, validate=True).decode()
    except (binascii.Error, ValueError):
        return source
    return PlainText(text) if text else source


def _is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def _from_data_url(path: str, url: str) -> Base64:
    """RFC 2397, of which only base64 is taken."""
    head, comma, data = url[5:].partition(",")
    media_type, *parameters = head.split(";")
    if not comma or not media_type or not parameters or parameters[-1].strip().lower() != "base64":
        raise wrong(path, "must be a data: URL with a media type and base64")
    return Base64(media_type.strip().lower(), data)


def _cache(part: shape.TextPart | shape.ImagePart | shape.FilePart) -> CacheHint | None:
    if part.cache_control is not None:
        return CacheHint(part.cache_control.ttl)
    if part.prompt_cache_breakpoint is not None:
        # 30 minutes or 12 hours: what others have is 5 minutes, the default, or an hour.
        return CacheHint("1h" if part.prompt_cache_breakpoint.ttl else None)
    return None


def _tool(index: int, tool: shape.FunctionTool) -> Tool:
    function = tool.function
    schema = _object(f"tools[{index}].function.parameters", function.parameters) or _NO_PARAMETERS
    cache = CacheHint(tool.cache_control.ttl) if tool.cache_control else None
    return Tool(function.name, schema, function.description, function.strict, cache)


def _object(path: str, raw: shape.Raw) -> msgspec.Raw | None:
    """A schema as it was written; None when it is absent or null."""
    if raw is msgspec.UNSET:
        return None
    text = bytes(raw)
    if text == b"null":
        return None
    if text[0] != _OBJECT:
        raise wrong(path, "must be an object")
    return msgspec.Raw(text)


def _choice(choice: str | shape.NamedChoice | None) -> ToolChoice | None:
    if choice is None:
        return None
    return ToolChoice(choice) if isinstance(choice, str) else ToolChoice("named", choice.function.name)


def _output_format(
    asked: shape.TextFormat | shape.JsonObjectFormat | shape.JsonSchemaFormat | None,
) -> OutputFormat | None:
    match asked:
        case shape.JsonObjectFormat():
            return OutputFormat()
        case shape.JsonSchemaFormat(json_schema):
            path = "response_format.json_schema.schema"
            schema = _object(path, json_schema.schema)
            if schema is None:
                raise wrong(path, "is required")
            return OutputFormat(schema, json_schema.name, json_schema.description, bool(json_schema.strict))
    return None
