"""A server of exact answers, to see what our client makes of them and what it sends."""

import json
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType


@dataclass
class Heard:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


def answer(status: int, body: bytes | dict[str, object], *fields: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", *fields]
    lines += [f"content-length: {len(content)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode() + content


def stream(frames: bytes) -> bytes:
    """As far as it comes: the connection closes behind it."""
    lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream; charset=utf-8", "connection: close", "", ""]
    return "\r\n".join(lines).encode() + frames


CUT = b""
"""The connection closes without a byte."""


@dataclass
class ScriptedGateway:
    """``with ScriptedGateway(first, second) as gateway``: one answer per request, in this order."""

    answers: list[bytes]
    heard: list[Heard] = field(default_factory=list)

    def __enter__(self) -> "ScriptedGateway":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        for told in self.answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                self.heard.append(_read(connection))
                connection.sendall(told)


def _read(connection: socket.socket) -> Heard:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    method, target, _ = first.split(" ")
    return Heard(method, target, headers, body)
