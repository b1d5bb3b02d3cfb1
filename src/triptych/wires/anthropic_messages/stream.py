"""A provider's streamed answer on this wire: its regular form, its end, its usage."""

import msgspec

from triptych.core.usage import Usage
from triptych.wires.anthropic_messages.meter import StreamMeter
from triptych.wires.estimate import UNREADABLE
from triptych.wires.relay_stream import MAX_EVENT_BYTES, RelayStream, Verdict
from triptych.wires.sse import CR, LF, Event

_DELTA = "content_block_delta"
_DELTA_HEAD = b"event: content_block_delta\ndata: "
_DELTA_HEAD_BYTES = len(_DELTA_HEAD)
_DELTA_FRAME_BYTES = _DELTA_HEAD_BYTES + len(b"\n\n")


class _Typed(msgspec.Struct):
    type: str = ""


class _ErrorEvent(msgspec.Struct):
    error: _Typed


_TYPED = msgspec.json.Decoder(_Typed)
_ERROR = msgspec.json.Decoder(_ErrorEvent)


class MessagesStream(RelayStream):
    """The terminal event is ``message_stop``, or the provider's own ``error``; ``ended`` names it."""

    __slots__ = ("_meter",)

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES, request_bytes: int = 0) -> None:
        """``request_bytes`` is the length of the request's body, for an estimate of the input
        when the provider's own count is of no use."""
        super().__init__(max_event_bytes)
        self._meter = StreamMeter(request_bytes)

    def _take_delta(self, block: bytes) -> bool:
        """One delta in the form Anthropic writes it: two lines and a blank one."""
        size = len(block)
        if (
            block.startswith(_DELTA_HEAD)
            # The line of data is the last one: what follows its end is one more line feed.
            and block.find(b"\n", _DELTA_HEAD_BYTES) == size - 2
            and block[-1] == LF
            and CR not in block
        ):
            self.started = True
            meter = self._meter
            meter.deltas += 1
            meter.delta_bytes += size - _DELTA_FRAME_BYTES
            return True
        return False

    def take_event(self, event: Event) -> Verdict:
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
            return Verdict.FINAL
        elif type_ == "error":
            self.ended = type_
            try:
                self.error_type = _ERROR.decode(data).error.type or None
            except UNREADABLE:
                self.error_type = None
            return Verdict.FINAL
        return Verdict.RELAYED

    def usage(self) -> Usage:
        """What the provider worked on so far, as far as it can be known.

        The provider's counts when the stream ended with ``message_stop`` and they are
        believable; else an estimate from the last cumulative counts and the length of the
        deltas; NO_USAGE when there was nothing to count.
        """
        return self._meter.usage(whole=self.ended == "message_stop")


def _type_of(data: bytes) -> str:
    """The ``type`` of an event that has no ``event`` field."""
    try:
        return _TYPED.decode(data).type
    except UNREADABLE:
        return ""
