"""The sandbox on the OpenAI Chat Completions wire, as
https://platform.openai.com/docs/api-reference/chat describes it."""

from collections.abc import Iterator, Mapping

import msgspec

from triptych.upstreams.sandbox.replies import (
    Prompt,
    Reply,
    Stop,
    Tool,
    ToolCall,
    pieces,
    tokens,
)
from triptych.upstreams.sandbox.scenarios import Scenario
from triptych.upstreams.sandbox.wire import Exchange, ProviderError, RequestRefused, Script

Part = dict[str, object]

_IMAGE_TOKENS = 1_600
_FILE_TOKENS = 3_000
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


class _Message(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None
    tool_calls: list[Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    messages: list[_Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    tools: list[Part] | None = None
    tool_choice: str | Part | None = None
    stream_options: _StreamOptions | None = None


_BODY = msgspec.json.Decoder(_Body)


class OpenAIChat:
    """Implements :class:`triptych.upstreams.sandbox.wire.Wire`."""

    def counts(self, path: str) -> bool:
        return False

    def count(self, prompt: Prompt) -> bytes:
        raise AssertionError("no path of this wire asks for a count")

    def read(self, body: bytes) -> Prompt:
        try:
            request = _BODY.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestRefused(str(error)) from error
        messages = request.messages
        last = messages[-1] if messages else None
        bound = request.max_completion_tokens
        stop = request.stop
        options = request.stream_options
        return Prompt(
            last_user_text=_last_user_text(messages),
            input_tokens=_input_tokens(request),
            max_tokens=request.max_tokens if bound is None else bound,
            stop_sequences=(stop,) if isinstance(stop, str) else tuple(stop or ()),
            tools=_tools(request),
            tool_result=_text(last.content) if last is not None and last.role == "tool" else None,
            stream_usage=options is not None and options.include_usage is True,
        )

    def plain(self, exchange: Exchange, reply: Reply) -> bytes:
        message: Part = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
        if reply.tool is None:
            message["content"] = reply.text
        else:
            message["tool_calls"] = [_tool_call(exchange, reply.tool, _arguments(reply.tool))]
        choice: Part = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _FINISH_REASONS[reply.stop],
        }
        answer = _envelope(exchange, "chat.completion", [choice])
        return msgspec.json.encode({**answer, "usage": _usage(exchange, reply.output_tokens)})

    def script(self, exchange: Exchange, reply: Reply) -> Script:
        first: Part = {"role": "assistant", "content": "", "refusal": None}
        if reply.tool is None:
            deltas: Iterator[Part] = ({"content": text} for text in pieces(reply.text))
        else:
            first["content"] = None
            first["tool_calls"] = [{"index": 0, **_tool_call(exchange, reply.tool, "")}]
            deltas = _argument_deltas(_arguments(reply.tool))
        tail = _chunk(exchange, {}, _FINISH_REASONS[reply.stop])
        if exchange.prompt.stream_usage:
            last = _envelope(exchange, "chat.completion.chunk", [])
            tail += _data({**last, "usage": _usage(exchange, reply.output_tokens)})
        return Script(
            head=_chunk(exchange, first, None),
            deltas=(_chunk(exchange, delta, None) for delta in deltas),
            tail=tail + _DONE,
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


def _usage(exchange: Exchange, output_tokens: int) -> Part:
    input_tokens = exchange.prompt.input_tokens
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
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


def _tools(request: _Body) -> tuple[Tool, ...]:
    """The functions that may be called, the one the client insists on first."""
    choice = request.tool_choice
    if choice == "none":
        return ()
    chosen = choice.get("function") if isinstance(choice, dict) else None
    wanted = chosen.get("name") if isinstance(chosen, dict) else None
    functions = [tool.get("function") for tool in request.tools or ()]
    found = [
        Tool(str(function.get("name", "")), function.get("parameters"))
        for function in functions
        if isinstance(function, dict)
    ]
    return tuple(sorted(found, key=lambda tool: tool.name != wanted))


def _last_user_text(messages: list[_Message]) -> str:
    for message in reversed(messages):
        if message.role == "user" and (text := _text(message.content)):
            return text
    return ""


def _text(content: object) -> str:
    """The text of a content that is a string or an array of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def _input_tokens(request: _Body) -> int:
    """Messages and tool definitions; a picture counts the same whatever its size."""
    size_bytes = fixed_tokens = 0
    if request.tools:
        size_bytes += len(msgspec.json.encode(request.tools))
    for message in request.messages:
        if message.tool_calls:
            size_bytes += len(msgspec.json.encode(message.tool_calls))
        content = message.content
        for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
            match part.get("type"):
                case "text":
                    size_bytes += len(str(part.get("text", "")).encode())
                case "image_url":
                    fixed_tokens += _IMAGE_TOKENS
                case "file" | "input_audio":
                    fixed_tokens += _FILE_TOKENS
                case _:
                    size_bytes += len(msgspec.json.encode(part))
    return tokens(size_bytes) + fixed_tokens
