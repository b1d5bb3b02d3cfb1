"""Streams with their values, event by event: whole events in, whole events out, on one wire.

Text is held back only while it may be the beginning of a placeholder of this request; when its part ends
before it became one, it goes out in an event of its own. An event is read where it may hold a placeholder,
and goes through untouched where it cannot.
"""

import re
from typing import Any

from triptych.core.failure import Failure
from triptych.engines.phi.citations import citation_edits, points, text_beside
from triptych.engines.phi.nesting import Nesting
from triptych.engines.phi.restore import Replaced, Restorer, Shifts
from triptych.wires.guarded import GuardedWire
from triptych.wires.json_strings import escaped, unescaped
from triptych.wires.slots import Delta, Kind, Path
from triptych.wires.splice import Edit, splice
from triptych.wires.sse import BLOCK_END, Event, frame, parse_block

UNTOUCHED = (Kind.REASONING, Kind.OPAQUE)
MAYBE = re.compile(rb'\[[A-Za-z"\\]|\\u005')
"""A bracket that may begin a placeholder: before a letter, before the end of its string, or escaped."""
_NUMBER = re.compile(rb'(?<!\\)("sequence_number"[ \t]?:[ \t]?)([0-9]+)')
_DIGITS = re.compile(rb"[0-9]+")
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_PADDING = b'"obfuscation":"'
_PADDED = re.compile(rb'[A-Za-z0-9]*+"\}\n\n')


class _Part:
    """One text of a streamed answer."""

    __slots__ = ("block", "held", "nesting", "read", "replaced")

    def __init__(self, nesting: Nesting | None) -> None:
        self.nesting = nesting
        self.held = ""
        """The end of what came, while it may be the beginning of a placeholder."""
        self.block = b""
        """The last event that brought a piece; an empty string is none."""
        self.read = 0
        """Code points that came, without what is held."""
        self.replaced: list[Replaced] = []


class _Usual:
    """How the last event stood that brought one piece of a text and nothing else: the next one mostly
    differs in the piece alone, and in its number and padding."""

    __slots__ = ("_before_number", "_before_text", "_padded", "_tail", "json", "part")

    def __init__(self, block: bytes, start: int, end: int, part: Path, json: bool) -> None:
        """The piece stands at ``block[start:end]``."""
        self.part, self.json = part, json
        number = _NUMBER.search(block, 0, start)
        self._before_number = block[: number.start(2)] if number is not None else b""
        self._before_text = block[number.end() if number is not None else 0 : start]
        tail = block[end:]
        padding = tail.find(_PADDING)
        self._padded = padding >= 0 and _PADDED.fullmatch(tail, padding + len(_PADDING)) is not None
        self._tail = tail[: padding + len(_PADDING)] if self._padded else tail

    def piece(self, block: bytes) -> tuple[int, int] | None:
        """Where the piece stands in an event that differs in nothing else."""
        start = 0
        if self._before_number:
            if not block.startswith(self._before_number):
                return None
            digits = _DIGITS.match(block, len(self._before_number))
            if digits is None:
                return None
            start = digits.end()
        if not block.startswith(self._before_text, start):
            return None
        start += len(self._before_text)
        string = _STRING.match(block, start)
        assert string is not None
        end = string.end()
        if not block.startswith(self._tail, end):
            return None
        after = end + len(self._tail)
        if self._padded:
            return (start, end) if _PADDED.fullmatch(block, after) else None
        return (start, end) if after == len(block) else None


