"""What every wire's stream has in common: whole events go on, the last one is kept back.

Bytes are relayed as they came; nothing here encodes an event again.
"""

from enum import Enum

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage
from triptych.wires.sse import BLOCK_END, BOM, CR, Event, parse_block

MAX_EVENT_BYTES = 16 << 20

# A block ends with at most four bytes (CRLF CRLF): an end that was not there before new bytes
# came begins at most this far before them.
_END_LOOKBACK_BYTES = 3


class Verdict(Enum):
    """What becomes of a block."""

    RELAYED = 0
    FINAL = 1
    """It is the terminal event: it stays in ``final`` with everything behind it."""
    DROPPED = 2
    """It is not for the client; bytes of no other block go with it."""


# Members of an enum are slow to look up; this is read for every event.
_RELAYED, _FINAL, _DROPPED = Verdict


class RelayStream:
    """Feed it what arrives, relay what it returns.

    Half an event is held back, so that an error frame of our own never lands inside one. The
    terminal event stays in ``final`` with what came after it in the same chunk: the relay sends
    it once the outcome is safe. After that, ``feed`` returns what still comes unchanged. For
    every way to cut a stream into chunks the bytes, their order and what a wire reads are the
    same. A wire fills in :meth:`_take_delta` and :meth:`take_event`.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_cr_seen",
        "_held",
        "_last_dropped",
        "_max_event_bytes",
        "_steady",
        "ended",
        "error_type",
        "final",
        "started",
    )

    def __init__(self, max_event_bytes: int) -> None:
        self.final: bytes | None = None
        self.ended: str | None = None
        """``error``, or the wire's name of its regular end; None while there was none."""
        self.error_type: str | None = None
        """The provider's word, such as ``overloaded_error``, when ``ended`` is ``error``."""
        self.started = False
        """Whether an event was seen; comments are none."""
        self._max_event_bytes = max_event_bytes
        self._held = bytearray()
        self._at_start = True
        self._after_cr = False
        self._last_dropped = False
        self._cr_seen = False
        # A block was read, nothing is held or half read, not ended: a whole delta may take the
        # short way.
        self._steady = False

    @property
    def held(self) -> int:
        """Bytes of an event that is not complete."""
        return len(self._held)

    def feed(self, chunk: bytes) -> bytes:
        """What may be relayed now: every event complete by now, without the terminal one.

        Raises Failure UPSTREAM_INVALID_RESPONSE when an event is longer than the bound.
        """
        if self._steady and len(chunk) <= self._max_event_bytes and self._take_delta(chunk):
            return chunk
        if self.final is not None or not chunk:
            return chunk
        relayed = self._feed(chunk)
        self._steady = not (self._held or self._at_start or self._after_cr or self.final is not None)
        return relayed

    def _take_delta(self, block: bytes) -> bool:
        """Account for the bytes when they are exactly one event in the form most events have, and
        it is relayed. Anything else is left to :meth:`take_event`. This is the hot path."""
        raise NotImplementedError

    def take_event(self, event: Event) -> Verdict:
        """Account for any other event. Sets ``ended`` when it is the terminal one."""
        raise NotImplementedError

    def usage(self) -> Usage:
        """What the provider worked on so far, as far as it can be known."""
        raise NotImplementedError

    def _feed(self, chunk: bytes) -> bytes:
        if not self._cr_seen and CR in chunk:
            self._cr_seen = True
        start = kept = 0
        if self._after_cr:
            # The CR that ended the last block may have been the half of a CRLF.
            self._after_cr = False
            start = 1 if chunk.startswith(b"\n") else 0
            kept = start if self._last_dropped else 0
        buffer: bytes | bytearray = chunk
        search = start
        if self._held:
            search = max(0, len(self._held) - _END_LOOKBACK_BYTES)
            self._held += chunk
            buffer = self._held
        position = start
        before_dropped = b""
        while (end := self._block_end(buffer, search)) >= 0:
            if end - position > self._max_event_bytes:
                raise self._too_long()
            verdict = self._read(bytes(buffer[position:end]))
            if verdict is _FINAL:
                self.final = bytes(buffer[position:])
                self._held = bytearray()
                return before_dropped + buffer[kept:position]
            if verdict is _DROPPED:
                before_dropped += buffer[kept:position]
                kept = end
            position = search = end
        rest = len(buffer) - position
        if rest > self._max_event_bytes:
            raise self._too_long()
        if position == 0 and buffer is self._held:
            return b""
        if rest == 0:
            self._after_cr = buffer[-1] == CR
            self._last_dropped = kept == position
        relayed = bytes(buffer[kept:position])
        self._held = bytearray(buffer[position:])
        return before_dropped + relayed if before_dropped else relayed

    def _block_end(self, buffer: bytes | bytearray, search: int) -> int:
        if not self._cr_seen:
            found = buffer.find(b"\n\n", search)
            return found + 2 if found >= 0 else -1
        match = BLOCK_END.search(buffer, search)
        return match.end() if match else -1

    def _too_long(self) -> Failure:
        return Failure(
            FailureKind.UPSTREAM_INVALID_RESPONSE,
            f"upstream sent a stream event longer than {self._max_event_bytes} bytes",
        )

    def _read(self, block: bytes) -> Verdict:
        if self._at_start:
            self._at_start = False
            block = block.removeprefix(BOM)
        if self._take_delta(block):
            return _RELAYED
        event = parse_block(block)
        if event is None:
            return _RELAYED
        self.started = True
        return self.take_event(event)
