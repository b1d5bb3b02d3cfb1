"""The sandbox on the Anthropic Messages wire, as https://docs.claude.com/en/api/messages and
https://docs.claude.com/en/api/messages-streaming describe it."""

from collections.abc import Iterator, Mapping

import msgspec

from triptych.upstreams.sandbox.replies import (
    Prompt,
    Reply,
    Stop,
    Tool,
    pieces,
    tokens,
)
from triptych.upstreams.sandbox.scenarios import Scenario
from triptych.upstreams.sandbox.wire import Exchange, ProviderError, RequestRefused, Script
from triptych.wires.sse import frame

Block = dict[str, object]

_IMAGE_TOKENS = 1_600
_DOCUMENT_TOKENS = 3_000
_JSON_FRAGMENT_CHARS = 16
_STOP_REASONS = {
    Stop.END: "end_turn",
    Stop.MAX_TOKENS: "max_tokens",
    Stop.SEQUENCE: "stop_sequence",
    Stop.TOOL: "tool_use",
}
# Status, error type, message: as the provider documents them (docs.claude.com/en/api/errors).
_ERRORS = {
    Scenario.UPSTREAM_OVERLOADED: (529, "overloaded_error", "Overloaded"),
    Scenario.MIDSTREAM_OVERLOADED: (529, "overloaded_error", "Overloaded"),
    Scenario.UPSTREAM_RATE_LIMITED: (
        429,
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
    ),
    Scenario.UPSTREAM_ERROR: (500, "api_error", "Internal server error"),
    Scenario.UPSTREAM_BAD_REQUEST: (400, "invalid_request_error", "The sandbox refuses every such request."),
}


class _Message(msgspec.Struct):
    role: str
    content: str | list[Block]


class _Body(msgspec.Struct):
    messages: list[_Message]
    system: str | list[Block] | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[Block] | None = None
    tool_choice: Block | None = None


_BODY = msgspec.json.Decoder(_Body)


class AnthropicMessages:
    """Implements :class:`triptych.upstreams.sandbox.wire.Wire`."""

    def counts(self, path: str) -> bool:
        return path.endswith("/count_tokens")

    def read(self, body: bytes) -> Prompt:
        try:
            request = _BODY.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestRefused(str(error)) from error
        messages = request.messages
        content = messages[-1].content if messages else ""
        results = [] if isinstance(content, str) else [b for b in content if b.get("type") == "tool_result"]
        return Prompt(
            last_user_text=_last_user_text(messages),
            input_tokens=_input_tokens(request),
            max_tokens=request.max_tokens,
            stop_sequences=tuple(request.stop_sequences or ()),
            tools=_tools(request),
            tool_result=_text(results[-1].get("content")) if results else None,
        )

    def count(self, prompt: Prompt) -> bytes:
        return msgspec.json.encode({"input_tokens": prompt.input_tokens})

    def plain(self, exchange: Exchange, reply: Reply) -> bytes:
        if reply.tool is None:
            block: Block = {"type": "text", "text": reply.text}
        else:
            block = _tool_use(exchange, reply.tool.name, reply.tool.arguments)
        return msgspec.json.encode(
            _message(exchange, [block], reply.output_tokens, _STOP_REASONS[reply.stop], reply.stop_sequence)
        )

    def script(self, exchange: Exchange, reply: Reply) -> Script:
        start = {"type": "message_start", "message": _message(exchange, [], 1, None, None)}
        if reply.tool is None:
            block: Block = {"type": "text", "text": ""}
            deltas = _deltas("text_delta", "text", pieces(reply.text))
        else:
            block = _tool_use(exchange, reply.tool.name, {})
            arguments = msgspec.json.encode(reply.tool.arguments).decode()
            fragments = (
                arguments[at : at + _JSON_FRAGMENT_CHARS]
                for at in range(0, len(arguments), _JSON_FRAGMENT_CHARS)
            )
            deltas = _deltas("input_json_delta", "partial_json", fragments)
        block_start = {"type": "content_block_start", "index": 0, "content_block": block}
        end = {
            "type": "message_delta",
            "delta": {"stop_reason": _STOP_REASONS[reply.stop], "stop_sequence": reply.stop_sequence},
            "usage": {"output_tokens": reply.output_tokens},
        }
        return Script(
            head=_event(start) + _event(block_start) + _event({"type": "ping"}),
            deltas=deltas,
            tail=_event({"type": "content_block_stop", "index": 0})
            + _event(end)
            + _event({"type": "message_stop"}),
        )

    def error(self, scenario: Scenario, digest: str) -> ProviderError:
        status, type_, message = _ERRORS[scenario]
        headers = [(b"retry-after", b"1")] if status == 429 else []
        return ProviderError(status, _error(type_, message, digest), headers)

    def refused(self, sentence: str, digest: str) -> ProviderError:
        return ProviderError(400, _error("invalid_request_error", sentence, digest))

    def error_event(self, scenario: Scenario) -> bytes:
        _, type_, message = _ERRORS[scenario]
        return _event({"type": "error", "error": {"type": type_, "message": message}})


