"""A provider's streamed answer: whole events go on, the last one is kept back, usage is read.

Bytes are relayed as they came; nothing here encodes an event again.
"""

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage
from triptych.wires.anthropic_messages.meter import StreamMeter
from triptych.wires.anthropic_messages.usage import UNREADABLE
from triptych.wires.sse import BLOCK_END, BOM, parse_block

MAX_EVENT_BYTES = 16 << 20

_DELTA = "content_block_delta"
_DELTA_HEAD = b"event: content_block_delta\ndata: "
_DELTA_FRAME_BYTES = len(_DELTA_HEAD) + len(b"\n\n")
# A block ends with at most four bytes (CRLF CRLF): an end that was not there before new bytes
# came begins at most this far before them.
_END_LOOKBACK_BYTES = 3


class _Typed(msgspec.Struct):
    type: str = ""


class _ErrorEvent(msgspec.Struct):
    error: _Typed


_TYPED = msgspec.json.Decoder(_Typed)
_ERROR = msgspec.json.Decoder(_ErrorEvent)


class MessagesStream:
    """Feed it what arrives, relay what it returns.

    Half an event is held back, so that an error frame of our own never lands inside one. The
    terminal event (``message_stop``, or the provider's own ``error``) stays in ``final`` with
    what came after it in the same chunk: the relay sends it once the outcome is safe. After
    that, ``feed`` returns what still comes unchanged. For every way to cut a stream into chunks
    the bytes, their order and the usage are the same.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_cr_seen",
        "_held",
        "_max_event_bytes",
        "_meter",
        "_steady",
        "ended",
        "error_type",
        "final",
        "started",
    )

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES, request_bytes: int = 0) -> None:
        """``request_bytes`` is the length of the request's body, for an estimate of the input
        when the provider's own count is of no use."""
        self.final: bytes | None = None
        self.ended: str | None = None
        """``message_stop`` | ``error`` | None while, or when, there was no terminal event."""
        self.error_type: str | None = None
        """The provider's word, such as ``overloaded_error``, when ``ended`` is ``error``."""
        self.started = False
        """Whether an event was seen; comments are none."""
        self._max_event_bytes = max_event_bytes
        self._meter = StreamMeter(request_bytes)
        self._held = bytearray()
        self._at_start = True
        self._after_cr = False
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
        size = len(chunk)
        if self._steady and _is_delta(chunk) and size <= self._max_event_bytes:
            self.started = True
            self._meter.deltas += 1
            self._meter.delta_bytes += size - _DELTA_FRAME_BYTES
            return chunk
        if self.final is not None or not chunk:
            return chunk
        relayed = self._feed(chunk)
        self._steady = not (self._held or self._at_start or self._after_cr or self.final is not None)
        return relayed

    def _feed(self, chunk: bytes) -> bytes:
        if not self._cr_seen and b"\r" in chunk:
            self._cr_seen = True
        start = 0
        if self._after_cr:
            # The CR that ended the last block may have been the half of a CRLF.
            self._after_cr = False
            start = 1 if chunk.startswith(b"\n") else 0
        buffer: bytes | bytearray = chunk
        search = start
        if self._held:
            search = max(0, len(self._held) - _END_LOOKBACK_BYTES)
            self._held += chunk
            buffer = self._held
        position = start
        while (end := self._block_end(buffer, search)) >= 0:
            if end - position > self._max_event_bytes:
                raise self._too_long()
            if self._read(bytes(buffer[position:end])):
                self.final = bytes(buffer[position:])
                self._held = bytearray()
                return bytes(buffer[:position])
            position = search = end
        rest = len(buffer) - position
        if rest > self._max_event_bytes:
            raise self._too_long()
        if position == 0 and buffer is self._held:
            return b""
        relayed = bytes(buffer[:position])
        if rest == 0:
            self._after_cr = relayed.endswith(b"\r")
        self._held = bytearray(buffer[position:])
        return relayed

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

    def _read(self, block: bytes) -> bool:
        """Account for one block; whether it is the terminal event."""
        if self._at_start:
            self._at_start = False
            block = block.removeprefix(BOM)
        if _is_delta(block):
            self.started = True
            self._meter.deltas += 1
            self._meter.delta_bytes += len(block) - _DELTA_FRAME_BYTES
            return False
        event = parse_block(block)
        if event is None:
            return False
        self.started = True
        data = event.data
        type_ = event.type or _type_of(data)
        if type_ == _DELTA:
            self._meter.deltas += 1
            self._meter.delta_bytes += len(data)
        elif type_ == "message_start":
            self._meter.message_start(data)
        elif type_ == "message_delta":
            self._meter.message_delta(data)
        elif type_ == "message_stop":
            self.ended = type_
            return True
        elif type_ == "error":
            self.ended = type_
            try:
                self.error_type = _ERROR.decode(data).error.type or None
            except UNREADABLE:
                self.error_type = None
            return True
        return False

    def usage(self) -> Usage:
        """What the provider worked on so far, as far as it can be known.

        The provider's counts when the stream ended with ``message_stop`` and they are
        believable; else an estimate from the last cumulative counts and the length of the
        deltas; NO_USAGE when there was nothing to count.
        """
        return self._meter.usage(whole=self.ended == "message_stop")


def _is_delta(chunk: bytes) -> bool:
    """Whether the bytes are exactly one delta event in the form Anthropic writes it: two lines
    and a blank one. One that looks otherwise is read the long way."""
    return (
        chunk.startswith(_DELTA_HEAD)
        and chunk.endswith(b"\n\n")
        and chunk.count(b"\n") == 3
        and b"\r" not in chunk
    )


def _type_of(data: bytes) -> str:
    """The ``type`` of an event that has no ``event`` field."""
    try:
        return _TYPED.decode(data).type
    except UNREADABLE:
        return ""
