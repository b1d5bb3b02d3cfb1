"""One request, said in exact bytes, and the answer as it came: for tests that must send what no
decent HTTP client would."""

import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.devices.gateway import LIVE_KEY


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes
    whole: bool
    """Whether the body came to the end that the framing promises."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int,
    body: bytes = b"",
    *,
    path: str = "/v1/messages",
    method: str = "POST",
    key: str | bytes | None = LIVE_KEY,
    fields: tuple[bytes, ...] = (),
    timeout_s: float = 60,
) -> Answer:
    """One request on a connection of its own. ``fields`` are header lines as they go out."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"host: triptych", b"connection: close", *fields]
    if key is not None:
        lines.append(b"x-api-key: " + (key.encode() if isinstance(key, str) else key))
    if method == "POST":
        lines += [b"content-type: application/json", b"content-length: %d" % len(body)]
    return say(port, b"\r\n".join([*lines, b"", b""]) + body, timeout_s)


def say(port: int, raw: bytes, timeout_s: float = 60) -> Answer:
    """Send the bytes, and read until the answer's end or the connection's."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        # Refused before the end of it, the answer may be there all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
        return hear(connection)


def hear(connection: socket.socket) -> Answer:
    """Read one answer."""
    data = _Incoming(connection)
    head = data.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
    status = int(head[0].split(" ")[1])
    body = bytearray()
    try:
        if headers.get("transfer-encoding") == "chunked":
            while size := int(data.until(b"\r\n"), 16):
                body += data.exactly(size)
                data.exactly(2)
            data.exactly(2)
        else:
            body += data.exactly(int(headers.get("content-length", "0")))
    except EOFError as cut:
        return Answer(status, headers, bytes(body) + cut.args[0], False)
    return Answer(status, headers, bytes(body), True)


class _Incoming:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = b""

    def until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._more()
        found, _, self._held = self._held.partition(end)
        return found

    def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        found, self._held = self._held[:size], self._held[size:]
        return found

    def _more(self) -> None:
        try:
            piece = self._connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise EOFError(self._held)
        self._held += piece
