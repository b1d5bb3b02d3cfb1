"""One plain spelling of a text, and the way back to its code points.

Patterns and the tagger read ASCII only: compatibility forms are unfolded (NFKC), accents dropped, zero-width and
direction marks removed, digits of all scripts made 0-9, letters that imitate Latin ones (inside words that are
otherwise Latin) made Latin. Letters without a Latin form become ``x`` or ``X``, so that words stay words.
"""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from functools import lru_cache

import msgspec

INVISIBLE = "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
"""Characters that show nothing: they hide a value from a pattern, not from a reader."""

_MARKS = "\u0300-\u036f"
_PIECE = re.compile(
    # JSON escapes are decoded too: tool arguments are JSON inside a JSON string.
    r"\\u[0-9a-fA-F]{4}|\\[nrt](?![\w]*[\\:])|"
    rf"[^\x00-\x7f{_MARKS}]+(?![{_MARKS}])|[^\x00-\x7f][{_MARKS}]*|[A-Za-z][{_MARKS}]+"
)
_RUN = re.compile(r"[^\x00-\x7f]+")
"""What is found much quicker, and is the same where no text has escapes or marks."""
_ANY_MARK = re.compile(f"[{_MARKS}]")
_MIXED_WORD = re.compile(r"[A-Za-z0-9\u0370-\u03ff\u0400-\u052f\u0531-\u0587\u13a0-\u13f4\u200b-\u200f]+")
_IMITATING = re.compile(r"[\u0370-\u03ff\u0400-\u052f\u0531-\u0587\u13a0-\u13f4]")
_LATIN = re.compile(r"[A-Za-z0-9]")

_LOOKALIKES = dict(
    zip(
        "АВЕЅІЈКМНОРСТХУЬаеѕіјорсухһԁԛԝгпкмтвнΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορτυχγϲՕՏՍօոսցհᎪᏴᏟᎠᎬᎻᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᏃ",
        "ABESIJKMHOPCTXYbaesijopcyxhdqwrnkmtbhABEZHIKMNOPTYXaiKvoptuxycOSUonughABCDEHJKLMPRSTVWZ",
        strict=True,
    )
)
_LETTERS = {
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "ħ": "h", "Ħ": "H", "ŧ": "t",
}  # fmt: skip
_INVISIBLE = re.compile(INVISIBLE)
_OF_MARKS = frozenset(map(chr, range(0x300, 0x370)))


class Plain(msgspec.Struct, frozen=True, gc=False):
    """A text in its plain spelling.

    The way back is kept by segments, as most characters stand for themselves. A segment begins at ``at`` in
    ``text`` and at ``begin`` in the original; ``width`` is 0 where character stands for character, else
    the number of code points that all of the segment stands for.
    """

    text: str
    """ASCII."""
    at: "array[int] | None" = None
    """None: the whole text is one segment."""
    begin: "array[int] | None" = None
    width: "array[int] | None" = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The code points of the original that a non-empty span of ``text`` came from."""
        if self.at is None or self.begin is None or self.width is None:
            return start, end
        first, last = bisect_right(self.at, start) - 1, bisect_right(self.at, end - 1) - 1
        begin, stop = self.begin[first], self.begin[last]
        return (
            begin if self.width[first] else begin + start - self.at[first],
            stop + (self.width[last] or end - self.at[last]),
        )

    def spelled(self, start: int, end: int) -> tuple[int, int]:
        """The span of ``text`` that came from a span of the original."""
        if self.at is None or self.begin is None or self.width is None:
            return start, end
        number = bisect_right(self.begin, start) - 1
        within = start - self.begin[number]
        if self.width[number]:
            first = self.at[number] if within < self.width[number] else self._end(number)
        else:
            first = min(self.at[number] + within, self._end(number))
        number = bisect_left(self.begin, end) - 1
        last = self._end(number)
        if not self.width[number]:
            last = min(self.at[number] + end - self.begin[number], last)
        return first, max(first, last)

    def _end(self, number: int) -> int:
        assert self.at is not None
        return self.at[number + 1] if number + 1 < len(self.at) else len(self.text)


class _Speller:
    """Puts a plain text together."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.at, self.begin, self.width = array("I", (0,)), array("I", (0,)), array("I", (0,))
        self._size = 0
        self._aligned = True
        """Whether the segment of the end goes on, character for character."""

    def same(self, spelling: str, start: int) -> None:
        """``spelling`` stands, character for character, for what is at ``start``."""
        if not self._aligned:
            self._segment(start, 0)
            self._aligned = True
        self.parts.append(spelling)
        self._size += len(spelling)

    def other(self, spelling: str, start: int, end: int) -> None:
        if len(spelling) == 1 == end - start:
            self.same(spelling, start)
            return
        if spelling:
            self._segment(start, end - start)
            self.parts.append(spelling)
            self._size += len(spelling)
        self._aligned = False

    def _segment(self, start: int, width: int) -> None:
        self.at.append(self._size)
        self.begin.append(start)
        self.width.append(width)

    def done(self) -> Plain:
        text = "".join(self.parts)
        if len(self.at) == 1 and self._aligned:
            return Plain(text)
        return Plain(text, self.at, self.begin, self.width)


