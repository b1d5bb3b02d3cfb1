"""The sandbox on the OpenAI Responses wire, as https://platform.openai.com/docs/api-reference/responses
and https://platform.openai.com/docs/api-reference/responses-streaming describe it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count

import msgspec

from triptych.upstreams.sandbox.replies import Prompt, Reply, Stop, Tool, pieces, tokens
from triptych.upstreams.sandbox.scenarios import Scenario
from triptych.upstreams.sandbox.wire import Exchange, ProviderError, RequestRefused, Script
from triptych.wires.sse import frame

Item = dict[str, object]

_IMAGE_TOKENS = 1_600
_FILE_TOKENS = 3_000
_JSON_FRAGMENT_CHARS = 16
# The same request gets the same answer, to the byte: no clock is read.
_CREATED_S = 1_767_225_600
# created, in_progress, output_item.added, content_part.added, and the deltas after which a failure
# happens inside a stream.
_NUMBER_OF_ERROR = 4 + 4
# Status, error type, code, message: as the provider documents or sends them
# (https://platform.openai.com/docs/guides/error-codes).
_OVERLOADED = (
    503,
    "service_unavailable_error",
    "server_is_overloaded",
    "Our servers are currently overloaded. Please try again later.",
)
_ERRORS: Mapping[Scenario, tuple[int, str, str | None, str]] = {
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
        "The server had an error while processing your request. Sorry about that!",
    ),
    Scenario.UPSTREAM_BAD_REQUEST: (
        400,
        "invalid_request_error",
        None,
        "The sandbox refuses every such request.",
    ),
}
# What of a request its answer repeats, and what it says where the request says nothing.
_SETTINGS: Mapping[str, object] = {
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}


class _Body(msgspec.Struct):
    input: str | list[Item]
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: list[Item] = []
    tool_choice: str | Item | None = None


class _Asked(Prompt, frozen=True):
    settings: Mapping[str, object] = {}
    """The answer's copy of what was asked for."""


_BODY = msgspec.json.Decoder(_Body)
_REQUEST = msgspec.json.Decoder(dict[str, object])


class OpenAIResponses:
    """Implements :class:`triptych.upstreams.sandbox.wire.Wire`."""

    def counts(self, path: str) -> bool:
        return path.endswith("/input_tokens")

    def read(self, body: bytes) -> Prompt:
        try:
            request = _BODY.decode(body)
            asked = _REQUEST.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestRefused(str(error)) from error
        items = request.input
        last: Item = items[-1] if isinstance(items, list) and items else {}
        called = last.get("type") == "function_call_output"
        return _Asked(
            last_user_text=items if isinstance(items, str) else _last_user_text(items),
            input_tokens=_input_tokens(request),
            max_tokens=request.max_output_tokens,
            tools=_tools(request),
            tool_result=_text(last.get("output")) if called else None,
            settings={name: _given(asked.get(name), value) for name, value in _SETTINGS.items()},
        )

    def count(self, prompt: Prompt) -> bytes:
        return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": prompt.input_tokens})

    def plain(self, exchange: Exchange, reply: Reply) -> bytes:
        return msgspec.json.encode(_ended(exchange, reply))

    def script(self, exchange: Exchange, reply: Reply) -> Script:
        return _said(exchange, reply) if reply.tool is None else _called(exchange, reply)

    def error(self, scenario: Scenario, digest: str) -> ProviderError:
        status, type_, code, message = _ERRORS[scenario]
        headers = [(b"retry-after", b"1")] if status == 429 else []
        return ProviderError(status, _error(type_, code, message), headers)

    def refused(self, sentence: str, digest: str) -> ProviderError:
        return ProviderError(400, _error("invalid_request_error", None, sentence))

    def error_event(self, scenario: Scenario) -> bytes:
        _, _, code, message = _ERRORS[scenario]
        return _event(_NUMBER_OF_ERROR, "error", code=code, message=message, param=None)


def _said(exchange: Exchange, reply: Reply) -> Script:
    place = {"item_id": _message_id(exchange), "output_index": 0, "content_index": 0}
    ended = _item(exchange, reply)
    head = _begun(exchange, {**ended, "status": "in_progress", "content": []}) + _event(
        3, "response.content_part.added", **place, part=_part("")
    )
    numbers = count(4 + sum(1 for _ in pieces(reply.text)))
    tail = (
        _event(next(numbers), "response.output_text.done", **place, text=reply.text, logprobs=[])
        + _event(next(numbers), "response.content_part.done", **place, part=_part(reply.text))
        + _finished(exchange, reply, numbers)
    )
    return Script(
        head, _deltas("response.output_text.delta", 4, pieces(reply.text), {**place, "logprobs": []}), tail
    )


