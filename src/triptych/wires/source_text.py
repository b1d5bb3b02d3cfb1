"""From a place in a decoded text back to its bytes: what an edit that changes a part of a JSON string
needs, so that the rest of the string keeps the spelling of whoever wrote it."""

import re
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from triptych.wires.json_strings import unescaped

# One escape, which is one code point (a surrogate pair is one), or a run of what stands for itself.
_STEP = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]++", re.DOTALL
)
_BACKSLASH = ord("\\")


class SourceText(msgspec.Struct, frozen=True):
    """The text of a JSON string that stands at ``source[start:end]``, between its quotes.

    ``parent``: where the source is itself the text of a JSON string, in UTF-8, that string.
    """

    source: bytes
    start: int
    end: int
    parent: "SourceText | None" = None
    read: "dict[tuple[int, int], _Steps]" = msgspec.field(default_factory=dict)
    """How it is spelled, once that was asked for: thousands of texts may stand in it."""

    @property
    def text(self) -> str:
        return unescaped(self.source[self.start : self.end])

    def span(self) -> tuple[int, int]:
        """The whole text, as bytes of the outermost source."""
        if self.parent is None:
            return self.start, self.end
        start, end = self.parent._outermost((self.start, self.end))
        return start, end

    def places(self, positions: Sequence[int]) -> list[int]:
        """Offsets of code points of the text, ascending, as bytes of the outermost source."""
        inside = self.source[self.start : self.end]
        found = [self.start + place for place in _places(inside, positions)]
        return found if self.parent is None else self.parent._outermost(found)

    def _outermost(self, offsets: Sequence[int]) -> list[int]:
        """The same of offsets into the text's UTF-8."""
        steps = self.read.get((self.start, self.end))
        if steps is None:
            steps = self.read[self.start, self.end] = _Steps(self.source[self.start : self.end])
        found = [self.start + steps.place(offset) for offset in offsets]
        return found if self.parent is None else self.parent._outermost(found)


class _Steps:
    """Where in the spelling of a text its UTF-8 stands: a run byte by byte, an escape as a whole."""

    __slots__ = ("_begins", "_runs", "_starts")

    def __init__(self, inside: bytes) -> None:
        self._begins: list[int] = []
        """In the text's UTF-8."""
        self._starts: list[int] = []
        """In its spelling."""
        self._runs: list[bool] = []
        begin = 0
        for step in _STEP.finditer(inside):
            run = inside[step.start()] != _BACKSLASH
            self._add(begin, step.start(), run)
            begin += step.end() - step.start() if run else _utf8_length(step[0])
        self._add(begin, len(inside), True)

    def _add(self, begin: int, start: int, run: bool) -> None:
        self._begins.append(begin)
        self._starts.append(start)
        self._runs.append(run)

    def place(self, offset: int) -> int:
        at = bisect_right(self._begins, offset) - 1
        return self._starts[at] + (offset - self._begins[at] if self._runs[at] else 0)


def _utf8_length(escape: bytes) -> int:
    return len(unescaped(escape).encode("utf-8", "replace"))


def _places(inside: bytes, positions: Sequence[int]) -> list[int]:
    if inside.isascii() and _BACKSLASH not in inside:
        return list(positions)
    found: list[int] = []
    wanted = iter(positions)
    position = next(wanted, None)
    at = 0
    for step in _STEP.finditer(inside):
        if position is None:
            return found
        run = step[0]
        if run[0] == _BACKSLASH:
            while position == at:
                found.append(step.start())
                position = next(wanted, None)
            at += 1
            continue
        text = run.decode("utf-8", "replace")
        while position is not None and position < at + len(text):
            found.append(step.start() + len(text[: position - at].encode("utf-8", "replace")))
            position = next(wanted, None)
        at += len(text)
    while position is not None:
        found.append(len(inside))
        position = next(wanted, None)
    return found