class StreamRestorer:
    """Used for one stream."""

    __slots__ = (
        "_added", "_documents", "_held", "_numbered_last", "_parts", "_replaced", "_restorer", "_says_json",
        "_usual", "_wire",
    )  # fmt: skip

    def __init__(
        self,
        wire: GuardedWire,
        restorer: Restorer,
        documents: dict[int, Shifts],
        *,
        says_json: bool = False,
    ) -> None:
        self._wire = wire
        self._says_json = says_json
        self._restorer = restorer
        self._documents = documents
        self._parts: dict[Path, _Part] = {}
        self._held: set[Path] = set()
        self._replaced = False
        self._usual: _Usual | None = None
        self._numbered_last = b""
        """The last event with a number that was read: while anything is held, all are."""
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
        return MAYBE.search(events) is not None or (
            (self._replaced or bool(self._documents)) and points(events)
        )

    def _block(self, block: bytes) -> bytes:
        if not self._held and not self._concerned(block):
            return self._numbered(block)
        usual = self._usual
        if usual is not None and (place := usual.piece(block)) is not None:
            self._numbered_last = block
            start, end = place
            text = unescaped(block[start:end])
            written = self._written(usual.part, text, block, json=usual.json, over=False)
            if written != text:
                block = block[:start] + escaped(written) + block[end:]
            return self._numbered(block)
        event = parse_block(block)
        if event is None:
            return block
        if b'"sequence_number"' in block:
            self._numbered_last = block
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
        edits, moved = self._edits(block, deltas, ended)
        if len(deltas) == 1 and pieces and not ended and block.count(event.data) == 1:
            (delta,) = deltas
            if delta.kind not in UNTOUCHED:
                base = block.index(event.data)
                json = self._is_json(delta)
                self._usual = _Usual(block, base + delta.start, base + delta.end, delta.part, json)
        if (self._replaced or self._documents) and points(event.data):

            def shifts(path: Path, whole: Any) -> Shifts | None:
                return beside(path, moved) or self._streamed(path, whole)

            edits += citation_edits(event.data, shifts, self._documents)
        return told + self._numbered(_with_data(block, event, splice(event.data, edits)) if edits else block)

    def _edits(
        self, block: bytes, deltas: list[Delta], ended: set[Path]
    ) -> tuple[list[Edit], dict[Path, Shifts]]:
        edits: list[Edit] = []
        moved: dict[Path, Shifts] = {}
        restorer = self._restorer
        for delta in deltas:
            if delta.kind in UNTOUCHED:
                continue
            json = self._is_json(delta)
            if delta.is_fragment:
                over = delta.part in ended
                written = self._written(delta.part, delta.text, block, json=json, over=over)
            else:
                replaced: list[Replaced] = []
                written = restorer.restored(delta.text, json=json, replaced=replaced)
                if replaced:
                    moved[delta.path] = Shifts(replaced)
                    self._replaced = True
            if written != delta.text:
                edits.append(Edit(delta.start, delta.end, escaped(written)))
        return edits, moved

    def _is_json(self, delta: Delta) -> bool:
        return delta.kind is Kind.JSON_STRING or (
            self._says_json and self._wire.is_answer_text(delta.path, delta.part)
        )

    def _written(self, path: Path, piece: str, block: bytes, *, json: bool, over: bool) -> str:
        """What is told of a piece, and of what was held before it; ``over``: it is its part's last."""
        part = self._parts.get(path)
        if part is None:
            nesting = Nesting(sure=json) if self._restorer.nests else None
            part = self._parts[path] = _Part(nesting)
        text = part.held + piece if part.held else piece
        kept = 0 if over else self._restorer.held(text)
        if piece:
            part.block = block
        if kept:
            part.held = text[len(text) - kept :]
            text = text[: len(text) - kept]
            self._held.add(path)
        elif part.held:
            part.held = ""
            self._held.discard(path)
        if "[" not in text:
            part.read += len(text)
            if part.nesting is not None:
                part.nesting.read(text)
            return text
        written = self._restorer.restored(
            text, json=json, at=part.read, replaced=part.replaced, nesting=part.nesting
        )
        part.read += len(text)
        self._replaced = self._replaced or bool(part.replaced)
        return written

    def _flushed(self, parts: list[Path], before: Event | None) -> bytes:
        """Events with what is held of the parts: it turned out to be no placeholder."""
        told = b""
        for path in parts:
            part = self._parts[path]
            self._held.discard(path)
            held, part.held = part.held, ""
            event = parse_block(part.block)
            if event is None:
                continue
            part.read += len(held)
            data = self._wire.fragment(event, path, held)
            if self._wire.numbered:
                number = _NUMBER.search(data if before is None else before.data)
                following = 0
                if number is None and (number := _NUMBER.search(self._numbered_last)) is not None:
                    following = 1  # before an error of ours, which has none: behind the last
                if number is not None:
                    data = _renumbered(data, int(number[2]) + following + self._added)
                self._added += 1
            told += frame(event.type, data)
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
        elif len(path) > 2 and path[0] == "choices" and path[2] == "delta" and isinstance(path[1], int):
            part = (whole["choices"][path[1]].get("index", path[1]), "content")
        if not all(isinstance(step, str | int) for step in part):
            return None  # no index: whatever a provider put there
        found = self._parts.get(part)
        return Shifts(found.replaced) if found is not None and found.replaced else None


def beside(path: Path, moved: dict[Path, Shifts]) -> Shifts | None:
    """Of the text that an annotation in an array belongs to."""
    return next((moved[place] for place in text_beside(path) if place in moved), None)


def _with_data(block: bytes, event: Event, data: bytes) -> bytes:
    if block.count(event.data) == 1:
        return block.replace(event.data, data)
    # Data of several lines: put together again.
    return frame(event.type, data)


def _renumbered(text: bytes, number: int) -> bytes:
    return _NUMBER.sub(rb"\g<1>%d" % number, text, count=1)
