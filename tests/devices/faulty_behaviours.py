"""What the faulty upstream can do to a request, by name. A behaviour is ``async (exchange, *args)``;
``fault-<name>:<arg>:<arg>`` as the model id asks for it."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Protocol

from tests.devices import messages_wire as wire


class Exchange(Protocol):
    """One request being answered: what a behaviour may do with it."""

    model: str
    stream: bool
    target: str

    async def send(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...
    async def hang(self) -> None: ...
    def count(self) -> int: ...


Behaviour = Callable[..., Awaitable[None]]

JSON = "application/json"
SSE = "text/event-stream"
ENDLESS_BYTES = 100 * 1024 * 1024
GIGANTIC_LINE_BYTES = 20 * 1024 * 1024

_REASONS = {
    "429": ("rate_limit_error", "Slow down."),
    "500": ("api_error", "Internal server error."),
    "502": ("api_error", "Bad gateway."),
    "503": ("api_error", "Unavailable."),
    "529": ("overloaded_error", "Overloaded."),
}


def head(status: int, *fields: str) -> bytes:
    """A head with what a provider usually adds, a cookie among it that must go nowhere."""
    lines = [f"HTTP/1.1 {status} Whatever", "request-id: req_fault", "anthropic-organization-id: org_fault"]
    lines += ["set-cookie: fault=1; Path=/", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def answer(exchange: Exchange, status: int, content_type: str, body: bytes, *fields: str) -> None:
    length = f"content-length: {len(body)}"
    await exchange.send(head(status, f"content-type: {content_type}", length, *fields) + body)


async def begin_stream(exchange: Exchange) -> None:
    await exchange.send(head(200, f"content-type: {SSE}", "transfer-encoding: chunked"))


async def chunk(exchange: Exchange, data: bytes) -> None:
    await exchange.send(b"%x\r\n%b\r\n" % (len(data), data))


async def end_stream(exchange: Exchange) -> None:
    await exchange.send(b"0\r\n\r\n")


async def whole_stream(exchange: Exchange, events: list[bytes], pause_s: float = 0) -> None:
    await begin_stream(exchange)
    for event in events:
        await chunk(exchange, event)
        if pause_s:
            await asyncio.sleep(pause_s)
    await end_stream(exchange)


async def ok(exchange: Exchange, deltas: str = "4") -> None:
    """What the request asks for: JSON, a stream, or a token count."""
    if exchange.target.partition("?")[0].endswith("/count_tokens"):
        await answer(exchange, 200, JSON, wire.compact({"input_tokens": 12}))
    elif exchange.stream:
        await ok_stream(exchange, deltas)
    else:
        await answer(exchange, 200, JSON, wire.message(exchange.model))


async def ok_stream(exchange: Exchange, deltas: str = "4", pause_ms: str = "0") -> None:
    await whole_stream(exchange, wire.stream_events(int(deltas), exchange.model), int(pause_ms) / 1000)


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def close(exchange: Exchange) -> None:
    exchange.close()


async def hang_before_head(exchange: Exchange) -> None:
    await exchange.hang()


async def hang_inside_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await exchange.hang()


async def hang_after_head(exchange: Exchange) -> None:
    if exchange.stream:
        await begin_stream(exchange)
    else:
        await exchange.send(head(200, f"content-type: {JSON}", "content-length: 100"))
    await exchange.hang()


async def slow_first_byte(exchange: Exchange, wait_ms: str = "300") -> None:
    await asyncio.sleep(int(wait_ms) / 1000)
    await ok(exchange)


async def empty(exchange: Exchange, status: str = "200") -> None:
    await answer(exchange, int(status), JSON, b"")


async def html(exchange: Exchange, status: str = "502") -> None:
    await answer(exchange, int(status), "text/html", b"<html><body><h1>502 Bad Gateway</h1></body></html>")


async def wrong_content_type(exchange: Exchange) -> None:
    """The right body for the request, under a type that says otherwise."""
    await answer(exchange, 200, "text/plain", wire.message(exchange.model))


async def json_for_a_stream(exchange: Exchange) -> None:
    await answer(exchange, 200, JSON, wire.message(exchange.model))


async def json_cut(exchange: Exchange) -> None:
    """Half of a JSON body, framed as if it were whole."""
    body = wire.message(exchange.model)
    await answer(exchange, 200, JSON, body[: len(body) // 2])


async def json_short(exchange: Exchange) -> None:
    """A content-length that promises more than comes; then the connection closes."""
    body = wire.message(exchange.model)
    await exchange.send(head(200, f"content-type: {JSON}", f"content-length: {len(body) + 50}") + body)
    exchange.close()


async def stream_cut_at(exchange: Exchange, at_byte: str = "100", deltas: str = "4") -> None:
    """The first N bytes of the stream, then a closed connection, in the middle of the chunks."""
    await begin_stream(exchange)
    data = wire.stream(int(deltas), exchange.model)[: int(at_byte)]
    if data:
        await chunk(exchange, data)
    exchange.close()


async def stream_reset_at(exchange: Exchange, at_byte: str = "100") -> None:
    """As stream_cut_at, but the connection is reset, after a moment in which the bytes are read."""
    await begin_stream(exchange)
    data = wire.stream(4, exchange.model)[: int(at_byte)]
    if data:
        await chunk(exchange, data)
    await asyncio.sleep(0.05)
    exchange.reset()


async def stream_ends_at(exchange: Exchange, at_byte: str = "100") -> None:
    """The first N bytes of the stream, then a proper end of the chunks."""
    await whole_stream(exchange, [wire.stream(4, exchange.model)[: int(at_byte)]])


async def stream_without_stop(exchange: Exchange, deltas: str = "4") -> None:
    """A proper end of the chunks, but no message_stop."""
    await whole_stream(exchange, wire.stream_events(int(deltas), exchange.model, stop=False))


async def stream_stalls(exchange: Exchange, deltas: str = "2") -> None:
    """The beginning and N deltas, then nothing more."""
    await begin_stream(exchange)
    for event in wire.stream_events(int(deltas), exchange.model)[: 3 + int(deltas)]:
        await chunk(exchange, event)
    await exchange.hang()


async def stream_error_event(exchange: Exchange, kind: str = "overloaded_error") -> None:
    events = wire.stream_events(2, exchange.model)[:5]
    error = {"error": {"type": kind, "message": "Overloaded"}}
    await whole_stream(exchange, [*events, wire.event("error", error)])


async def stream_garbage_event(exchange: Exchange) -> None:
    """An event that is no JSON and a line that is no field, inside an otherwise good stream."""
    events = wire.stream_events(2, exchange.model)
    garbage = b"event: content_block_delta\ndata: {not json\n\n\xff\xfe no field at all\n\n"
    await whole_stream(exchange, [*events[:4], garbage, *events[4:]])


async def stream_gigantic_line(exchange: Exchange, size_bytes: str = str(GIGANTIC_LINE_BYTES)) -> None:
    """One data line without an end."""
    await begin_stream(exchange)
    await chunk(exchange, wire.stream_events(0, exchange.model)[0] + b"data: ")
    left = int(size_bytes)
    while left > 0:
        piece = min(left, 65536)
        await chunk(exchange, b"x" * piece)
        left -= piece
    await end_stream(exchange)


async def slow_drip(exchange: Exchange, pause_ms: str = "0", deltas: str = "2") -> None:
    """Everything of a good answer, head included, one byte per write."""
    if exchange.stream:
        data = wire.stream(int(deltas), exchange.model)
        content_type = SSE
    else:
        data, content_type = wire.message(exchange.model), JSON
    raw = head(200, f"content-type: {content_type}", f"content-length: {len(data)}") + data
    for position in range(len(raw)):
        await exchange.send(raw[position : position + 1])
        await asyncio.sleep(int(pause_ms) / 1000)


async def close_after_answer(exchange: Exchange, wait_ms: str = "0") -> None:
    """A good answer that promises keep-alive; the connection closes all the same."""
    await ok(exchange)
    await asyncio.sleep(int(wait_ms) / 1000)
    exchange.close()


async def close_on_reuse(exchange: Exchange) -> None:
    """Good answers, but every request on a connection already used is answered with its end."""
    if exchange.count() > 1:
        exchange.close()
    else:
        await ok(exchange)


async def redirect(exchange: Exchange, location: str = "/elsewhere") -> None:
    await answer(exchange, 302, "text/plain", b"elsewhere", f"location: {location}")


async def error(exchange: Exchange, status: str = "500") -> None:
    await answer(exchange, int(status), JSON, wire.error(*_REASONS.get(status, ("api_error", "Failed."))))


async def rate_limited(exchange: Exchange, *retry_after: str) -> None:
    """429: ``rate_limited`` without Retry-After, ``rate_limited:3`` with whatever stands there,
    ``rate_limited:date:3`` with the HTTP date in 3 s."""
    fields = []
    if retry_after[:1] == ("date",):
        fields = [f"retry-after: {formatdate(time.time() + int(retry_after[1]), usegmt=True)}"]
    elif retry_after:
        fields = [f"retry-after: {retry_after[0]}"]
    await answer(exchange, 429, JSON, wire.error(*_REASONS["429"]), *fields)


async def usage(exchange: Exchange, lie: str = "negative") -> None:
    """Answers whose usage lies: negative, huge, missing, strings, floats, null."""
    reported = USAGE_LIES[lie]
    if exchange.stream:
        await whole_stream(exchange, wire.stream_events(4, exchange.model, reported))
    else:
        await answer(exchange, 200, JSON, wire.message(exchange.model, reported))


async def gzip_answer(exchange: Exchange) -> None:
    data = wire.stream(4, exchange.model) if exchange.stream else wire.message(exchange.model)
    content_type = SSE if exchange.stream else JSON
    await answer(exchange, 200, content_type, gzip.compress(data), "content-encoding: gzip")


async def endless(exchange: Exchange, limit_bytes: str = str(ENDLESS_BYTES)) -> None:
    """Deltas as fast as the socket takes them; the connection's log tells how many bytes it took."""
    await begin_stream(exchange)
    for event in wire.stream_events(0, exchange.model)[:3]:
        await chunk(exchange, event)
    block = wire.delta("x" * 1000) * 32
    sent = 0
    while sent < int(limit_bytes):
        await chunk(exchange, block)
        sent += len(block)
    for event in wire.stream_events(0, exchange.model)[3:]:
        await chunk(exchange, event)
    await end_stream(exchange)


