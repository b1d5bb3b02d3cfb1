"""From a place in a decoded text back to its bytes: what an edit that changes a part of a JSON string
needs, so that the rest of the string keeps the spelling of whoever wrote it."""

import re
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

    @property
    def text(self) -> str:
        return unescaped(self.source[self.start : self.end])

    def span(self) -> tuple[int, int]:
        """The whole text, as bytes of the outermost source."""
        if self.parent is None:
            return self.start, self.end
        start, end = self.parent.places(_code_points(self.source, (self.start, self.end)))
        return start, end

    def places(self, positions: Sequence[int]) -> list[int]:
        """Offsets of code points of the text, ascending, as bytes of the outermost source."""
        inside = self.source[self.start : self.end]
        found = [self.start + place for place in _places(inside, positions)]
        if self.parent is None:
            return found
        return self.parent.places(_code_points(self.source, found))


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


def _code_points(source: bytes, offsets: Sequence[int]) -> list[int]:
    """Byte offsets, ascending, of a text in UTF-8 as numbers of its code points."""
    if source.isascii():
        return list(offsets)
    found: list[int] = []
    points = before = 0
    for offset in offsets:
        points += len(source[before:offset].decode("utf-8", "replace"))
        before = offset
        found.append(points)
    return found
