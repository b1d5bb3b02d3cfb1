"""A provider that remembers every byte it was sent and says it back: plain, streamed in pieces of three
characters, or as the arguments of a tool (where the last text says ``#tool``)."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.devices.streams import (
    ARGUMENTS,
    TEXT,
    chat_stream,
    events_of,
    messages_stream,
    responses_stream,
)

PIECE_CHARS = 3


class EchoUpstream:
    """``with EchoUpstream() as upstream``: served at ``upstream.url``, all wires."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.received = bytearray()
        """Heads and bodies, everything that came."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _replying(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forget(self) -> None:
        self.bodies.clear()
        self.received.clear()

    @property
    def asked(self) -> Any:
        """The last request."""
        return json.loads(self.bodies[-1])

    def __enter__(self) -> "EchoUpstream":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def last_text(request: dict[str, Any]) -> str:
    """All text of the last turn."""
    turns = request.get("messages", request.get("input"))
    if isinstance(turns, str):
        return turns
    content = turns[-1].get("content", turns[-1].get("output"))
    if isinstance(content, str):
        return content
    return " ".join(_said(block) for block in content)


def _said(block: dict[str, Any]) -> str:
    if "text" in block:
        return str(block["text"])
    inner = block.get("content", block.get("source", {}).get("data", ""))
    return inner if isinstance(inner, str) else " ".join(map(_said, inner))


def answered(path: str, request: dict[str, Any]) -> tuple[str, bytes]:
    """Content type and body."""
    text = last_text(request)
    what = ARGUMENTS if "#tool" in text else TEXT
    said = json.dumps({"q": text}, ensure_ascii=False) if what == ARGUMENTS else text
    pieces = [said[place : place + PIECE_CHARS] for place in range(0, len(said), PIECE_CHARS)]
    if path.startswith("/v1/messages"):
        stream = messages_stream(pieces, what)
        block: dict[str, Any] = {"type": "text", "text": text}
        if what == ARGUMENTS:
            block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"q": text}}
        whole = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [block],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 9},
        }
    elif path.startswith("/v1/chat"):
        stream = chat_stream(pieces, what)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if what == ARGUMENTS:
            call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": said}}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        whole = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12},
        }
    else:
        stream = responses_stream(pieces, what)
        whole = events_of(stream)[-1]["response"]
    if request.get("stream"):
        return "text/event-stream", stream
    return "application/json", json.dumps(whole).encode()


def _replying(upstream: EchoUpstream) -> type[BaseHTTPRequestHandler]:
    class Reply(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            upstream.bodies.append(body)
            upstream.received += self.requestline.encode() + bytes(self.headers) + body
            type_, answer = answered(self.path, json.loads(body))
            self.send_response(200)
            self.send_header("content-type", type_)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Reply