USAGE_LIES: Mapping[str, Mapping[str, object] | None] = {
    "negative": {"input_tokens": -5, "output_tokens": -7},
    "huge": {"input_tokens": 2**63, "output_tokens": 2**63},
    "missing": None,
    "strings": {"input_tokens": "12", "output_tokens": "many"},
    "floats": {"input_tokens": 1.5, "output_tokens": 7.25},
    "null": {"input_tokens": None, "output_tokens": None},
    "list": {"input_tokens": [1], "output_tokens": {"a": 1}},
}

BEHAVIOURS: Mapping[str, Behaviour] = {
    behaviour.__name__: behaviour
    for behaviour in (
        ok,
        ok_stream,
        reset,
        close,
        hang_before_head,
        hang_inside_head,
        hang_after_head,
        slow_first_byte,
        empty,
        html,
        wrong_content_type,
        json_for_a_stream,
        json_cut,
        json_short,
        stream_cut_at,
        stream_reset_at,
        stream_ends_at,
        stream_without_stop,
        stream_stalls,
        stream_error_event,
        stream_garbage_event,
        stream_gigantic_line,
        slow_drip,
        close_after_answer,
        close_on_reuse,
        redirect,
        error,
        rate_limited,
        usage,
        gzip_answer,
        endless,
    )
}
