"""A request of this wire as a conversation (see ``fields.py`` for what each field becomes)."""

from collections.abc import Iterable
from itertools import groupby
from typing import TypeVar

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
from triptych.wires import strict
from triptych.wires.anthropic_messages import blocks as wire
from triptych.wires.anthropic_messages.reasoning import VENDOR, redacted_thinking, thinking
from triptych.wires.anthropic_messages.threads import thread_refusal
from triptych.wires.anthropic_messages.tool_input import arguments
from triptych.wires.strict import untranslatable

_Meaning = TypeVar("_Meaning")


class _ToolType(msgspec.Struct):
    type: str | None = None


class _ToolTypes(msgspec.Struct):
    tools: list[_ToolType] = []


_REQUEST = msgspec.json.Decoder(wire.RequestParam)
_TOOL_TYPES = msgspec.json.Decoder(_ToolTypes)

_DISPLAYS = {None: None, "summarized": True, "omitted": False}
_EFFORTS = {None: None} | {word: word for word in ("low", "medium", "high", "xhigh", "max")}
_TTLS = {None: None, "5m": "5m", "1h": "1h"}
_TIERS = {None: None, "auto": "auto", "standard_only": "default"}
_MODES = {wire.AutoChoice: "auto", wire.AnyChoice: "required", wire.NoChoice: "none"}
_ROLES = {
    wire.TextBlock: (Role.USER, Role.ASSISTANT),
    wire.ImageBlock: (Role.USER,),
    wire.DocumentBlock: (Role.USER,),
    wire.ToolResultBlock: (Role.USER,),
    wire.ThinkingBlock: (Role.ASSISTANT,),
    wire.RedactedThinkingBlock: (Role.ASSISTANT,),
    wire.ToolUseBlock: (Role.ASSISTANT,),
}


def decode_request(body: bytes) -> Conversation:
    """``body`` has passed ``parse_request``.

    Raises Failure: UNSUPPORTED_PARAMETER for what cannot be translated, INVALID_BODY for what is
    wrong. ``param`` is the field's path, with ``[]`` for an index.
    """
    try:
        request = strict.decode(_REQUEST, body)
    except Failure as failure:
        if failure.param is not None and failure.param.startswith("tools[]."):
            _check_tool_types(body)
        raise
    return _Decoding().conversation(request)


