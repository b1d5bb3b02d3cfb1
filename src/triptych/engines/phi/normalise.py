"""One plain spelling of a text, and the way back to its code points.

Patterns and the tagger read ASCII only: compatibility forms are unfolded (NFKC), accents dropped, zero-width and
direction marks removed, digits of all scripts made 0-9, letters that imitate Latin ones (inside words that are
otherwise Latin) made Latin. Letters without a Latin form become ``x`` or ``X``, so that words stay words.
"""

import re
import unicodedata
from array import array
from functools import lru_cache

import msgspec

INVISIBLE = "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
"""Characters that show nothing: they hide a value from a pattern, not from a reader."""

_PIECE = re.compile(
    # JSON escapes are decoded too: tool arguments are JSON inside a JSON string.
    r"\\u[0-9a-fA-F]{4}|\\[nrt](?![\w]*[\\:])|[^\x00-\x7f][\u0300-\u036f]*|[A-Za-z][\u0300-\u036f]+"
)
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


class Plain(msgspec.Struct, frozen=True, gc=False):
    """A text in its plain spelling."""

    text: str
    """ASCII."""
    starts: "array[int] | None" = None
    """For each character of ``text``, where in the original its source begins; None: they are the same."""
    ends: "array[int] | None" = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The code points of the original that a non-empty span of ``text`` came from."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def plain(text: str) -> Plain:
    """Time is linear in the text; a text that is plain already costs one look at it."""
    if text.isascii() and "\\" not in text:
        return Plain(text)
    imitations = _imitations(text)
    pieces: list[str] = []
    starts = array("I")
    ends = array("I")
    done = 0
    for match in _PIECE.finditer(text):
        start, end = match.span()
        if start > done:
            pieces.append(text[done:start])
            starts.extend(range(start - len(pieces[-1]), start))
            ends.extend(range(done + 1, start + 1))
        source = match.group()
        spelling = imitations.get(start) if imitations else None
        if spelling is None:
            spelling = _escaped(source) if source[0] == "\\" else _spelling(source)
        if spelling:
            pieces.append(spelling)
            starts.extend([start] * len(spelling))
            ends.extend([end] * len(spelling))
        done = end
    if not done:
        return Plain(text)
    pieces.append(text[done:])
    starts.extend(range(done, len(text)))
    ends.extend(range(done + 1, len(text) + 1))
    return Plain("".join(pieces), starts, ends)


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
    """The ASCII spelling of one character, or of a letter with its combining marks; may be empty."""
    spelled: list[str] = []
    for character in unicodedata.normalize("NFKD", source):
        if character.isascii():
            spelled.append(character)
        elif _INVISIBLE.match(character) or unicodedata.combining(character):
            continue
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
