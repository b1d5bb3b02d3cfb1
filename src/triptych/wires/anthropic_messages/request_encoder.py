"""A conversation as a request of this wire (see ``fields.py`` for what becomes of each feature)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

import msgspec

from triptych.core.conversation import (
    Base64,
    CacheHint,
    Conversation,
    Document,
    FileId,
    Image,
    Message,
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
from triptych.wires.anthropic_messages.answer_codec import written_reasoning
from triptych.wires.anthropic_messages.effort import written_effort, written_thinking
from triptych.wires.anthropic_messages.output_schema import kept_schema
from triptych.wires.anthropic_messages.reasoning import VENDOR
from triptych.wires.anthropic_messages.tool_input import tool_input
from triptych.wires.translation import EncodedRequest, Feature, Inexpressible

Object = dict[str, object]

_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
# No registered type, but many write it, and OpenAI takes it.
_JPG = "image/jpg"
_PDF = "application/pdf"
_MAX_TEMPERATURE = 1.0
# Many clients say it beside a temperature: from Claude 4.1 on both together are 400.
_DEFAULT_TOP_P = 1.0
_CHOICES = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}
_TIERS = {"auto": "auto", "default": "standard_only"}
_SYSTEM = (Role.SYSTEM, Role.DEVELOPER)
_FORCING = frozenset(("required", "named"))
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_EMPTY_SCHEMA = re.compile(rb"\{[ \t\n\r]*\}")


class _Typed(msgspec.Struct):
    type: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_TYPED = msgspec.json.Decoder(_Typed)


def encode_request(conversation: Conversation, model: str, *, default_max_tokens: int) -> EncodedRequest:
    """``default_max_tokens`` is what is asked for when the conversation has no bound: on this wire
    there is always one. Raises Inexpressible."""
    return _Encoding(conversation).request(model, default_max_tokens)


class _Encoding:
    def __init__(self, conversation: Conversation) -> None:
        self._said = conversation
        self._left_out: dict[Feature, None] = {}

    def request(self, model: str, default_max_tokens: int) -> EncodedRequest:
        said = self._said
        max_tokens = said.max_output_tokens or default_max_tokens
        body: Object = {"model": model, "max_tokens": max_tokens}
        system = [part for message in said.messages if message.role in _SYSTEM for part in message.parts]
        if system and (content := self._content(tuple(system))):
            body["system"] = content
        body["messages"] = self._messages()
        if said.tools:
            body["tools"] = [_tool(tool) for tool in said.tools]
        if (choice := self._choice()) is not None:
            body["tool_choice"] = choice
        self._sampling(body)
        self._output(body, model, max_tokens)
        if said.stream:
            body["stream"] = True
        self._rest(body)
        return EncodedRequest(msgspec.json.encode(body), tuple(self._left_out))

    def _messages(self) -> list[Object]:
        messages: list[Object] = []
        previous: Message | None = None
        for message in self._said.messages:
            if message.role in _SYSTEM:
                continue
            if message.role is Role.USER and previous is not None and previous.role is Role.TOOL:
                # The vendor wants the results first in the very next message of the user.
                messages[-1]["content"] = self._blocks(previous.parts + message.parts)
            else:
                content = self._content(message.parts)
                if not content:
                    continue
                role = "assistant" if message.role is Role.ASSISTANT else "user"
                messages.append({"role": role, "content": content})
            previous = message
        if not messages:
            if self._said.messages:
                raise Inexpressible(Feature.SYSTEM_TEXT, "there must be a message of the user too")
            raise Inexpressible(Feature.TEXT, "there must be a message of the user")
        return messages

    def _content(self, parts: tuple[Part, ...]) -> str | list[Object]:
        if len(parts) == 1 and (text := _plain(parts[0])) is not None and not text.isspace():
            return text
        return self._blocks(parts)

    def _blocks(self, parts: tuple[Part, ...]) -> list[Object]:
        return [block for part in parts if (block := self._block(part)) is not None]

    def _block(self, part: Part) -> Object | None:
        match part:
            case Text(text) | Refusal(text) if text.isspace():
                # The vendor answers 400 for it, wherever it stands.
                return None
            case Text():
                if part.citations:
                    self._left_out[Feature.CITATION] = None
                return _cached({"type": "text", "text": part.text}, part.cache)
            case ToolCall():
                call = {"id": _call_id(part.id), "name": part.name, "input": tool_input(part.arguments)}
                return _cached({"type": "tool_use", **call}, part.cache)
            case ToolResult():
                return self._result(part)
            case Image():
                if part.detail is not None:
                    self._left_out[Feature.IMAGE_DETAIL] = None
                return _cached({"type": "image", "source": _image_source(part)}, part.cache)
            case Document():
                document: Object = {"type": "document", "source": _document_source(part)}
                if part.name is not None:
                    document["title"] = part.name
                return _cached(document, part.cache)
            case Reasoning():
                if part.opaque is None or part.opaque.vendor != VENDOR:
                    self._left_out[Feature.REASONING] = None
                    return None
                return written_reasoning(part)
            case Refusal():
                return {"type": "text", "text": part.text}

    def _result(self, result: ToolResult) -> Object:
        written: Object = {"type": "tool_result", "tool_use_id": _call_id(result.call_id)}
        if content := self._content(result.content):
            written["content"] = content
        if result.is_error:
            written["is_error"] = True
        return _cached(written, result.cache)

    def _choice(self) -> Object | None:
        said = self._said
        choice = said.tool_choice
        if choice is None:
            if said.parallel_tool_calls is not False or not said.tools:
                return None
            choice = ToolChoice("auto")
        written: Object = {"type": _CHOICES[choice.mode]}
        if choice.mode == "named":
            written["name"] = choice.name
        if said.parallel_tool_calls is False and choice.mode != "none":
            written["disable_parallel_tool_use"] = True
        return written

    def _sampling(self, body: Object) -> None:
        said = self._said
        if said.temperature is not None:
            if said.temperature > _MAX_TEMPERATURE:
                raise Inexpressible(Feature.TEMPERATURE, "at most 1")
            body["temperature"] = said.temperature
        if said.top_p is not None and said.top_p != _DEFAULT_TOP_P:
            body["top_p"] = said.top_p
        if said.top_k is not None:
            body["top_k"] = said.top_k
        if said.stop:
            body["stop_sequences"] = said.stop

    def _output(self, body: Object, model: str, max_tokens: int) -> None:
        output: Object = {}
        thinking = self._said.thinking
        if thinking is not None:
            choice = self._said.tool_choice
            if choice is not None and choice.mode in _FORCING and thinking.effort != "none":
                # The vendor answers 400 for both together.
                effort = written_effort(thinking, model)
                self._left_out |= dict.fromkeys(_thoughts(thinking))
            else:
                body["thinking"], effort = written_thinking(thinking, model, max_tokens)
            if effort is not None:
                output["effort"] = effort
        format_ = self._said.output_format
        if format_ is not None:
            if format_.schema is None:
                raise Inexpressible(Feature.OUTPUT_JSON, "a JSON schema is needed")
            output["format"] = {"type": "json_schema", "schema": kept_schema(format_.schema)}
            if (format_.name, format_.description, format_.strict) != (None, None, None):
                self._left_out[Feature.OUTPUT_SCHEMA_NAME] = None
        if output:
            body["output_config"] = output

    def _rest(self, body: Object) -> None:
        said = self._said
        if said.verbosity not in (None, "medium"):
            raise Inexpressible(Feature.VERBOSITY, "only medium, which is what is done without it")
        if said.service_tier is not None:
            if said.service_tier not in _TIERS:
                raise Inexpressible(Feature.SERVICE_TIER, "only auto and default")
            body["service_tier"] = _TIERS[said.service_tier]
        if said.cache is not None:
            _cached(body, said.cache)
        elif said.prompt_cache_key is not None:
            _cached(body, CacheHint())
        for value, feature in (
            (said.user, Feature.USER),
            (said.safety_identifier, Feature.SAFETY_IDENTIFIER),
            (said.prompt_cache_retention, Feature.PROMPT_CACHE_RETENTION),
        ):
            if value is not None:
                self._left_out[feature] = None


def _thoughts(thinking: Thinking) -> Iterator[Feature]:
    """What was said of it."""
    if thinking.budget_tokens is not None:
        yield Feature.THINKING_BUDGET
    if thinking.shown is not None:
        yield Feature.THINKING_SHOWN
    if thinking.effort is not None or (thinking.budget_tokens is None and thinking.shown is None):
        yield Feature.THINKING_EFFORT


def _call_id(id_: str) -> str:
    """Ids of other vendors may have characters, or none, that this one does not take: such an id is
    spelled anew, the same way in the call and in its result."""
    spelled = _NOT_IN_IDS.sub("_", id_)
    if spelled == id_ and id_:
        return id_
    return f"{spelled}_{hashlib.sha256(id_.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _plain(part: Part) -> str | None:
    """The text of a part that is nothing but text."""
    if isinstance(part, Text):
        return None if part.cache or part.citations else part.text
    return part.text if isinstance(part, Refusal) else None


def _cached(written: Object, hint: CacheHint | None) -> Object:
    if hint is not None:
        written["cache_control"] = {"type": "ephemeral"} | ({"ttl": hint.ttl} if hint.ttl else {})
    return written


def _image_source(image: Image) -> Object:
    match image.source:
        case Url(url):
            return {"type": "url", "url": url}
        case Base64(media_type, data):
            if media_type == _JPG:
                media_type = "image/jpeg"
            if media_type not in _IMAGE_TYPES:
                raise Inexpressible(Feature.IMAGE_BASE64, f"only {', '.join(_IMAGE_TYPES)}")
            return {"type": "base64", "media_type": media_type, "data": data}
        case FileId() as file:
            return _file_source(file, Feature.IMAGE_FILE)


def _document_source(document: Document) -> Object:
    match document.source:
        case Url(url):
            return {"type": "url", "url": url}
        case PlainText(text):
            return {"type": "text", "media_type": "text/plain", "data": text}
        case FileId() as file:
            return _file_source(file, Feature.DOCUMENT_FILE)
        case Base64(media_type, data):
            if media_type == _PDF:
                return {"type": "base64", "media_type": media_type, "data": data}
            if (decoded := _text_of(media_type, data)) is not None:
                return {"type": "text", "media_type": "text/plain", "data": decoded}
            raise Inexpressible(Feature.DOCUMENT_BASE64, f"only {_PDF} and text/plain in UTF-8")


def _text_of(media_type: str, data: str) -> str | None:
    if media_type.partition(";")[0].strip() != "text/plain":
        return None
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _file_source(file: FileId, feature: Feature) -> Object:
    if file.vendor != VENDOR:
        raise Inexpressible(feature, "the file is with another vendor")
    return {"type": "file", "file_id": file.id}


def _tool(tool: Tool) -> Object:
    written: Object = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    schema = _schema(tool.schema)
    written["input_schema"] = kept_schema(schema) if tool.strict else schema
    if tool.strict is not None:
        written["strict"] = tool.strict
    return _cached(written, tool.cache)


def _schema(schema: msgspec.Raw) -> msgspec.Raw:
    """``type`` is required here. Arguments are an object on every wire, so saying it adds nothing."""
    if _TYPED.decode(schema).type is not msgspec.UNSET:
        return schema
    if _EMPTY_SCHEMA.fullmatch(bytes(schema)):
        return msgspec.Raw(b'{"type":"object"}')
    return msgspec.Raw(b'{"type":"object",' + bytes(schema).lstrip()[1:])
