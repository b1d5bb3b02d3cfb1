"""A client that takes nothing for granted: raw sockets, a strict parser, and every byte kept.

``Caller`` is one keep-alive connection; ``ask`` one request on a connection of its own. What came
back is an ``Answer``: whether it was whole is part of it, as are its server-sent events, which are
read by a parser that forgives nothing.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httptools

from tests.devices.gateway import LIVE_KEY, Gateway

Fields = Mapping[str, str]


@dataclass
class Answer:
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    whole: bool = False
    """Whether its framing was complete: nothing was cut."""

    def header(self, name: str) -> str | None:
        """The value; a header sent twice is a failed assertion."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def request_id(self) -> str:
        """The id of the exchange, said the same in both headers."""
        request_id = self.header("request-id") or ""
        assert request_id.startswith("req_") and request_id == self.header("x-request-id")
        return request_id

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return strict_events(self.body)


def strict_events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Events as ``(name, data)``: each exactly one ``event`` and one ``data`` line, data a JSON
    object whose type is the event's name, nothing half at the end."""
    assert body.endswith(b"\n\n"), f"half an event at the end: {body[-80:]!r}"
    events = []
    for block in body.removesuffix(b"\n\n").split(b"\n\n"):
        name_line, data_line = block.split(b"\n")
        assert name_line.startswith(b"event: ") and data_line.startswith(b"data: "), block[:200]
        name, data = name_line[7:].decode("ascii"), json.loads(data_line[6:].decode("utf-8"))
        assert isinstance(data, dict) and data["type"] == name, block[:200]
        events.append((name, data))
    return events


def error_frame(kind: str, sentence: str) -> bytes:
    """The gateway's own last frame of a stream that failed."""
    data = {"type": "error", "error": {"type": kind, "message": sentence}}
    return b"event: error\ndata: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


class Caller:
    """One connection to the gateway."""

    def __init__(
        self, gateway: Gateway, *, timeout_s: float = 60, receive_buffer_bytes: int | None = None
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(("127.0.0.1", gateway.port))

    def send(
        self,
        body: bytes,
        *,
        path: str = "/v1/messages",
        key: str = LIVE_KEY,
        headers: Fields | None = None,
    ) -> None:
        fields = {
            "host": "gateway",
            "x-api-key": key,
            "content-type": "application/json",
            "content-length": str(len(body)),
            **(headers or {}),
        }
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.socket.sendall("\r\n".join(lines).encode("latin-1") + body)

    def pieces(self, answer: Answer) -> Iterator[bytes]:
        """The body's bytes as they come; ``answer`` fills up meanwhile."""
        reading = _Reading(answer)
        feed = reading.parser.feed_data
        while not answer.whole:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not data:
                return
            feed(data)
            piece = b"".join(reading.pieces)
            reading.pieces.clear()
            answer.body += piece
            if piece:
                yield piece

    def receive(self) -> Answer:
        answer = Answer()
        for _ in self.pieces(answer):
            pass
        return answer

    def ask(self, body: bytes, **how: Any) -> Answer:
        self.send(body, **how)
        return self.receive()

    def close(self) -> None:
        """Leave as a process does that ends: FIN, or RST when bytes were not read."""
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


class _Reading:
    """What httptools calls."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.pieces: list[bytes] = []
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._answer.status = self.parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self._answer.whole = True


def ask(gateway: Gateway, body: bytes, **how: Any) -> Answer:
    """One request on a connection of its own."""
    with Caller(gateway) as caller:
        return caller.ask(body, **how)


def settled_row(gateway: Gateway, request_id: str, limit_s: float = 30.0) -> dict[str, Any]:
    """The one row of an exchange, once it has ended."""
    exchange_id = request_id.removeprefix("req_")
    assert exchange_id.isalnum()
    deadline_s = time.monotonic() + limit_s
    while True:
        rows = gateway.rows(f"id = '{exchange_id}'")
        if rows and rows[0]["ended_us"] is not None:
            assert len(rows) == 1
            return rows[0]
        assert time.monotonic() < deadline_s, f"no outcome of {request_id}: {rows}\n{gateway.log[-2000:]}"
        time.sleep(0.01)


def facts(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def rss_bytes(gateway: Gateway) -> int:
    """Memory of the gateway's process that is in RAM now."""
    assert gateway.process is not None
    pages = Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
