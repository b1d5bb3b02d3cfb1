"""A closed-loop HTTP/1.1 load generator on raw asyncio protocols: every answer checked, every event counted.

Each of `concurrency` connections sends its next request when the answer to the last one is complete. When the
time is up no new request is sent and the running ones are waited for, so that counts and CPU time belong
together. Times are measured here, in microseconds: to the first byte of an answer, and to its last.
"""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
CLOSING = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
CHUNKS_END = b"0\r\n\r\n"
RAMP_BATCH = 50
RAMP_PAUSE_S = 0.02
KEPT_FAULTS = 5


@dataclass(frozen=True, slots=True)
class Check:
    """What a right answer looks like: its status, its exact body or pieces that must occur so many times."""

    status: int = 200
    exact: bytes | None = None
    occurrences: tuple[tuple[bytes, int], ...] = ()

    def fault(self, status: int, body: bytes) -> str | None:
        """What is wrong with an answer; None when it is right."""
        if status != self.status:
            return f"status {status} instead of {self.status}"
        if self.exact is not None and body != self.exact:
            return f"body of {len(body)} bytes differs from the expected {len(self.exact)} bytes"
        for piece, count in self.occurrences:
            found = body.count(piece)
            if found != count:
                return f"{piece[:40]!r} occurs {found} times instead of {count}"
        return None


@dataclass(slots=True)
class LoadResult:
    """What one run of the generator saw. Times in microseconds, except `elapsed_s`."""

    requests: int = 0
    errors: int = 0
    faults: list[str] = field(default_factory=list)
    events: int = 0
    reads: int = 0
    body_bytes: int = 0
    elapsed_s: float = 0.0
    first_byte_us: list[float] = field(default_factory=list)
    total_us: list[float] = field(default_factory=list)

    def add_fault(self, fault: str) -> None:
        """Counts a wrong answer and keeps the first few descriptions."""
        self.errors += 1
        if len(self.faults) < KEPT_FAULTS:
            self.faults.append(fault)


class _Run:
    """State shared by the connections of one run."""

    def __init__(
        self,
        host: str,
        port: int,
        requests: Sequence[bytes],
        check: Check,
        duration_s: float | None,
        count: int | None,
    ) -> None:
        self.host = host
        self.port = port
        self.opening: set[asyncio.Task[None]] = set()
        self.requests = requests
        self.check = check
        self.result = LoadResult()
        self.left = count if count is not None else -1
        self.deadline = perf_counter() + duration_s if duration_s is not None else float("inf")
        self.number = 0
        self.active = 0
        self.finished = asyncio.Event()

    def take(self) -> bytes | None:
        """The next request to send; None when the run is over."""
        if self.over():
            return None
        self.left -= 1
        self.number += 1
        return self.requests[self.number % len(self.requests)]

    def over(self) -> bool:
        """No new request may be sent."""
        return self.left == 0 or perf_counter() >= self.deadline

    def reopen(self) -> None:
        """Replaces a connection that the server closed."""
        task = asyncio.get_running_loop().create_task(self.open())
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def open(self) -> None:
        """Opens one connection, which starts to send at once."""
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self), self.host, self.port
            )
        except OSError as error:
            self.result.add_fault(f"cannot connect: {error}")
            self.leave()

    def leave(self) -> None:
        """A connection is done for good."""
        self.active -= 1
        if self.active == 0:
            self.finished.set()


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self.run = run
        self.transport: asyncio.Transport | None = None
        self.pieces: list[bytes] = []
        self.waiting = False
        self.head_done = False
        self.closing = False
        self.expected_bytes = -1
        self.received_bytes = 0
        self.reads = 0
        self.sent_at = 0.0
        self.first_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.send_next()

    def send_next(self) -> None:
        assert self.transport is not None
        request = self.run.take()
        if request is None:
            self.waiting = False
            self.closing = True
            self.transport.close()
            return
        self.pieces = []
        self.head_done = False
        self.expected_bytes = -1
        self.received_bytes = 0
        self.reads = 0
        self.first_at = 0.0
        self.waiting = True
        self.sent_at = perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        if not self.reads:
            self.first_at = now
        self.reads += 1
        self.pieces.append(data)
        self.received_bytes += len(data)
        if not self.head_done:
            joined = b"".join(self.pieces)
            end = joined.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head_done = True
            self.pieces = [joined]
            length = CONTENT_LENGTH.search(joined, 0, end + 2)
            if length is not None:
                self.expected_bytes = end + 4 + int(length[1])
        if self.expected_bytes >= 0:
            complete = self.received_bytes >= self.expected_bytes
        elif len(data) >= len(CHUNKS_END):
            complete = data.endswith(CHUNKS_END)
        else:
            complete = b"".join(self.pieces[-5:]).endswith(CHUNKS_END)
        if complete:
            self.complete(now)

    def complete(self, now: float) -> None:
        """Checks and counts a finished answer, then sends the next request."""
        result = self.run.result
        raw = b"".join(self.pieces)
        head, _, body = raw.partition(b"\r\n\r\n")
        if self.expected_bytes < 0 and CHUNKED.search(head) is not None:
            body = unchunked(body)
        fault = self.run.check.fault(int(head[9:12]), body)
        if fault is not None:
            result.add_fault(fault)
        result.requests += 1
        result.reads += self.reads
        result.events += body.count(b"\n\n")
        result.body_bytes += len(body)
        result.first_byte_us.append((self.first_at - self.sent_at) * 1e6)
        result.total_us.append((now - self.sent_at) * 1e6)
        self.waiting = False
        if CLOSING.search(head) is None:
            self.send_next()
        elif self.transport is not None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting:
            self.run.result.add_fault(f"connection lost after {self.received_bytes} bytes of an answer")
        self.transport = None
        if self.closing or self.run.over():
            self.run.leave()
        else:
            self.run.reopen()


def unchunked(framed: bytes) -> bytes:
    """The body inside HTTP/1.1 chunk framing (RFC 9112, section 7.1); trailers are ignored."""
    parts: list[bytes] = []
    at = 0
    while True:
        line_end = framed.find(b"\r\n", at)
        size = int(framed[at:line_end].partition(b";")[0], 16) if line_end > at else 0
        if not size:
            return b"".join(parts)
        at = line_end + 2
        parts.append(framed[at : at + size])
        at += size + 2


async def run_load(
    port: int,
    requests: Sequence[bytes],
    check: Check,
    *,
    concurrency: int,
    duration_s: float | None = None,
    count: int | None = None,
    host: str = "127.0.0.1",
) -> LoadResult:
    """Sends `requests` in rotation for `duration_s` seconds or `count` times and waits for all answers.

    Connections are opened in batches, so that a server's accept queue is not the thing measured. A connection
    that the server closed is opened again as long as the run lasts.
    """
    run = _Run(host, port, requests, check, duration_s, count)
    run.active = concurrency
    collecting = gc.isenabled()
    gc.disable()
    started = perf_counter()
    try:
        for opened in range(concurrency):
            if opened and opened % RAMP_BATCH == 0:
                await asyncio.sleep(RAMP_PAUSE_S)
            await run.open()
        await run.finished.wait()
    finally:
        if collecting:
            gc.enable()
    run.result.elapsed_s = perf_counter() - started
    return run.result


def raw_request(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A complete POST request as it goes over the socket."""
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body