def plain(text: str) -> Plain:
    """Time is linear in the text; a text that is plain already costs one look at it."""
    if text.isascii() and "\\" not in text:
        return Plain(text)
    imitations = _imitations(text)
    speller = _Speller()
    done = 0
    pieces = _PIECE if "\\" in text or _ANY_MARK.search(text) is not None else _RUN
    for match in pieces.finditer(text):
        start, end = match.span()
        if start > done:
            speller.same(text[done:start], done)
        source = match.group()
        done = end
        if source[0] == "\\":
            speller.other(_escaped(source), start, end)
        elif end - start == 1 or source[1] in _OF_MARKS:
            # Of a letter with marks, the letter.
            speller.other(imitations.get(start) or _spelling(source[0]), start, end)
        else:
            spellings = list(map(_spelling, source))
            if imitations:
                spellings = [
                    imitations.get(place, spelling) for place, spelling in enumerate(spellings, start)
                ]
            spelling = "".join(spellings)
            if not spelling:
                speller.other("", start, end)
            elif len(spelling) == len(spellings) and all(spellings):
                speller.same(spelling, start)
            else:
                for place, spelling in enumerate(spellings, start):
                    speller.other(spelling, place, place + 1)
    if not done:
        return Plain(text)
    if done < len(text):
        speller.same(text[done:], done)
    return speller.done()


def _imitations(text: str) -> dict[int, str]:
    """Positions of letters that imitate Latin ones, in words that have Latin letters or digits too."""
    found: dict[int, str] = {}
    if _IMITATING.search(text) is None:
        return found
    for word in _MIXED_WORD.finditer(text):
        letters = word.group()
        if _IMITATING.search(letters) is None or _LATIN.search(letters) is None:
            continue
        for place, letter in enumerate(letters, word.start()):
            if letter in _LOOKALIKES:
                found[place] = _LOOKALIKES[letter]
    return found


def _escaped(source: str) -> str:
    if source[1] != "u":
        return " "
    character = chr(int(source.removeprefix("\\u"), 16))
    return character if character.isascii() else _spelling(character)


@lru_cache(maxsize=4096)
def _spelling(source: str) -> str:
    """The ASCII spelling of one character; may be empty."""
    spelled: list[str] = []
    for character in unicodedata.normalize("NFKD", source):
        if character.isascii():
            spelled.append(character)
        elif _INVISIBLE.match(character) or unicodedata.combining(character):
            continue
        elif unicodedata.category(character) == "Me":
            continue  # what frames a character, as the key around a digit
        else:
            spelled.append(_other(character))
    return "".join(spelled)


def _other(character: str) -> str:
    if character in _LETTERS:
        return _LETTERS[character]
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category == "Pd" or character == "\u2212":
        return "-"
    if character in "\u2018\u2019\u201b\u2032\u02bc\u00b4":
        return "'"
    if character in "\u201c\u201d\u201f\u2033\u00ab\u00bb":
        return '"'
    if category[0] == "Z" or category == "Cc":
        return " "
    if category[0] == "L":
        return "X" if category == "Lu" else "x"
    if category[0] == "N":
        return "0"
    return "\x1a"
