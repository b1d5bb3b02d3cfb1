"""A stream of the Messages wire, written as the events of a run."""

from collections.abc import Callable

from triptych.core.events import AnswerEnded, Event
from triptych.core.usage import Usage
from triptych.wires.anthropic_messages.event_decoder import EventDecoder
from triptych.wires.anthropic_messages.stamp import StreamMeter
from triptych.wires.native.events import PING
from triptych.wires.sse import BLOCK_END, BOM, parse_block


class NativeStream:
    """Used like any stream meter; what it returns are events of the run."""

    __slots__ = ("_at_start", "_complete", "_decode", "_encode", "_inner", "final")

    def __init__(
        self,
        inner: StreamMeter,
        encode: Callable[[Event], bytes],
        complete: Callable[[AnswerEnded, Usage], bytes],
    ) -> None:
        """``encode``: what an event becomes; ``complete``: what the regular end becomes."""
        self._inner = inner
        self._decode = EventDecoder().decode
        self._encode = encode
        self._complete = complete
        self._at_start = True
        self.final: bytes | None = None

    @property
    def ended(self) -> str | None:
        return self._inner.ended

    @property
    def started(self) -> bool:
        return self._inner.started

    @property
    def held(self) -> int:
        return self._inner.held

    def feed(self, chunk: bytes) -> bytes:
        """Raises Failure UPSTREAM_INVALID_RESPONSE for an event that cannot be understood."""
        inner = self._inner
        if self.final is not None:
            inner.feed(chunk)
            return b""
        ready = inner.feed(chunk)
        written = self._written(ready) if ready else b""
        if inner.final is not None:
            self.final = self._written(inner.final)
        return written

    def usage(self) -> Usage:
        return self._inner.usage()

    def _written(self, blocks: bytes) -> bytes:
        """``blocks``: whole events, and comments."""
        if self._at_start:
            self._at_start = False
            blocks = blocks.removeprefix(BOM)
        pieces: list[bytes] = []
        start = 0
        for end in BLOCK_END.finditer(blocks):
            block = blocks[start : end.end()]
            start = end.end()
            event = parse_block(block)
            if event is None:
                if block.startswith(b":"):
                    pieces.append(PING)
                continue
            for told in self._decode(event):
                if isinstance(told, AnswerEnded):
                    pieces.append(self._complete(told, self._inner.usage()))
                else:
                    pieces.append(self._encode(told))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
