"""Answers with their values: whole ones, and streams event by event.

Signed reasoning is left as it came, because its vendor wants it back unchanged; all that is not a
placeholder of the request keeps its bytes. A stream is read where it may hold a placeholder and goes
through untouched where it cannot.
"""

import re
from typing import Any, Protocol

from triptych.core.failure import Failure
from triptych.core.usage import Usage
from triptych.engines.phi.citations import citation_edits, points, text_beside
from triptych.engines.phi.restore import Redacted, Replaced, Restorer, Shifts
from triptych.wires.guarded import GUARDED, GuardedWire
from triptych.wires.json_strings import escaped
from triptych.wires.slots import Delta, Kind, Path
from triptych.wires.splice import Edit, splice
from triptych.wires.sse import BLOCK_END, Event, frame, parse_block

_UNTOUCHED = (Kind.REASONING, Kind.OPAQUE)
# A bracket that may begin a placeholder: before a letter, before the end of its string, or escaped.
_MAYBE = re.compile(rb'\[[A-Za-z"\\]|\\u005')
_NUMBER = re.compile(rb'(?<!\\)("sequence_number"[ \t]?:[ \t]?)([0-9]+)')


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

    __slots__ = ("_documents", "_reader", "_restorer", "_wire")

    def __init__(self, reader: AnswerReader, redacted: Redacted) -> None:
        self._reader = reader
        self._wire = GUARDED[redacted.wire]
        self._restorer = Restorer(redacted.values)
        self._documents = {number: Shifts(spans) for number, spans in redacted.documents.items()}

    def stream_meter(self, parsed: Any, request_bytes: int) -> "RestoringStream":
        meter = self._reader.stream_meter(parsed, request_bytes)
        return RestoringStream(meter, StreamRestorer(self._wire, self._restorer, self._documents))

    def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> tuple[bytes, Usage]:
        body, usage = self._reader.read_answer(parsed, body, request_bytes)
        return restored_answer(body, self._wire, self._restorer, self._documents), usage


def restored_answer(
    body: bytes, wire: GuardedWire, restorer: Restorer, documents: dict[int, Shifts]
) -> bytes:
    """A whole answer. Raises Failure UPSTREAM_INVALID_RESPONSE when it is not JSON."""
    edits: list[Edit] = []
    moved: dict[Path, Shifts] = {}
    if _MAYBE.search(body):
        for slot in wire.answer_slots(body):
            if slot.kind in _UNTOUCHED or not _MAYBE.search(body, slot.start - 1, slot.end + 1):
                continue
            replaced: list[Replaced] = []
            text = restorer.restored(slot.text(body), json=slot.kind is Kind.JSON_STRING, replaced=replaced)
            if replaced:
                edits.append(Edit(slot.start, slot.end, escaped(text)))
                moved[slot.path] = Shifts(replaced)
    if (edits or documents) and points(body):
        edits += citation_edits(body, lambda path, whole: _beside(path, moved), documents)
    return splice(body, edits)


def _beside(path: Path, moved: dict[Path, Shifts]) -> Shifts | None:
    return next((moved[place] for place in text_beside(path) if place in moved), None)


class _Part:
    """One text of a streamed answer."""

    __slots__ = ("event", "held", "read", "replaced")

    def __init__(self) -> None:
        self.held = ""
        """The end of what came, while it may be the beginning of a placeholder."""
        self.event: Event | None = None
        """The last one that brought a piece."""
        self.read = 0
        """Code points that came, without what is held."""
        self.replaced: list[Replaced] = []