def _called(exchange: Exchange, reply: Reply) -> Script:
    ended = _item(exchange, reply)
    place = {"item_id": ended["id"], "output_index": 0}
    head = _begun(exchange, {**ended, "status": "in_progress", "arguments": ""})
    arguments = str(ended["arguments"])
    fragments = [
        arguments[at : at + _JSON_FRAGMENT_CHARS] for at in range(0, len(arguments), _JSON_FRAGMENT_CHARS)
    ]
    numbers = count(3 + len(fragments))
    tail = _event(
        next(numbers),
        "response.function_call_arguments.done",
        **place,
        arguments=arguments,
    ) + _finished(exchange, reply, numbers)
    deltas = _deltas("response.function_call_arguments.delta", 3, fragments, place)
    return Script(head, deltas, tail)


def _begun(exchange: Exchange, item: Item) -> bytes:
    response = _response(exchange, "in_progress", [])
    return (
        _event(0, "response.created", response=response)
        + _event(1, "response.in_progress", response=response)
        + _event(2, "response.output_item.added", output_index=0, item=item)
    )


def _finished(exchange: Exchange, reply: Reply, numbers: Iterator[int]) -> bytes:
    ended = _ended(exchange, reply)
    done = _event(next(numbers), "response.output_item.done", output_index=0, item=_item(exchange, reply))
    return done + _event(next(numbers), f"response.{ended['status']}", response=ended)


def _event(number: int, type_: str, **fields: object) -> bytes:
    return frame(type_, msgspec.json.encode({"type": type_, "sequence_number": number, **fields}))


def _deltas(type_: str, first: int, texts: Iterable[str], fields: Mapping[str, object]) -> Iterator[bytes]:
    for number, text in enumerate(texts, first):
        yield _event(number, type_, **fields, delta=text)


def _error(type_: str, code: str | None, message: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": type_, "param": None, "code": code}})


def _ended(exchange: Exchange, reply: Reply) -> dict[str, object]:
    cut = reply.stop is Stop.MAX_TOKENS
    input_tokens, output_tokens = exchange.prompt.input_tokens, reply.output_tokens
    return {
        **_response(exchange, "incomplete" if cut else "completed", [_item(exchange, reply)]),
        "completed_at": None if cut else _CREATED_S,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output_text": reply.text,
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + output_tokens,
        },
    }


def _response(exchange: Exchange, status: str, output: list[Item]) -> dict[str, object]:
    prompt = exchange.prompt
    return {
        "id": f"resp_sandbox_{exchange.digest}",
        "object": "response",
        "created_at": _CREATED_S,
        "status": status,
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": exchange.model,
        "output": output,
        "output_text": "",
        **(prompt.settings if isinstance(prompt, _Asked) else _SETTINGS),
        "usage": None,
    }


def _message_id(exchange: Exchange) -> str:
    return f"msg_sandbox_{exchange.digest}"


def _item(exchange: Exchange, reply: Reply) -> Item:
    """The only item of the answer: a message, or a call of a function."""
    if reply.tool is not None:
        return {
            "id": f"fc_sandbox_{exchange.digest}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_sandbox_{exchange.digest}",
            "name": reply.tool.name,
            "arguments": msgspec.json.encode(reply.tool.arguments).decode(),
        }
    return {
        "id": _message_id(exchange),
        "type": "message",
        "status": "incomplete" if reply.stop is Stop.MAX_TOKENS else "completed",
        "role": "assistant",
        "content": [_part(reply.text)],
    }


def _part(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _given(value: object, otherwise: object) -> object:
    return otherwise if value is None else value


def _tools(request: _Body) -> tuple[Tool, ...]:
    """The functions that may be called, the one the client insists on first."""
    choice = request.tool_choice
    if choice == "none":
        return ()
    found = [
        Tool(str(tool.get("name", "")), tool.get("parameters"))
        for tool in request.tools
        if tool.get("type") == "function"
    ]
    if not isinstance(choice, dict):
        return tuple(found)
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("tools")
        names = (
            [tool.get("name") for tool in allowed if isinstance(tool, dict)]
            if isinstance(allowed, list)
            else []
        )
        return tuple(tool for tool in found if tool.name in names)
    return tuple(sorted(found, key=lambda tool: tool.name != choice.get("name")))


def _last_user_text(items: list[Item]) -> str:
    for item in reversed(items):
        if item.get("role") == "user" and (text := _text(item.get("content"))):
            return text
    return ""


def _text(content: object) -> str:
    """The text of a content, or of a function's output: a string or an array of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _input_tokens(request: _Body) -> int:
    """Instructions, items and tool definitions; a picture counts the same whatever its size."""
    size_bytes = fixed_tokens = 0
    contents: list[object] = [request.instructions, request.tools, request.input]
    while contents:
        content = contents.pop()
        if isinstance(content, str):
            size_bytes += len(content.encode())
        elif isinstance(content, list):
            contents.extend(content)
        elif isinstance(content, dict):
            match content.get("type", "message"):
                case "input_image":
                    fixed_tokens += _IMAGE_TOKENS
                case "input_file":
                    fixed_tokens += _FILE_TOKENS
                case "input_text" | "output_text":
                    contents.append(content.get("text"))
                case "message":
                    contents.append(content.get("content"))
                case "function_call_output":
                    contents.append(content.get("output"))
                case _:
                    size_bytes += len(msgspec.json.encode(content))
    return tokens(size_bytes) + fixed_tokens
