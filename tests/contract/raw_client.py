"""A client that writes exactly the bytes it is told to and reads answers by their framing."""

import re
import socket
import time
from dataclasses import dataclass, field
from types import TracebackType

from tests.devices.gateway import LIVE_KEY, TEST_KEY

LIVE = f"x-api-key: {LIVE_KEY}"
TEST = f"x-api-key: {TEST_KEY}"
REQUEST_ID = re.compile(rb"req_[0-9A-HJKMNP-TV-Z]{26}")


@dataclass
class Answer:
    """One answer as it stood on the wire; header names in lower case."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str | None:
        values = self.values(name)
        assert len(values) < 2, f"{name} stands there {len(values)} times"
        return values[0] if values else None

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.headers}

    @property
    def normalised(self) -> bytes:
        """The body with our request ids replaced by one that never changes."""
        return REQUEST_ID.sub(b"req_X", self.body)


class RawClient:
    """One connection. ``with RawClient(port) as client: client.send(...); client.answer()``."""

    def __init__(self, port: int, timeout_s: float = 60.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *pieces: bytes, gap_s: float = 0.0) -> None:
        for number, piece in enumerate(pieces):
            if number and gap_s:
                time.sleep(gap_s)
            self.socket.sendall(piece)

    def answer(self, method: str = "POST") -> Answer:
        """The next answer. Raises ConnectionError when the connection ends before it is whole."""
        head = self._until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        answer = Answer(int(status))
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, line
            answer.headers.append((name.lower(), value.strip()))
        if answer.status == 100:
            return answer
        if method == "HEAD" or answer.status == 204:
            return answer
        if answer.header("transfer-encoding") == "chunked":
            answer.body = self._chunks()
        elif (length := answer.header("content-length")) is not None:
            answer.body = self._exactly(int(length))
        else:
            answer.body = self._buffer + self.rest()
        return answer

    def rest(self) -> bytes:
        """Everything up to the end of the connection; it must end within the time limit."""
        data, self._buffer = self._buffer, b""
        while piece := self.socket.recv(65536):
            data += piece
        return data

    @property
    def closed_by_server(self) -> bool:
        """Whether the server ends the connection, without another byte, within the time limit."""
        return self.rest() == b""

    def _more(self) -> None:
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError(f"ended after {self._buffer[:200]!r}")
        self._buffer += piece

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self._exactly(size)
            assert self._exactly(2) == b"\r\n"
        assert self._exactly(2) == b"\r\n"
        return body


def request(
    method: str = "POST", target: str = "/v1/messages", *fields: str, body: bytes | None = None
) -> bytes:
    """A request; ``body`` adds its content-length, fields are added as they are."""
    lines = [f"{method} {target} HTTP/1.1", "host: gateway", *fields]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def ask(
    port: int,
    method: str = "POST",
    target: str = "/v1/messages",
    *fields: str,
    body: bytes | None = None,
    timeout_s: float = 60.0,
) -> Answer:
    """One request on a connection of its own."""
    with RawClient(port, timeout_s) as client:
        client.send(request(method, target, *fields, body=body))
        return client.answer(method)