class _Decoding:
    def __init__(self) -> None:
        self._left_out: dict[str, None] = {}

    def conversation(self, request: wire.RequestParam) -> Conversation:
        self._check_neutral(request)
        messages = self._system(request.system) + self._messages(request.messages)
        tools = tuple(map(self._tool, request.tools or ()))
        choice, parallel = _choice(request.tool_choice)
        output = request.output_config or wire.OutputConfig()
        return Conversation(
            messages=messages,
            stream=request.stream,
            max_output_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            stop=tuple(request.stop_sequences or ()),
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=parallel,
            output_format=_format(output.format or request.output_format),
            thinking=self._thinking(request.thinking, output.effort),
            service_tier=_word("service_tier", request.service_tier, _TIERS),
            cache=self._cache("cache_control", request.cache_control),
            left_out=tuple(self._left_out),
        )

    def _check_neutral(self, request: wire.RequestParam) -> None:
        """Refuse, or leave out, the fields that no other wire has anything for."""
        if request.thread is not None:
            raise thread_refusal("model", "the model is served on another wire, which keeps no conversation")
        if request.speed not in (None, "standard"):
            raise untranslatable("speed")
        for name in ("container", "inference_geo", "workspace_id", "mcp_servers"):
            if getattr(request, name) not in (None, []):
                raise untranslatable(name)
        if request.output_config is not None and request.output_config.task_budget is not None:
            raise untranslatable("output_config.task_budget")
        for name in ("context_management", "diagnostics", "user_profile_id"):
            ignored = getattr(request, name)
            if ignored is not msgspec.UNSET and bytes(ignored) != b"null":
                self._leave_out(name)

    def _leave_out(self, path: str) -> None:
        self._left_out[path] = None

    def _system(self, system: str | list[wire.TextBlock] | None) -> tuple[Message, ...]:
        if system is None:
            return ()
        if isinstance(system, str):
            return (Message(Role.SYSTEM, (Text(system),)),) if system else ()
        texts = tuple(self._text("system[]", block) for block in system if block.text)
        return (Message(Role.SYSTEM, texts),) if texts else ()

    def _messages(self, params: list[wire.MessageParam]) -> tuple[Message, ...]:
        messages: list[Message] = []
        for param in params:
            for role, parts in self._turns(param):
                if messages and role is messages[-1].role is not Role.USER:
                    messages[-1] = Message(role, messages[-1].parts + parts)
                elif parts:
                    messages.append(Message(role, parts))
        if not messages:
            raise Failure(FailureKind.INVALID_BODY, "messages must have content", param="messages")
        return tuple(messages)

    def _turns(self, param: wire.MessageParam) -> Iterable[tuple[Role, tuple[Part, ...]]]:
        """One message of this wire: what the user says among tool results is a message of its own."""
        role = Role(param.role)
        if isinstance(param.content, str):
            return ((role, (Text(param.content),)),) if param.content else ()
        parts = [self._part(role, block) for block in param.content]
        said = [part for part in parts if part is not None]
        if role is Role.ASSISTANT:
            return ((role, tuple(said)),)
        return (
            (Role.TOOL if is_result else Role.USER, tuple(run))
            for is_result, run in groupby(said, lambda part: isinstance(part, ToolResult))
        )

    def _part(self, role: Role, block: wire.Block) -> Part | None:
        """None when nothing is said."""
        path = "messages[].content[]"
        if role not in _ROLES[type(block)]:
            raise untranslatable(f"{path}.type", f"is not one that a message of the {role} may have")
        match block:
            case wire.TextBlock():
                return self._text(path, block) if block.text else None
            case wire.ImageBlock():
                return self._image(path, block)
            case wire.DocumentBlock():
                return self._document(path, block)
            case wire.ToolResultBlock():
                return self._result(path, block)
            case wire.ToolUseBlock():
                if block.caller not in (None, {"type": "direct"}):
                    raise untranslatable(f"{path}.caller")
                if block.toolset_name is not None:
                    raise untranslatable(f"{path}.toolset_name")
                _check_object(f"{path}.input", block.input)
                cache = self._cache(f"{path}.cache_control", block.cache_control)
                return ToolCall(block.id, block.name, arguments(block.input), cache)
            case wire.ThinkingBlock():
                reasoning = thinking(block.thinking, block.signature)
                return reasoning if reasoning.text or reasoning.opaque else None
            case wire.RedactedThinkingBlock():
                return redacted_thinking(block.data)

    def _text(self, path: str, block: wire.TextBlock) -> Text:
        cache = self._cache(f"{path}.cache_control", block.cache_control)
        if not block.citations:
            return Text(block.text, (), cache)
        cited = (Citation(one.url, one.title, one.cited_text or None) for one in block.citations)
        return Text(block.text, tuple(cited), cache)

    def _image(self, path: str, block: wire.ImageBlock) -> Image:
        if block.transformations not in (None, {}):
            raise untranslatable(f"{path}.transformations")
        return Image(_source(block.source), None, self._cache(f"{path}.cache_control", block.cache_control))

    def _document(self, path: str, block: wire.DocumentBlock) -> Document:
        if block.context not in (None, ""):
            raise untranslatable(f"{path}.context")
        if block.citations not in (None, {}, {"enabled": False}):
            raise untranslatable(f"{path}.citations")
        source = block.source
        cache = self._cache(f"{path}.cache_control", block.cache_control)
        if isinstance(source, wire.TextSource):
            return Document(PlainText(source.data), block.title or None, cache)
        return Document(_source(source), block.title or None, cache)

    def _result(self, path: str, block: wire.ToolResultBlock) -> ToolResult:
        if block.toolset_name is not None:
            raise untranslatable(f"{path}.toolset_name")
        content: list[Text | Image | Document] = []
        inner = f"{path}.content[]"
        if isinstance(block.content, str):
            content = [Text(block.content)] if block.content else []
        else:
            for part in block.content or ():
                match part:
                    case wire.TextBlock():
                        content += [self._text(inner, part)] if part.text else []
                    case wire.ImageBlock():
                        content.append(self._image(inner, part))
                    case wire.DocumentBlock():
                        content.append(self._document(inner, part))
        cache = self._cache(f"{path}.cache_control", block.cache_control)
        return ToolResult(block.tool_use_id, tuple(content), bool(block.is_error), cache)

    def _cache(self, path: str, control: wire.CacheControl | None) -> CacheHint | None:
        if control is None:
            return None
        if control.scope is not None:
            self._leave_out(f"{path}.scope")
        return CacheHint(_word(f"{path}.ttl", control.ttl, _TTLS))

    def _tool(self, tool: wire.ToolParam) -> Tool:
        _check_tool_type(tool.type)
        if tool.allowed_callers not in (None, [], ["direct"]):
            raise untranslatable("tools[].allowed_callers")
        if tool.defer_loading not in (None, False):
            raise untranslatable("tools[].defer_loading")
        if tool.input_examples not in (None, []):
            raise untranslatable("tools[].input_examples")
        if tool.eager_input_streaming is not None:
            self._leave_out("tools[].eager_input_streaming")
        path = "tools[].input_schema"
        if tool.input_schema is msgspec.UNSET:
            raise Failure(FailureKind.INVALID_BODY, f"{path} is required", param=path)
        _check_object(path, tool.input_schema)
        cache = self._cache("tools[].cache_control", tool.cache_control)
        any_schema = tool.strict is True
        return Tool(tool.name, tool.input_schema, tool.description, tool.strict, cache, any_schema)

    def _thinking(
        self,
        param: wire.AdaptiveThinking | wire.EnabledThinking | wire.DisabledThinking | None,
        effort_word: str | None,
    ) -> Thinking | None:
        effort = _word("output_config.effort", effort_word, _EFFORTS)
        match param:
            case None:
                return Thinking(effort) if effort else None
            case wire.DisabledThinking():
                if effort is not None:
                    self._leave_out("output_config.effort")
                return Thinking("none")
            case wire.AdaptiveThinking():
                return Thinking(effort, None, _word("thinking.display", param.display, _DISPLAYS))
            case wire.EnabledThinking():
                shown = _word("thinking.display", param.display, _DISPLAYS)
                return Thinking(effort, param.budget_tokens, shown)