def _event(data: Mapping[str, object]) -> bytes:
    return frame(str(data["type"]), msgspec.json.encode(data))


def _deltas(type_: str, name: str, texts: Iterator[str]) -> Iterator[bytes]:
    for text in texts:
        yield _event({"type": "content_block_delta", "index": 0, "delta": {"type": type_, name: text}})


def _error(type_: str, message: str, digest: str) -> bytes:
    error = {"type": type_, "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": f"req_sandbox_{digest}"})


def _message(
    exchange: Exchange,
    content: list[Block],
    output_tokens: int,
    stop_reason: str | None,
    stop_sequence: str | None,
) -> dict[str, object]:
    return {
        "id": f"msg_sandbox_{exchange.digest}",
        "type": "message",
        "role": "assistant",
        "model": exchange.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": {
            "input_tokens": exchange.prompt.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    }


def _tool_use(exchange: Exchange, name: str, arguments: object) -> Block:
    return {"type": "tool_use", "id": f"toolu_sandbox_{exchange.digest}", "name": name, "input": arguments}


def _tools(request: _Body) -> tuple[Tool, ...]:
    """The tools that may be called, the one the client insists on first."""
    choice = request.tool_choice or {}
    if choice.get("type") == "none":
        return ()
    wanted = choice.get("name") if choice.get("type") == "tool" else None
    found = [Tool(str(tool.get("name", "")), tool.get("input_schema")) for tool in request.tools or ()]
    return tuple(sorted(found, key=lambda tool: tool.name != wanted))


def _last_user_text(messages: list[_Message]) -> str:
    for message in reversed(messages):
        if message.role == "user" and (text := _text(message.content)):
            return text
    return ""


def _text(content: object) -> str:
    """The text of a content that is a string or an array of blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [
        block.get("text") for block in content if isinstance(block, dict) and block.get("type") == "text"
    ]
    return "\n".join(text for text in texts if isinstance(text, str))


def _input_tokens(request: _Body) -> int:
    """System prompt, messages and tool definitions; a picture counts the same whatever its size."""
    size_bytes = fixed_tokens = 0
    contents: list[object] = [request.system, request.tools]
    contents.extend(message.content for message in request.messages)
    while contents:
        content = contents.pop()
        if isinstance(content, str):
            size_bytes += len(content.encode())
        elif isinstance(content, list):
            contents.extend(content)
        elif isinstance(content, dict):
            match content.get("type"):
                case "image":
                    fixed_tokens += _IMAGE_TOKENS
                case "document":
                    fixed_tokens += _DOCUMENT_TOKENS
                case "text":
                    contents.append(content.get("text"))
                case "tool_result":
                    contents.append(content.get("content"))
                case _:
                    size_bytes += len(msgspec.json.encode(content))
    return tokens(size_bytes) + fixed_tokens
