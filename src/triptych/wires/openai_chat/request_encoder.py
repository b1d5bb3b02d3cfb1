"""A conversation, written as a request for a provider on this wire."""

import base64
import re
from collections.abc import Iterable, Sequence

import msgspec

from triptych.core.conversation import (
    Base64,
    Conversation,
    Document,
    FileId,
    Image,
    Message,
    OutputFormat,
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
from triptych.wires.openai_chat.answer_shape import NO_ARGUMENTS
from triptych.wires.openai_conventions import (
    ERROR_PREFIX,
    arguments_schema,
    cache_key,
    call_id,
    can_be_strict,
    effort_of,
    strictness,
)
from triptych.wires.translation import EncodedRequest, Feature, Inexpressible

_Json = dict[str, object]

_SYSTEM_ROLES = (Role.SYSTEM, Role.DEVELOPER)
_TIERS = ("auto", "default", "flex", "scale", "priority")
_DOCUMENT = "document"
_EXTENSIONS = {"application/pdf": ".pdf", "text/plain": ".txt"}
_MOST_CALL_ID_CHARS = 40
_ENCODER = msgspec.json.Encoder()

# From Gemini 3 on a call of the running turn comes back signed, or the request is refused. A caller on
# another wire has no place for the signature: this is what Google has for histories without
# (https://ai.google.dev/gemini-api/docs/thought-signatures).
_SIGNING = re.compile(r"gemini(?!-[12]\b)", re.IGNORECASE)
_UNSIGNED: _Json = {"google": {"thought_signature": "skip_thought_signature_validator"}}

# In a turn with calls of tools these get back what they thought, or answer 400
# (https://api-docs.deepseek.com/guides/thinking_mode). OpenAI, and others, answer 400 for the field.
_REMEMBERING = re.compile("deepseek|kimi", re.IGNORECASE)

# These know the bound by OpenAI's former name only: by the other one DeepSeek is not bound at all, and
# Mistral answers 422 (https://api-docs.deepseek.com/api/create-chat-completion, https://docs.mistral.ai/api).
_FORMERLY_BOUND = re.compile("deepseek|(mis|mix|minis|magis|codes|devs|pix|vox)tral", re.IGNORECASE)


def encode_request(conversation: Conversation, model: str, *, default_max_tokens: int = 0) -> EncodedRequest:
    """``default_max_tokens`` is for wires that require a bound; this one does not.

    Raises Inexpressible: a feature that is in neither table of ``fields``.
    """
    writer = _RequestWriter()
    body = writer.written(conversation, model)
    return EncodedRequest(_ENCODER.encode(body), tuple(writer.left_out))


class _RequestWriter:
    """Of one request; remembers what it left out."""

    def __init__(self) -> None:
        self.left_out: dict[Feature, None] = {}
        self._cached = False
        self._remembers = False
        """Whether reasoning of earlier turns is told."""

    def written(self, said: Conversation, model: str) -> _Json:
        if said.top_k is not None:
            raise Inexpressible(Feature.TOP_K)
        if said.service_tier is not None and said.service_tier not in _TIERS:
            raise Inexpressible(Feature.SERVICE_TIER)
        self._remembers = bool(said.tools) and _REMEMBERING.search(model) is not None and _thought(said)
        messages = [written for message in said.messages for written in self._message(message)]
        if _SIGNING.search(model):
            _allow_unsigned_calls(messages)
        tools = [self._tool(tool) for tool in said.tools]
        choice = said.tool_choice
        if not tools and choice is not None and choice.mode in ("auto", "none"):
            # It changes nothing, and OpenAI takes no choice without tools.
            choice = None
        bound = "max_tokens" if _FORMERLY_BOUND.search(model) else "max_completion_tokens"
        body: _Json = {
            "model": model,
            "messages": messages,
            "stream": True if said.stream else None,
            "stream_options": {"include_usage": True} if said.stream else None,
            bound: said.max_output_tokens,
            "temperature": said.temperature,
            "top_p": said.top_p,
            "stop": said.stop or None,
            "tools": tools or None,
            "tool_choice": _choice(choice),
            "parallel_tool_calls": said.parallel_tool_calls if tools else None,
            "response_format": _response_format(said.output_format),
            "reasoning_effort": self._effort(said.thinking),
            "verbosity": said.verbosity,
            "service_tier": said.service_tier,
            "user": said.user,
            "safety_identifier": said.safety_identifier,
            "prompt_cache_key": said.prompt_cache_key,
            "prompt_cache_retention": said.prompt_cache_retention,
        }
        if said.prompt_cache_key is None and (self._cached or said.cache is not None):
            body["prompt_cache_key"] = cache_key(said)
        return {name: value for name, value in body.items() if value is not None}

    def _message(self, message: Message) -> Iterable[_Json]:
        role = message.role
        if role is Role.TOOL:
            return [self._result(part) for part in message.parts if isinstance(part, ToolResult)]
        if role is Role.ASSISTANT:
            return self._assistant(message)
        return [{"role": role.value, "content": self._content(message.parts)}]

    def _assistant(self, message: Message) -> list[_Json]:
        spoken: list[Text | Refusal] = []
        calls: list[_Json] = []
        thoughts: list[str] = []
        for part in message.parts:
            match part:
                case Text() | Refusal():
                    spoken.append(part)
                case ToolCall():
                    calls.append(self._call(part))
                case Reasoning() if self._remembers and part.opaque is None:
                    thoughts.append(part.text)
                case Reasoning():
                    self.left_out[Feature.REASONING] = None
                    if part.opaque is not None:
                        self.left_out[Feature.REASONING_OPAQUE] = None
        if not spoken and not calls:
            if thoughts:
                self.left_out[Feature.REASONING] = None
            return []
        written: _Json = {"role": "assistant"}
        if len(spoken) == 1 and isinstance(refusal := spoken[0], Refusal):
            written["refusal"] = refusal.text
        elif spoken:
            written["content"] = self._content(spoken)
        if "content" not in written:
            written["content"] = None
        if self._remembers:
            # They look for the field, also where nothing was thought.
            written["reasoning_content"] = "".join(thoughts)
        if calls:
            written["tool_calls"] = calls
        return [written]

    def _call(self, call: ToolCall) -> _Json:
        self._note_cache(call)
        function = {"name": call.name, "arguments": call.arguments or NO_ARGUMENTS}
        return {"id": call_id(call.id, _MOST_CALL_ID_CHARS), "type": "function", "function": function}

    def _result(self, result: ToolResult) -> _Json:
        self._note_cache(result)
        texts: list[Text] = []
        for part in result.content:
            if isinstance(part, Image):
                raise Inexpressible(Feature.TOOL_RESULT_IMAGE)
            if isinstance(part, Document):
                raise Inexpressible(Feature.TOOL_RESULT_DOCUMENT)
            texts.append(part)
        if result.is_error:
            first = texts[0] if texts else Text("")
            texts[:1] = [Text(ERROR_PREFIX + first.text, (), first.cache)]
        content = self._content(texts) if texts else ""
        call = call_id(result.call_id, _MOST_CALL_ID_CHARS)
        return {"role": "tool", "tool_call_id": call, "content": content}

    def _content(self, parts: Sequence[object]) -> str | list[_Json]:
        """A single text is a string, as most clients write it and every server takes it."""
        written = [self._part(part) for part in parts]
        if len(written) == 1 and isinstance(only := parts[0], Text):
            return only.text
        return written

    def _part(self, part: object) -> _Json:
        match part:
            case Text():
                self._note_cache(part)
                if part.citations:
                    self.left_out[Feature.CITATION] = None
                return {"type": "text", "text": part.text}
            case Refusal():
                return {"type": "refusal", "refusal": part.text}
            case Image():
                self._note_cache(part)
                return {"type": "image_url", "image_url": _image(part)}
            case Document():
                self._note_cache(part)
                return {"type": "file", "file": _file(part)}
        raise TypeError(f"a message of this role holds no {type(part).__name__}")

    def _note_cache(self, part: Text | Image | Document | ToolCall | ToolResult | Tool) -> None:
        self._cached = self._cached or part.cache is not None

    def _tool(self, tool: Tool) -> _Json:
        self._note_cache(tool)
        function: _Json = {"name": tool.name}
        if tool.description is not None:
            function["description"] = tool.description
        function["parameters"] = arguments_schema(tool)
        strict = strictness(tool)
        if strict is not tool.strict:
            self.left_out[Feature.TOOL_STRICT] = None
        if strict is not None:
            function["strict"] = strict
        return {"type": "function", "function": function}

    def _effort(self, thinking: Thinking | None) -> str | None:
        if thinking is None:
            return None
        if thinking.shown is not None:
            self.left_out[Feature.THINKING_SHOWN] = None
        return effort_of(thinking)


def _thought(said: Conversation) -> bool:
    """Whether there is reasoning that is no other vendor's: a provider that never told of any may not know
    the field."""
    parts = (part for message in said.messages for part in message.parts)
    return any(isinstance(part, Reasoning) and part.opaque is None for part in parts)


def _allow_unsigned_calls(messages: list[_Json]) -> None:
    """Of the running turn, which began with the user's last words; of parallel calls the first is signed."""
    for message in reversed(messages):
        if message["role"] == "user":
            return
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            calls[0]["extra_content"] = _UNSIGNED


def _image(image: Image) -> _Json:
    match image.source:
        case Url(url):
            written: _Json = {"url": url}
        case Base64(media_type, data):
            written = {"url": f"data:{media_type};base64,{data}"}
        case FileId():
            raise Inexpressible(Feature.IMAGE_FILE)
    if image.detail is not None:
        written["detail"] = image.detail
    return written


def _file(document: Document) -> _Json:
    match document.source:
        case FileId(vendor, id_):
            if vendor != "openai":
                raise Inexpressible(Feature.DOCUMENT_FILE, "the file is kept by another vendor")
            written: _Json = {"file_id": id_}
            if document.name is not None:
                written["filename"] = document.name
            return written
        case Base64():
            source = document.source
        case PlainText(text):
            source = Base64("text/plain", base64.b64encode(text.encode()).decode())
        case Url():
            raise Inexpressible(Feature.DOCUMENT_URL)
    name = document.name or _DOCUMENT + _EXTENSIONS.get(source.media_type, "")
    return {"filename": name, "file_data": f"data:{source.media_type};base64,{source.data}"}


def _choice(choice: ToolChoice | None) -> object:
    if choice is None:
        return None
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def _response_format(output: OutputFormat | None) -> _Json | None:
    if output is None:
        return None
    if output.schema is None:
        return {"type": "json_object"}
    schema: _Json = {"name": output.name or "response"}
    if output.description is not None:
        schema["description"] = output.description
    schema["schema"] = output.schema
    schema["strict"] = can_be_strict(output.schema) if output.strict is None else output.strict
    return {"type": "json_schema", "json_schema": schema}