def _check_tool_types(body: bytes) -> None:
    """Of a server's tool its type is named, not the first of the fields that only it has."""
    try:
        tools = _TOOL_TYPES.decode(body).tools
    except msgspec.ValidationError:
        return
    for tool in tools:
        _check_tool_type(tool.type)


def _check_tool_type(type_: str | None) -> None:
    if type_ not in (None, "custom"):
        raise untranslatable("tools[].type", "names a tool that only the vendor has")


def _word(path: str, word: str | None, meanings: dict[str | None, _Meaning]) -> _Meaning:
    if word not in meanings:
        raise untranslatable(path, "has a value that cannot be translated")
    return meanings[word]


def _check_object(path: str, raw: msgspec.Raw) -> None:
    if memoryview(raw)[0] != ord("{"):
        raise Failure(FailureKind.INVALID_BODY, f"{path} must be an object", param=path)


def _source(source: wire.Base64Source | wire.UrlSource | wire.FileSource) -> Base64 | Url | FileId:
    match source:
        case wire.Base64Source():
            return Base64(source.media_type, source.data)
        case wire.UrlSource():
            return Url(source.url)
        case wire.FileSource():
            return FileId(VENDOR, source.file_id)


def _choice(
    choice: wire.AutoChoice | wire.AnyChoice | wire.NamedChoice | wire.NoChoice | None,
) -> tuple[ToolChoice | None, bool | None]:
    match choice:
        case None:
            return None, None
        case wire.NoChoice():
            return ToolChoice("none"), None
    name = choice.name if isinstance(choice, wire.NamedChoice) else None
    mode = ToolChoice("named", name) if name is not None else ToolChoice(_MODES[type(choice)])
    disabled = choice.disable_parallel_tool_use
    return mode, None if disabled is None else not disabled


def _format(format_: wire.JsonSchemaFormat | None) -> OutputFormat | None:
    if format_ is None:
        return None
    _check_object("output_config.format.schema", format_.schema)
    return OutputFormat(format_.schema)
