"""A mock provider much faster than any gateway: prebuilt answers on a raw asyncio protocol under uvloop.

It speaks Anthropic Messages, OpenAI Chat Completions and OpenAI Responses, plain and streamed. A stream is
sent in one of three ways:

- burst: one write an event, one event per turn of the event loop (the default of a new process);
- paced: one write an event, one event every `pace_ms` milliseconds;
- whole: the complete stream in a single write.

The way is set for all requests with `--pace-ms` or `POST /_mock/pace?ms=N` (`ms=burst`, `ms=whole`), and for
one request by its model id: a model that ends in `-paced` takes `--pace-ms` (20 ms when that was not given),
one that ends in `-paced-N` takes N milliseconds. `GET /_mock/stats` answers the counters as JSON.

Run: `python -m bench.mock_upstream --port 9100`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
from collections.abc import Sequence
from typing import cast

import uvloop

from bench.canned import DELTA_COUNT, PATHS, Answer, Wire, build_answers

DEFAULT_PACE_MS = 20.0
BURST_MS = 0.0
WHOLE_MS = -1.0
STREAM_WANTED = re.compile(rb'"stream"\s*:\s*true')
USAGE_WANTED = re.compile(rb'"include_usage"\s*:\s*true')
MODEL_PACE = re.compile(rb'"model"\s*:\s*"[^"]*-paced(?:-(\d+))?"')
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"request-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM_END = b"0\r\n\r\n"


def json_response(body: bytes) -> bytes:
    """A complete 200 answer with a JSON body, keep-alive."""
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        f"request-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def framed(event: bytes) -> bytes:
    """One event as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(event), event)


class Prepared:
    """The bytes on the socket for one wire: JSON answer, stream pieces with and without the usage chunk."""

    def __init__(self, wire: Wire, answer: Answer) -> None:
        self.json_response = json_response(answer.json_body)
        self.with_usage = self._pieces(answer.events)
        without = tuple(event for event in answer.events if b'"choices":[],' not in event)
        self.without_usage = self._pieces(without) if wire is Wire.CHAT else self.with_usage

    @staticmethod
    def _pieces(events: Sequence[bytes]) -> tuple[bytes, ...]:
        middle = [framed(event) for event in events]
        return (STREAM_HEAD + middle[0], *middle[1:-1], middle[-1] + STREAM_END)


class Provider:
    """State shared by all connections: prepared answers, the pace, counters."""

    def __init__(self, pace_ms: float) -> None:
        self.prepared = {
            PATHS[wire].encode(): Prepared(wire, answer) for wire, answer in build_answers().items()
        }
        # OpenAI clients whose base URL has no /v1 in it ask for the bare path.
        self.prepared |= {path.removeprefix(b"/v1"): ready for path, ready in self.prepared.items()}
        self.pace_ms = pace_ms
        self.model_pace_ms = pace_ms if pace_ms > 0 else DEFAULT_PACE_MS
        self.connections = 0
        self.requests = 0
        self.streams_open = 0
        self.streams_cut = 0

    def control(self, path: bytes) -> bytes:
        """Answers a request that is not a model call: pace, statistics, or an empty model list."""
        if path.startswith(b"/_mock/pace?ms="):
            wanted = path.partition(b"=")[2].decode()
            named = {"burst": BURST_MS, "whole": WHOLE_MS}
            self.pace_ms = named[wanted] if wanted in named else float(wanted)
            return json_response(json.dumps({"pace_ms": self.pace_ms}).encode())
        if path == b"/_mock/stats":
            names = ("connections", "requests", "streams_open", "streams_cut", "pace_ms")
            return json_response(json.dumps({name: getattr(self, name) for name in names}).encode())
        if path.endswith(b"/count_tokens"):
            return json_response(b'{"input_tokens":212}')
        return json_response(b'{"object":"list","data":[]}')


