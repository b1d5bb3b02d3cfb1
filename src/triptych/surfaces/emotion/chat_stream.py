"""A chat stream on its way to the client: the user's emotions go on the first chunk, and what the model
says is gathered - as the client reads it, whatever the way to it was."""

import asyncio
import re

import msgspec

from triptych.core.call import Headers
from triptych.core.response import Response
from triptych.stages.settle import Reply
from triptych.wires.sse import BLOCK_END, parse_block

_FIRST_OBJECT = re.compile(rb"(?:\A|(?<=[\r\n]))data: ?\{(?!\s*\})")


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    created: int | None = None
    model: str | None = None
    choices: list[_Choice] = []


_CHUNK = msgspec.json.Decoder(_Chunk)


class EmotionReply:
    """The reply to a client, with emotions in its stream."""

    def __init__(self, inner: Reply) -> None:
        self._inner = inner
        self._said: list[str] = []
        self.first: bytes | None = None
        """A member of the first chunk, ready to be written: ``"emotions":{...}``; None once it is."""
        self.head = _Chunk()
        """Id, time and model of the stream, as its newest chunk tells them."""

    @property
    def started(self) -> bool:
        return self._inner.started

    @property
    def bytes_out(self) -> int:
        return self._inner.bytes_out

    @property
    def disconnected(self) -> bool:
        return self._inner.disconnected

    @property
    def text(self) -> str:
        """What the model said in its first choice."""
        return "".join(self._said)

    def respond(self, response: Response) -> None:
        self._inner.respond(response)

    def start(self, status: int, headers: Headers) -> None:
        self._inner.start(status, headers)

    def write(self, piece: bytes) -> asyncio.Future[None] | None:
        return self._inner.write(self.with_emotions(piece))

    def with_emotions(self, piece: bytes) -> bytes:
        """What goes out for these events, whole ones."""
        self._gather(piece)
        if self.first is not None and (place := _FIRST_OBJECT.search(piece)) is not None:
            piece = piece[: place.end()] + self.first + b"," + piece[place.end() :]
            self.first = None
        return piece

    def finish(self, piece: bytes = b"") -> None:
        self._inner.finish(piece)

    def abort(self) -> None:
        self._inner.abort()

    def _gather(self, piece: bytes) -> None:
        start = 0
        for end in BLOCK_END.finditer(piece):
            event = parse_block(piece[start : end.end()])
            start = end.end()
            if event is None:
                continue
            try:
                chunk = _CHUNK.decode(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if chunk.id is not None:
                self.head = chunk
            for choice in chunk.choices:
                if choice.index == 0 and choice.delta is not None and choice.delta.content:
                    self._said.append(choice.delta.content)
