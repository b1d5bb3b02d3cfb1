"""A provider that misbehaves on demand, on real sockets, and remembers what it saw.

What it does with a request is decided, in this order, by: the queue (``enqueue``), the path
(``/fault/<behaviour>/v1/messages``), the model id in the body (``fault-<behaviour>``), else ``ok``.
A behaviour is written ``name`` or ``name:arg:arg``; ``tests/devices/faulty_behaviours.py`` has them
all, and here is one more: ``fail_then_ok:<n>:<behaviour>...``, which counts per model id or path.

In a test: ``with FaultyUpstream() as upstream: ... upstream.base_url``. As a process of its own:
``python -m tests.devices.faulty_upstream --port 9000 --log FILE`` (one JSON object a line).
"""

import argparse
import asyncio
import base64
import json
import signal
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO
from urllib.parse import unquote

from tests.devices.faulty_behaviours import BEHAVIOURS, Behaviour

OnAccept = Literal["serve", "reset", "hang"]
Script = str | Behaviour

_BUFFER_BYTES = 64 * 1024


@dataclass(frozen=True)
class SeenRequest:
    """One request, complete. Times are ``time.monotonic()`` and ``time.time()``."""

    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    at_mono_s: float
    at_wall_s: float

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        return value if isinstance(value, dict) else {}


@dataclass
class SeenConnection:
    """One accepted connection. ``bytes_sent`` is what the kernel took, live while it is open."""

    number: int
    opened_mono_s: float
    requests: int = 0
    bytes_sent: int = 0
    closed_by: Literal["peer", "device"] | None = None
    closed_mono_s: float | None = None
    closed_wall_s: float | None = None


class FaultyUpstream:
    """The device, in a thread of its own. ``port=0`` takes a free one; ``on_accept`` is what
    happens to connections before any request; ``tls`` makes it an https server."""

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        on_accept: OnAccept = "serve",
        tls: ssl.SSLContext | None = None,
        log: TextIO | None = None,
    ) -> None:
        self.on_accept: OnAccept = on_accept
        self.requests: list[SeenRequest] = []
        self.connections: list[SeenConnection] = []
        self.queue: deque[Script] = deque()
        self.counts: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self._host = host
        self._tls = tls
        self._log = log
        self._socket = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self.port: int = self._socket.getsockname()[1]
        self.live: set[_Wire] = set()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faulty-upstream", daemon=True)

    @property
    def base_url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def enqueue(self, *scripts: Script) -> None:
        """Behaviours for the next requests, whatever these ask for."""
        self.queue.extend(scripts)

    def wait_until(self, holds: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        """Whether ``holds`` came true in time; looks every 5 ms."""
        limit_s = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > limit_s:
                return False
            time.sleep(0.005)
        return True

    def drop_connections(self) -> None:
        """Close every open connection, as a provider does with idle ones."""

        def drop() -> None:
            for wire in tuple(self.live):
                wire.close()

        self._loop.call_soon_threadsafe(drop)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if self.errors and error is None:
            raise self.errors[0]

    def record(self, event: str, **facts: object) -> None:
        """Append to the log file, if there is one."""
        if self._log is not None:
            line = {"event": event, "mono_s": time.monotonic(), "wall_s": time.time(), **facts}
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()

    def behaviour(self, request: SeenRequest, wire: "_Wire") -> Awaitable[None]:
        """What is done to this request, not yet begun."""
        if self.queue:
            return self._resolve(self.queue.popleft(), wire)
        parts = request.target.split("/", 3)
        if parts[1:2] == ["fault"] and len(parts) > 2:
            return self._resolve(unquote(parts[2]), wire)
        if wire.model.startswith("fault-"):
            return self._resolve(wire.model.removeprefix("fault-"), wire)
        return self._resolve("ok", wire)

    def _resolve(self, script: Script, wire: "_Wire") -> Awaitable[None]:
        if not isinstance(script, str):
            return script(wire)
        name, *args = script.split(":")
        if name == "fail_then_ok":
            failures, rest = int(args[0]), ":".join(args[1:]) or "error:529"
            self.counts[script] += 1
            return self._resolve(rest if self.counts[script] <= failures else "ok", wire)
        return BEHAVIOURS[name](wire, *args)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Wire(self), sock=self._socket, ssl=self._tls)
        )
        self._loop.call_soon(self._started.set)
        self._loop.run_forever()
        server.close()
        # A connection that was accepted last gets its transport: who cancels that leaves a socket open.
        for _ in range(3):
            self._loop.run_until_complete(asyncio.sleep(0))
        for wire in tuple(self.live):
            wire.reset()
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