class MockConnection(asyncio.Protocol):
    """One client connection: parses just enough HTTP/1.1 to know where a request ends, and answers it."""

    def __init__(self, provider: Provider, loop: asyncio.AbstractEventLoop) -> None:
        self.provider = provider
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.pieces: list[bytes] = []
        self.missing_bytes = 0
        self.pending: Sequence[bytes] = ()
        self.next_piece = 0
        self.pace_s = 0.0
        self.due_s = 0.0
        self.paused = False
        self.timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.provider.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.provider.connections -= 1
        self.transport = None
        if self.pending:
            self.provider.streams_open -= 1
            self.provider.streams_cut += 1
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self.missing_bytes > len(data):
            self.pieces.append(data)
            self.missing_bytes -= len(data)
            return
        if self.pieces:
            self.pieces.append(data)
            data = b"".join(self.pieces)
            self.pieces = []
        self.missing_bytes = 0
        while data:
            taken = self.take_request(data)
            if not taken:
                self.pieces = [data]
                return
            data = data[taken:]

    def take_request(self, data: bytes) -> int:
        """Answers the request at the start of `data`; its length in bytes, 0 when it is not complete yet."""
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            return 0
        body_start = head_end + 4
        found = CONTENT_LENGTH.search(data, 0, body_start)
        if found is not None:
            end = body_start + int(found[1])
            if end > len(data):
                self.missing_bytes = end - len(data)
                return 0
        elif CHUNKED.search(data, 0, body_start) is not None:
            last = data.find(b"\r\n0\r\n\r\n", head_end)
            if last < 0:
                return 0
            end = last + 7
        else:
            end = body_start
        path_start = data.index(b" ") + 1
        path = data[path_start : data.index(b" ", path_start)]
        self.answer(path, data, body_start, end)
        return end

    def answer(self, path: bytes, data: bytes, body_start: int, end: int) -> None:
        """Writes the answer for one complete request, or starts the stream it asks for."""
        provider = self.provider
        assert self.transport is not None
        prepared = provider.prepared.get(path.partition(b"?")[0])
        if prepared is None or data.startswith(b"GET "):
            self.transport.write(provider.control(path))
            return
        provider.requests += 1
        if STREAM_WANTED.search(data, body_start, end) is None:
            self.transport.write(prepared.json_response)
            return
        pieces = prepared.with_usage
        if prepared.without_usage is not pieces and USAGE_WANTED.search(data, body_start, end) is None:
            pieces = prepared.without_usage
        pace_ms = provider.pace_ms
        named = MODEL_PACE.search(data, body_start, end)
        if named is not None:
            pace_ms = float(named[1]) if named[1] else provider.model_pace_ms
        if pace_ms == WHOLE_MS:
            self.transport.write(b"".join(pieces))
            return
        provider.streams_open += 1
        self.pending = pieces
        self.next_piece = 0
        self.pace_s = pace_ms / 1000
        self.due_s = self.loop.time()
        self.send_event()

    def send_event(self) -> None:
        """Writes the next event of the stream and asks to be called again."""
        self.timer = None
        if self.transport is None or self.paused:
            return
        self.transport.write(self.pending[self.next_piece])
        self.next_piece += 1
        if self.next_piece == len(self.pending):
            self.pending = ()
            self.provider.streams_open -= 1
        elif self.pace_s:
            self.due_s += self.pace_s
            self.timer = self.loop.call_at(self.due_s, self.send_event)
        else:
            self.timer = self.loop.call_soon(self.send_event)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.pending and self.timer is None:
            self.send_event()


async def serve(host: str, port: int, pace_ms: float) -> None:
    """Listens until the process is ended; prints one line when it is ready."""
    loop = asyncio.get_running_loop()
    provider = Provider(pace_ms)
    server = await loop.create_server(
        lambda: MockConnection(provider, loop), host, port, backlog=4096, reuse_address=True
    )
    print(f"mock provider on http://{host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the mock provider."""
    parser = argparse.ArgumentParser(description=f"Mock provider; streams have {DELTA_COUNT} deltas.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--pace-ms", type=float, default=0.0, help="0: an event a loop turn; -1: one write")
    options = parser.parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(options.host, options.port, options.pace_ms))


if __name__ == "__main__":
    main()
