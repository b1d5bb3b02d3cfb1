"""The sandbox on the OpenAI Chat Completions wire, as
https://platform.openai.com/docs/api-reference/chat describes it. Thoughts are in
``reasoning_content``, as DeepSeek and vLLM have it: OpenAI itself never shows them here."""

from collections.abc import Iterator, Mapping
from itertools import chain

import msgspec

from triptych.upstreams.sandbox.openai_chat_request import Part, read_prompt
from triptych.upstreams.sandbox.replies import Prompt, Reply, Stop, ToolCall, pieces
from triptych.upstreams.sandbox.scenarios import Scenario
from triptych.upstreams.sandbox.wire import Exchange, ProviderError, Script

_JSON_FRAGMENT_CHARS = 16
# The same request gets the same answer, its time included.
_CREATED_S = 1_767_225_600
_FINGERPRINT = "fp_sandbox"
_DONE = b"data: [DONE]\n\n"
_FINISH_REASONS = {
    Stop.END: "stop",
    Stop.MAX_TOKENS: "length",
    Stop.SEQUENCE: "stop",
    Stop.TOOL: "tool_calls",
}
# Status, error type, code, message: https://platform.openai.com/docs/guides/error-codes.
_OVERLOADED = (
    503,
    "server_error",
    "overloaded",
    "The engine is currently overloaded, please try again later.",
)
_ERRORS = {
    Scenario.UPSTREAM_OVERLOADED: _OVERLOADED,
    Scenario.MIDSTREAM_OVERLOADED: _OVERLOADED,
    Scenario.UPSTREAM_RATE_LIMITED: (
        429,
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for requests. Please try again in 1s.",
    ),
    Scenario.UPSTREAM_ERROR: (
        500,
        "server_error",
        None,
        "The server had an error while processing your request.",
    ),
    Scenario.UPSTREAM_BAD_REQUEST: (
        400,
        "invalid_request_error",
        None,
        "The sandbox refuses every such request.",
    ),
}


class OpenAIChat:
    """Implements :class:`triptych.upstreams.sandbox.wire.Wire`."""

    def counts(self, path: str) -> bool:
        return False

    def count(self, prompt: Prompt) -> bytes:
        raise AssertionError("no path of this wire asks for a count")

    def read(self, body: bytes) -> Prompt:
        return read_prompt(body)

    def plain(self, exchange: Exchange, reply: Reply) -> bytes:
        message: Part = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
        if reply.thoughts is not None:
            message["reasoning_content"] = reply.thoughts
        if reply.tool is None:
            message["content"] = reply.text or ""
        else:
            message["tool_calls"] = [_tool_call(exchange, reply.tool, _arguments(reply.tool))]
        choice: Part = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _FINISH_REASONS[reply.stop],
        }
        answer = _envelope(exchange, "chat.completion", [choice])
        return msgspec.json.encode({**answer, "usage": _usage(exchange, reply)})

    def script(self, exchange: Exchange, reply: Reply) -> Script:
        first: Part = {"role": "assistant", "content": "", "refusal": None}
        thoughts: Iterator[Part] = ({"reasoning_content": text} for text in pieces(reply.thoughts or ""))
        if reply.tool is None:
            deltas: Iterator[Part] = ({"content": text} for text in pieces(reply.text or ""))
        else:
            first["content"] = None
            call: Part = {"tool_calls": [{"index": 0, **_tool_call(exchange, reply.tool, "")}]}
            deltas = _argument_deltas(_arguments(reply.tool))
            if reply.thoughts is None:
                first |= call
            else:
                deltas = chain([call], deltas)
        tail = _chunk(exchange, {}, _FINISH_REASONS[reply.stop])
        if exchange.prompt.stream_usage:
            last = _envelope(exchange, "chat.completion.chunk", [])
            tail += _data({**last, "usage": _usage(exchange, reply)})
        return Script(
            head=_chunk(exchange, first, None),
            deltas=(_chunk(exchange, delta, None) for delta in chain(thoughts, deltas)),
            tail=lambda: tail + _DONE,
        )

    def error(self, scenario: Scenario, digest: str) -> ProviderError:
        status = _ERRORS[scenario][0]
        headers = [(b"retry-after", b"1")] if status == 429 else []
        return ProviderError(status, msgspec.json.encode(_error(scenario)), headers)

    def refused(self, sentence: str, digest: str) -> ProviderError:
        error = {"message": sentence, "type": "invalid_request_error", "param": None, "code": None}
        return ProviderError(400, msgspec.json.encode({"error": error}))

    def error_event(self, scenario: Scenario) -> bytes:
        """OpenAI writes an error inside a stream as data like any other, then ends it."""
        return _data(_error(scenario)) + _DONE


def _data(value: Mapping[str, object]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)


def _error(scenario: Scenario) -> Part:
    _, type_, code, message = _ERRORS[scenario]
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def _envelope(exchange: Exchange, kind: str, choices: list[Part]) -> Part:
    return {
        "id": f"chatcmpl-sandbox-{exchange.digest}",
        "object": kind,
        "created": _CREATED_S,
        "model": exchange.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
        "choices": choices,
    }


def _chunk(exchange: Exchange, delta: Part, finish_reason: str | None) -> bytes:
    choice: Part = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk = _envelope(exchange, "chat.completion.chunk", [choice])
    if exchange.prompt.stream_usage:
        chunk["usage"] = None
    return _data(chunk)


def _usage(exchange: Exchange, reply: Reply) -> Part:
    input_tokens, output_tokens = exchange.prompt.input_tokens, reply.output_tokens
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reply.thinking_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _arguments(tool: ToolCall) -> str:
    return msgspec.json.encode(tool.arguments).decode()


def _tool_call(exchange: Exchange, tool: ToolCall, arguments: str) -> Part:
    return {
        "id": f"call_sandbox_{exchange.digest}",
        "type": "function",
        "function": {"name": tool.name, "arguments": arguments},
    }


def _argument_deltas(arguments: str) -> Iterator[Part]:
    for at in range(0, len(arguments), _JSON_FRAGMENT_CHARS):
        fragment = arguments[at : at + _JSON_FRAGMENT_CHARS]
        yield {"tool_calls": [{"index": 0, "function": {"arguments": fragment}}]}
