"""A chat stream with emotions in it: the user's on the first chunk; what the model said is gathered."""

import re

import msgspec

from triptych.core.usage import Usage
from triptych.stages.departure import StreamMeter
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


class EmotionStream:
    """Used like the wire's own stream, whose events these are."""

    def __init__(self, inner: StreamMeter, first: bytes) -> None:
        """``first``: a member of the first chunk, ready to be written: ``"emotions":{...}``."""
        self._inner = inner
        self._first: bytes | None = first
        self._said: list[str] = []
        self.head = _Chunk()
        """Id, time and model of the stream, as its newest chunk tells them."""

    @property
    def final(self) -> bytes | None:
        return self._inner.final

    @property
    def ended(self) -> str | None:
        return self._inner.ended

    @property
    def started(self) -> bool:
        return self._inner.started

    @property
    def held(self) -> int:
        return self._inner.held

    @property
    def text(self) -> str:
        """What the model said in its first choice."""
        return "".join(self._said)

    @property
    def unsaid(self) -> bytes | None:
        """What no chunk could carry, because there was none."""
        return self._first

    def usage(self) -> Usage:
        return self._inner.usage()

    def feed(self, chunk: bytes) -> bytes:
        """Whole events, as the inner stream gives them. Raises Failure as it does."""
        ready = self._inner.feed(chunk)
        if not ready:
            return ready
        self._gather(ready)
        if self._first is None:
            return ready
        place = _FIRST_OBJECT.search(ready)
        if place is None:
            return ready
        first, self._first = self._first, None
        return ready[: place.end()] + first + b"," + ready[place.end() :]

    def _gather(self, ready: bytes) -> None:
        start = 0
        for end in BLOCK_END.finditer(ready):
            event = parse_block(ready[start : end.end()])
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
