"""The sandbox on the Anthropic Messages wire, as https://docs.claude.com/en/api/messages and
https://docs.claude.com/en/api/messages-streaming describe it."""

from collections.abc import Iterator, Mapping
from itertools import chain

import msgspec

from triptych.upstreams.sandbox.anthropic_messages_request import Asked, Block, read_prompt
from triptych.upstreams.sandbox.replies import Prompt, Reply, Stop, pieces, seal
from triptych.upstreams.sandbox.scenarios import Scenario
from triptych.upstreams.sandbox.wire import Exchange, ProviderError, Script
from triptych.wires.sse import frame

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


class AnthropicMessages:
    """Implements :class:`triptych.upstreams.sandbox.wire.Wire`."""

    def counts(self, path: str) -> bool:
        return path.endswith("/count_tokens")

    def read(self, body: bytes) -> Prompt:
        return read_prompt(body)

    def count(self, prompt: Prompt) -> bytes:
        return msgspec.json.encode({"input_tokens": prompt.input_tokens})

    def plain(self, exchange: Exchange, reply: Reply) -> bytes:
        blocks: list[Block] = []
        if reply.thoughts is not None:
            blocks.append(_thinking(exchange, reply))
        if reply.tool is not None:
            blocks.append(_tool_use(exchange, reply.tool.name, reply.tool.arguments))
        elif reply.text is not None:
            blocks.append(_text(reply.text))
        return msgspec.json.encode(
            _message(
                exchange, blocks, _usage(exchange, reply), _STOP_REASONS[reply.stop], reply.stop_sequence
            )
        )

    def script(self, exchange: Exchange, reply: Reply) -> Script:
        begun = _message(exchange, [], {**_usage(exchange, reply), "output_tokens": 1}, None, None)
        blocks = [*_thought_blocks(exchange, reply), *_answer_blocks(exchange, reply)]
        head = _event({"type": "message_start", "message": begun})
        end = {
            "type": "message_delta",
            "delta": {"stop_reason": _STOP_REASONS[reply.stop], "stop_sequence": reply.stop_sequence},
            "usage": {
                "output_tokens": reply.output_tokens,
                "output_tokens_details": {"thinking_tokens": reply.thinking_tokens},
            },
        }
        return Script(
            head=head + _started(0, blocks[0].start) + _event({"type": "ping"}),
            deltas=_deltas(blocks),
            tail=lambda: _stopped(len(blocks) - 1) + _event(end) + _event({"type": "message_stop"}),
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


class _Streamed(msgspec.Struct, frozen=True):
    """A block of content, as a stream sends it."""

    start: Block
    deltas: Iterator[Block]


def _thought_blocks(exchange: Exchange, reply: Reply) -> Iterator[_Streamed]:
    if reply.thoughts is not None:
        whole = _thinking(exchange, reply)
        thoughts: Iterator[Block] = (
            {"type": "thinking_delta", "thinking": text} for text in pieces(str(whole["thinking"]))
        )
        signature: Block = {"type": "signature_delta", "signature": whole["signature"]}
        yield _Streamed({**whole, "thinking": "", "signature": ""}, chain(thoughts, [signature]))


def _answer_blocks(exchange: Exchange, reply: Reply) -> Iterator[_Streamed]:
    if reply.tool is not None:
        arguments = msgspec.json.encode(reply.tool.arguments).decode()
        yield _Streamed(
            _tool_use(exchange, reply.tool.name, {}),
            (
                {"type": "input_json_delta", "partial_json": arguments[at : at + _JSON_FRAGMENT_CHARS]}
                for at in range(0, len(arguments), _JSON_FRAGMENT_CHARS)
            ),
        )
    elif reply.text is not None:
        texts = pieces(reply.text)
        yield _Streamed(_text(""), ({"type": "text_delta", "text": text} for text in texts))


def _deltas(blocks: list[_Streamed]) -> Iterator[bytes]:
    for index, block in enumerate(blocks):
        if index > 0:
            yield _stopped(index - 1) + _started(index, block.start)
        for delta in block.deltas:
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})


def _started(index: int, block: Block) -> bytes:
    return _event({"type": "content_block_start", "index": index, "content_block": block})


def _stopped(index: int) -> bytes:
    return _event({"type": "content_block_stop", "index": index})


def _error(type_: str, message: str, digest: str) -> bytes:
    error = {"type": type_, "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": f"req_sandbox_{digest}"})


def _message(
    exchange: Exchange,
    content: list[Block],
    usage: Block,
    stop_reason: str | None,
    stop_sequence: str | None,
) -> Block:
    return {
        "id": f"msg_sandbox_{exchange.digest}",
        "type": "message",
        "role": "assistant",
        "model": exchange.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "stop_details": None,
        "container": None,
        "usage": usage,
    }


def _usage(exchange: Exchange, reply: Reply) -> Block:
    return {
        "input_tokens": exchange.prompt.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"thinking_tokens": reply.thinking_tokens},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": None,
    }


def _thinking(exchange: Exchange, reply: Reply) -> Block:
    asked = exchange.prompt
    shown = not isinstance(asked, Asked) or asked.shows_thoughts
    return {
        "type": "thinking",
        "thinking": reply.thoughts if shown else "",
        "signature": seal(reply.thoughts, exchange.digest),
    }


def _text(text: str) -> Block:
    return {"type": "text", "text": text, "citations": []}


def _tool_use(exchange: Exchange, name: str, arguments: object) -> Block:
    return {
        "type": "tool_use",
        "id": f"toolu_sandbox_{exchange.digest}",
        "name": name,
        "input": arguments,
        "caller": {"type": "direct"},
    }
