"""Put the values back where an answer names their placeholders. Sans-IO; nothing else is changed.

``[PERSON_1]`` is restored in any case of letters. Brackets that a model dropped, a number it made up
(``[PERSON_9]``), a placeholder spelled in any other way stay as they are: a guess could put one
person's data where another's belongs.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

import msgspec

from triptych.engines.phi.nesting import Nesting
from triptych.wires.json_strings import escaped

Replaced = tuple[int, int, int]
"""Position in the text with placeholders (code points), length there, length of the value."""


class Restorer:
    """The values of one request by placeholder."""

    __slots__ = ("_named", "_sorted", "longest", "nests", "values")

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = {placeholder.upper(): value for placeholder, value in values.items()}
        self.nests = any(escaped(value).decode() != value for value in self.values.values())
        """Whether a value is spelled differently in a JSON string."""
        self.longest = max(map(len, self.values), default=0)
        shortest = min(map(len, self.values), default=2)
        self._named = re.compile(rf"\[[A-Za-z0-9_]{{{max(shortest - 2, 0)},{max(self.longest - 2, 0)}}}\]")
        self._sorted = sorted(self.values)

    def restored(
        self,
        text: str,
        *,
        json: bool = False,
        at: int = 0,
        replaced: list[Replaced] | None = None,
        nesting: Nesting | None = None,
    ) -> str:
        """The text with its values; ``json``: it is (a part of) a JSON text, so that a value is
        written as a part of a JSON string. ``replaced`` hears of each, ``at`` code points further.
        ``nesting``: of the texts whose parts come one by one; it reads this one."""
        values = self.values
        read = 0
        if self.nests and nesting is None:
            nesting = Nesting(sure=json)

        def value_of(match: re.Match[str]) -> str:
            value = values.get(match[0].upper())
            if value is None:
                return match[0]
            written = value
            if nesting is not None:
                nonlocal read
                nesting.read(text[read : match.start()])
                read = match.start()
                for _ in range(nesting.depth or json):
                    written = escaped(written).decode()
            if replaced is not None:
                replaced.append((at + match.start(), len(match[0]), len(written)))
            return written

        told = self._named.sub(value_of, text)
        if nesting is not None:
            nesting.read(text[read:])
        return told

    def held(self, text: str) -> int:
        """How many code points at the end may be the beginning of a placeholder: fewer than the
        longest has."""
        at = text.rfind("[", max(0, len(text) - self.longest + 1))
        if at < 0:
            return 0
        start = text[at:]
        if not start.isascii():
            return 0
        start = start.upper()
        place = bisect_left(self._sorted, start)
        begins = place < len(self._sorted) and self._sorted[place].startswith(start)
        return len(start) if begins and self._sorted[place] != start else 0


class Shifts:
    """From a position in a text to the same place once some of it was replaced."""

    __slots__ = ("_moved", "_replaced", "_starts")

    def __init__(self, replaced: Sequence[Replaced]) -> None:
        """Ascending, without overlaps."""
        self._replaced = replaced
        self._starts = [start for start, _, _ in replaced]
        self._moved = [0]
        for _, before, after in replaced:
            self._moved.append(self._moved[-1] + after - before)

    def start(self, position: int) -> int:
        """Of the first code point of a span; inside what was replaced it is its beginning."""
        at = bisect_right(self._starts, position) - 1
        if at < 0:
            return position
        start, before, _ = self._replaced[at]
        if position < start + before:
            return start + self._moved[at]
        return position + self._moved[at + 1]

    def end(self, position: int) -> int:
        """Behind the last code point of a span; inside what was replaced it is its end."""
        at = bisect_right(self._starts, position) - 1
        if at < 0:
            return position
        start, before, after = self._replaced[at]
        if position == start:
            return start + self._moved[at]
        if position < start + before:
            return start + self._moved[at] + after
        return position + self._moved[at + 1]


class Redacted(msgspec.Struct, frozen=True):
    """What restoring an answer takes: of one request, for one answer."""

    wire: str
    """The caller's."""
    values: dict[str, str]
    """By placeholder."""
    documents: dict[int, list[Replaced]] = {}
    """Of documents that are cited by code points: from the text as it was sent to the caller's own, by
    the document's number."""
    says_json: bool = False
    """The text of the answer was asked for as JSON: a value stands inside a JSON string there."""
