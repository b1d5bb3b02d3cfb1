"""One plain spelling of a text, and the way back to its code points.

Patterns and the tagger read ASCII only: compatibility forms are unfolded (NFKC), accents dropped, zero-width and
direction marks removed, digits of all scripts made 0-9, letters that imitate Latin ones (inside words that are
otherwise Latin) made Latin. Letters without a Latin form become ``x`` or ``X``, so that words stay words. Escapes
of JSON, HTML and Markdown are undone, what colours a terminal's text is taken out.
"""

import re
import sys
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from functools import lru_cache
from html.entities import html5

import msgspec

INVISIBLE = "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
"""Characters that show nothing: they hide a value from a pattern, not from a reader."""

_MARKS = "\u0300-\u036f"
_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});"
# What a terminal is told, and control characters that are no white space.
_COLOUR = r"(?:\x1b|\\u001[bB]|\\x1[bB]|\\033)\[[0-9;?]{0,16}[A-Za-z]"
_CONTROL = r"\x00-\x08\x0e-\x1b\x7f"
_SPELLED_OUT = re.compile(rf"[\\{_CONTROL}]|{_ENTITY}")
"""What even an ASCII text may have that does not stand for itself."""
_CONTROLS = re.compile(f"[{_CONTROL}]")
_TAGS = range(0xE0020, 0xE007F)
"""Characters that show nothing and mean ASCII ones, to a model at least."""
_DOTS = frozenset("\u00b7\u2022\u2027\u2219\u22c5\u30fb\uff65")
"""Between two digits they are one: 415\u00b7555\u00b70142."""
_PIECE = re.compile(
    # JSON escapes are decoded too: tool arguments are JSON inside a JSON string.
    rf"{_COLOUR}|"
    r"\\u[0-9a-fA-F]{4}|\\[nrt](?![\w]*[\\:])|\\x[0-7][0-9a-fA-F]|(?:\\x[89a-fA-F][0-9a-fA-F]){1,4}|"
    # Of a mark inside a number, an address or a name that Markdown or PHP escaped.
    r"(?<=[A-Za-z0-9])\\(?=[-_@/][A-Za-z0-9])|(?<=[0-9])\\(?=[.)][ ]?[0-9])|\\(?=\([0-9])|"
    rf"{_ENTITY}|[{_CONTROL}]|"
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


class Speller:
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
    spelled_out = _SPELLED_OUT.search(text) is not None
    if not spelled_out and text.isascii():
        return Plain(text)
    imitations = _imitations(text)
    speller = Speller()
    done = 0
    pieces = _PIECE if spelled_out or _ANY_MARK.search(text) is not None else _RUN
    for match in pieces.finditer(text):
        start, end = match.span()
        if start > done:
            speller.same(text[done:start], done)
        source = match.group()
        done = end
        if source[0].isascii() and source[-1] not in _OF_MARKS:
            speller.other(_escaped(source), start, end)
        elif source in _DOTS and text[start - 1 : start].isdigit() and text[end : end + 1].isdigit():
            speller.other(".", start, end)
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
    """What is meant by ASCII characters that do not stand for themselves; may be empty."""
    if source[0] == "&":
        return _of_entity(source)
    if source[0] != "\\" or len(source) == 1 or "[" in source:
        return ""
    if source[1] == "x":
        encoded = bytes.fromhex(source.replace("\\x", ""))
        try:
            return meant(encoded.decode())
        except UnicodeDecodeError:
            return meant(encoded.decode("latin-1"))
    # \n, \r or \t: a blank.
    return meant(chr(int(source.removeprefix("\\u"), 16))) if source[1] == "u" else " "


@lru_cache(maxsize=1024)
def _of_entity(source: str) -> str:
    if source[1] != "#":
        return meant(html5.get(source[1:], source))
    number = int(source[3:-1], 16) if source[2] in "xX" else int(source[2:-1])
    return meant(chr(number)) if number <= sys.maxunicode else ""


def meant(characters: str) -> str:
    """The plain spelling of characters that escapes stand for; may be empty."""
    spelled = (one if one.isascii() else _spelling(one) for one in characters)
    return _CONTROLS.sub("", "".join(spelled))


@lru_cache(maxsize=4096)
def _spelling(source: str) -> str:
    """The ASCII spelling of one character; may be empty."""
    spelled: list[str] = []
    for character in unicodedata.normalize("NFKD", source):
        if character.isascii():
            spelled.append(character)
        elif ord(character) in _TAGS:
            spelled.append(chr(ord(character) - 0xE0000))
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
