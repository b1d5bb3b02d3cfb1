"""A provider's stream on one wire, written event by event on another: no text is held back."""

from typing import Protocol

from triptych.core.events import Event
from triptych.core.usage import Usage
from triptych.wires import sse
from triptych.wires.relay_stream import MAX_EVENT_BYTES, RelayStream, Verdict


class EventDecoder(Protocol):
    """Reads a provider's events; one object per stream."""

    def decode(self, event: sse.Event) -> list[Event]:
        """Keeps the grammar of ``core/events.py`` whatever the provider sends. Raises Failure
        UPSTREAM_INVALID_RESPONSE."""
        ...


class EventEncoder(Protocol):
    """Writes events for the caller; one object per stream."""

    def encode(self, event: Event) -> bytes: ...


class TranslatedStream(RelayStream):
    """Used like any :class:`RelayStream`; what it returns is on the caller's wire.

    ``meter`` is the stream of the provider's wire: it counts, and says which event is the last.
    What the last event becomes stays in ``final``; what the provider sends after it goes nowhere. One that
    becomes nothing is not the last: that its words follow is for the decoder to know.
    """

    __slots__ = ("_decode", "_encode", "_encoder", "_last", "_meter", "_written")

    def __init__(
        self,
        meter: RelayStream,
        decoder: EventDecoder,
        encoder: EventEncoder,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        super().__init__(max_event_bytes)
        self._meter = meter
        self._decode = decoder.decode
        self._encoder = encoder
        self._encode = encoder.encode
        self._written: list[bytes] = []
        self._last = b""

    def feed(self, chunk: bytes) -> bytes:
        """What the events complete by now become, without the terminal one.

        Raises Failure UPSTREAM_INVALID_RESPONSE for an event that is longer than the bound, or
        that cannot be understood.
        """
        if self.final is not None:
            return b""
        # What comes back are comments: they mean the same on every wire.
        comments = super().feed(chunk)
        written = self._written
        if comments:
            written.append(comments)
        if self.ended is not None:
            self.final = self._last
        if not written:
            return b""
        ready = written[0] if len(written) == 1 else b"".join(written)
        written.clear()
        return ready

    def _take_delta(self, block: bytes) -> bool:
        return False

    def take_event(self, event: sse.Event) -> Verdict:
        meter, encode = self._meter, self._encode
        verdict = meter.take_event(event)
        pieces = [encode(translated) for translated in self._decode(event)]
        written = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if verdict is Verdict.FINAL and written:
            self.ended, self.error_type = meter.ended, meter.error_type
            self._last = written
            return Verdict.FINAL
        if written:
            self._written.append(written)
        return Verdict.DROPPED

    def usage(self) -> Usage:
        """See the provider's wire."""
        return self._meter.usage()

    def failed_frames(self, message: str, code: str) -> bytes:
        """What ends the stream in the caller's form when the provider did not end it; for a
        caller's wire whose end tells of everything before it."""
        interrupted = self._encoder.interrupted  # type: ignore[attr-defined]
        frames: bytes = interrupted(message, code)
        return frames