class _Wire(asyncio.Protocol):
    """One connection; implements ``faulty_behaviours.Exchange`` for the request it is answering."""

    def __init__(self, device: FaultyUpstream) -> None:
        self.model = ""
        self.stream = False
        self.target = ""
        self.seen = SeenConnection(len(device.connections), time.monotonic())
        device.connections.append(self.seen)
        self._device = device
        self._buffer = b""
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._written_bytes = 0

    # What a behaviour does

    async def send(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError
        self._transport.write(data)
        self._written_bytes += len(data)
        self._count_sent()
        await self._writable.wait()
        self._count_sent()

    def close(self) -> None:
        self._mark_closed("device")
        self._transport.close()

    def reset(self) -> None:
        self._mark_closed("device")
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def hang(self) -> None:
        await asyncio.Event().wait()

    def count(self) -> int:
        return self.seen.requests

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._device.live.add(self)
        self._device.record("opened", connection=self.seen.number)
        transport.set_write_buffer_limits(high=_BUFFER_BYTES, low=_BUFFER_BYTES // 2)
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._device.on_accept == "reset":
            self.reset()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._device.on_accept == "serve":
            self._next_request()

    def eof_received(self) -> bool:
        self._mark_closed("peer")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._mark_closed("peer")
        self._device.live.discard(self)
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._count_sent()
        self._writable.set()

    def _next_request(self) -> None:
        if self._task is not None and not self._task.done():
            return
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        request_line, *lines = head.decode("latin-1").split("\r\n")
        fields = [line.partition(":") for line in lines]
        headers = [(name.lower(), value.strip()) for name, _, value in fields]
        length = int(dict(headers).get("content-length", "0"))
        if len(rest) < length:
            return
        body, self._buffer = rest[:length], rest[length:]
        method, target, _ = request_line.split(" ")
        self._task = asyncio.get_running_loop().create_task(self._answer(method, target, headers, body))
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # A test that misspells a behaviour must fail, not see a closed connection.
            self._device.errors.append(error)
            self.reset()
        elif not self._transport.is_closing():
            self._next_request()

    async def _answer(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.seen.requests += 1
        request = SeenRequest(self.seen.number, method, target, headers, body, time.monotonic(), time.time())
        self._device.requests.append(request)
        self._device.record(
            "request",
            connection=request.connection,
            method=method,
            target=target,
            headers=headers,
            body_base64=base64.b64encode(body).decode(),
        )
        try:
            asked = request.json
        except ValueError:
            asked = {}
        self.target, self.model, self.stream = (
            target,
            str(asked.get("model", "")),
            asked.get("stream") is True,
        )
        try:
            await self._device.behaviour(request, self)
        except (ConnectionResetError, BrokenPipeError):
            return
        finally:
            self._count_sent()

    def _count_sent(self) -> None:
        if not self._transport.is_closing():
            self.seen.bytes_sent = self._written_bytes - self._transport.get_write_buffer_size()

    def _mark_closed(self, by: Literal["peer", "device"]) -> None:
        if self.seen.closed_by is None:
            self.seen.closed_by = by
            self.seen.closed_mono_s, self.seen.closed_wall_s = time.monotonic(), time.time()
            self._device.record("closed", connection=self.seen.number, by=by, bytes_sent=self.seen.bytes_sent)


@contextmanager
def refused_port() -> Iterator[int]:
    """A port on which connections are refused, for as long as the block runs: it is taken, and
    nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def main() -> None:
    """Run the device as a process until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="file to append to, one JSON object a line")
    parser.add_argument("--on-accept", choices=("serve", "reset", "hang"), default="serve")
    parser.add_argument("--script", default="", help="behaviours of the first requests, with commas")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log = None if options.log is None else options.log.open("a")
    with FaultyUpstream(port=options.port, on_accept=options.on_accept, log=log) as device:
        device.enqueue(*filter(None, options.script.split(",")))
        print(f"listening on {device.port}", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