class StreamRestorer:
    """Whole events in, whole events out, on one wire. Text is held back only while it may be the
    beginning of a placeholder of this request; when its part ends before it became one, it goes out in
    an event of its own."""

    __slots__ = ("_added", "_documents", "_held", "_parts", "_replaced", "_restorer", "_wire")

    def __init__(self, wire: GuardedWire, restorer: Restorer, documents: dict[int, Shifts]) -> None:
        self._wire = wire
        self._restorer = restorer
        self._documents = documents
        self._parts: dict[Path, _Part] = {}
        self._held: set[Path] = set()
        self._replaced = False
        self._added = 0
        """Events of our own so far: those behind them have higher numbers."""

    @property
    def held(self) -> int:
        """Code points that are held back."""
        return sum(len(self._parts[part].held) for part in self._held)

    def feed(self, events: bytes) -> bytes:
        if not self._held and not self._added and not self._concerned(events):
            return events
        told: list[bytes] = []
        position = 0
        for end in BLOCK_END.finditer(events):
            told.append(self._block(events[position : end.end()]))
            position = end.end()
        told.append(events[position:])
        return b"".join(told)

    def finish(self, events: bytes) -> bytes:
        """The terminal event with what stands behind it; nothing is held after it."""
        told = self.feed(events)
        return self._flushed(sorted(self._held), None) + told if self._held else told

    def _concerned(self, events: bytes) -> bool:
        return _MAYBE.search(events) is not None or (
            (self._replaced or bool(self._documents)) and points(events)
        )

    def _block(self, block: bytes) -> bytes:
        if not self._held and not self._concerned(block):
            return self._numbered(block)
        event = parse_block(block)
        if event is None:
            return block
        try:
            deltas = self._wire.text_deltas(event)
        except Failure:
            return self._numbered(block)  # no JSON: nothing that a client could read a value in
        pieces = {delta.part for delta in deltas if delta.is_fragment}
        ended = set(self._wire.ended(event, self._held | pieces))
        told = b""
        over = self._held & ended - pieces
        if over:
            told = self._flushed(sorted(over), event)
        edits, moved = self._edits(event, deltas, ended)
        if (self._replaced or self._documents) and points(event.data):

            def shifts(path: Path, whole: Any) -> Shifts | None:
                return _beside(path, moved) or self._streamed(path, whole)

            edits += citation_edits(event.data, shifts, self._documents)
        return told + self._numbered(_with_data(block, event, splice(event.data, edits)) if edits else block)

    def _edits(
        self, event: Event, deltas: list[Delta], ended: set[Path]
    ) -> tuple[list[Edit], dict[Path, Shifts]]:
        edits: list[Edit] = []
        moved: dict[Path, Shifts] = {}
        restorer = self._restorer
        for delta in deltas:
            if delta.kind in _UNTOUCHED:
                continue
            json = delta.kind is Kind.JSON_STRING
            if delta.is_fragment:
                part = self._parts.get(delta.part)
                if part is None:
                    part = self._parts[delta.part] = _Part()
                part.event = event
                text = part.held + delta.text
                kept = 0 if delta.part in ended else restorer.held(text)
                ready = text[: len(text) - kept] if kept else text
                count = len(part.replaced)
                written = restorer.restored(ready, json=json, at=part.read, replaced=part.replaced)
                part.read += len(ready)
                self._replaced = self._replaced or len(part.replaced) > count
                part.held = text[len(text) - kept :] if kept else ""
                (self._held.add if kept else self._held.discard)(delta.part)
            else:
                replaced: list[Replaced] = []
                written = restorer.restored(delta.text, json=json, replaced=replaced)
                if replaced:
                    moved[delta.path] = Shifts(replaced)
                    self._replaced = True
            if written != delta.text:
                edits.append(Edit(delta.start, delta.end, escaped(written)))
        return edits, moved

    def _flushed(self, parts: list[Path], before: Event | None) -> bytes:
        """Events with what is held of the parts: it turned out to be no placeholder."""
        told = b""
        for path in parts:
            part = self._parts[path]
            self._held.discard(path)
            held, part.held = part.held, ""
            if part.event is None:
                continue
            part.read += len(held)
            data = self._wire.fragment(part.event, path, held)
            if self._wire.numbered:
                number = _NUMBER.search(data if before is None else before.data)
                if number is not None:
                    data = _renumbered(data, int(number[2]) + self._added)
                self._added += 1
            told += frame(part.event.type, data) if part.event.type else b"data: %b\n\n" % data
        return told

    def _numbered(self, block: bytes) -> bytes:
        if not self._added:
            return block
        number = _NUMBER.search(block)
        return block if number is None else _renumbered(block, int(number[2]) + self._added)

    def _streamed(self, path: Path, whole: Any) -> Shifts | None:
        """Of the text that was streamed so far, for an annotation that comes by itself."""
        part: Path = ()
        if path[:1] == ("annotation",):
            part = ("response.output_text", whole.get("output_index"), whole.get("content_index"))
        elif len(path) > 2 and path[2] == "delta" and isinstance(path[1], int):
            part = (whole["choices"][path[1]].get("index", path[1]), "content")
        found = self._parts.get(part)
        return Shifts(found.replaced) if found is not None and found.replaced else None


def _with_data(block: bytes, event: Event, data: bytes) -> bytes:
    if block.count(event.data) == 1:
        return block.replace(event.data, data)
    # Data of several lines: put together again.
    return frame(event.type, data) if event.type else b"data: %b\n\n" % data


def _renumbered(text: bytes, number: int) -> bytes:
    return _NUMBER.sub(rb"\g<1>%d" % number, text, count=1)


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
