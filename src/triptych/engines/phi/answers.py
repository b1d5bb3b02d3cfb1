"""Answers with their values: whole ones, and streams event by event.

Signed reasoning is left as it came, because its vendor wants it back unchanged; all that is not a
placeholder of the request keeps its bytes. A stream is read where it may hold a placeholder and goes
through untouched where it cannot.
"""

from typing import Any, Protocol

from triptych.core.usage import Usage
from triptych.engines.phi.citations import citation_edits, points
from triptych.engines.phi.restore import Redacted, Replaced, Restorer, Shifts
from triptych.engines.phi.streams import MAYBE, UNTOUCHED, StreamRestorer, beside
from triptych.wires.guarded import GUARDED, GuardedWire
from triptych.wires.json_strings import escaped
from triptych.wires.slots import Kind, Path
from triptych.wires.splice import Edit, splice


class AnswerReader(Protocol):
    def stream_meter(self, parsed: Any, request_bytes: int) -> Any: ...
    def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> tuple[bytes, Usage]: ...


class StreamMeter(Protocol):
    @property
    def final(self) -> bytes | None: ...
    @property
    def ended(self) -> str | None: ...
    @property
    def started(self) -> bool: ...
    @property
    def held(self) -> int: ...
    def feed(self, chunk: bytes) -> bytes: ...
    def usage(self) -> Usage: ...


class RestoringReader:
    """Reads the answers that another reader reads, on the caller's wire, and puts the values back."""

    __slots__ = ("_documents", "_reader", "_restorer", "_says_json", "_wire")

    def __init__(self, reader: AnswerReader, redacted: Redacted) -> None:
        self._reader = reader
        self._wire = GUARDED[redacted.wire]
        self._restorer = Restorer(redacted.values)
        self._says_json = redacted.says_json
        self._documents = {number: Shifts(spans) for number, spans in redacted.documents.items()}

    def stream_meter(self, parsed: Any, request_bytes: int) -> "RestoringStream":
        meter = self._reader.stream_meter(parsed, request_bytes)
        restorer = StreamRestorer(self._wire, self._restorer, self._documents, says_json=self._says_json)
        return RestoringStream(meter, restorer)

    def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> tuple[bytes, Usage]:
        body, usage = self._reader.read_answer(parsed, body, request_bytes)
        told = restored_answer(body, self._wire, self._restorer, self._documents, says_json=self._says_json)
        return told, usage


def restored_answer(
    body: bytes,
    wire: GuardedWire,
    restorer: Restorer,
    documents: dict[int, Shifts],
    *,
    says_json: bool = False,
) -> bytes:
    """A whole answer. Raises Failure UPSTREAM_INVALID_RESPONSE when it is not JSON."""
    edits: list[Edit] = []
    moved: dict[Path, Shifts] = {}
    if MAYBE.search(body):
        for slot in wire.answer_slots(body):
            if slot.kind in UNTOUCHED or not MAYBE.search(body, slot.start - 1, slot.end + 1):
                continue
            replaced: list[Replaced] = []
            json = slot.kind is Kind.JSON_STRING or (says_json and wire.is_answer_text(slot.path, ()))
            text = restorer.restored(slot.text(body), json=json, replaced=replaced)
            if replaced:
                edits.append(Edit(slot.start, slot.end, escaped(text)))
                moved[slot.path] = Shifts(replaced)
    if (edits or documents) and points(body):
        edits += citation_edits(body, lambda path, whole: beside(path, moved), documents)
    return splice(body, edits)


class RestoringStream:
    """A stream's meter whose caller gets his own values."""

    __slots__ = ("_meter", "_restorer", "final")

    def __init__(self, meter: StreamMeter, restorer: StreamRestorer) -> None:
        self._meter = meter
        self._restorer = restorer
        self.final: bytes | None = None

    @property
    def ended(self) -> str | None:
        return self._meter.ended

    @property
    def started(self) -> bool:
        return self._meter.started

    @property
    def held(self) -> int:
        return self._meter.held + self._restorer.held

    @property
    def error_type(self) -> str | None:
        return getattr(self._meter, "error_type", None)

    def feed(self, chunk: bytes) -> bytes:
        ready = self._meter.feed(chunk)
        if ready:
            ready = self._restorer.feed(ready)
        if self.final is None and self._meter.final is not None:
            self.final = self._restorer.finish(self._meter.final)
        return ready

    def usage(self) -> Usage:
        return self._meter.usage()

    def failed_frames(self, message: str, code: str) -> bytes:
        """See the wire's own stream."""
        return self._restorer.finish(self._meter.failed_frames(message, code))  # type: ignore[attr-defined]
