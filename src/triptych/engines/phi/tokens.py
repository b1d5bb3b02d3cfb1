"""Tokens of a plain text, and what the tagger is told of each: word, affixes, shape, lists it stands on."""

from __future__ import annotations

import re
import string
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, repeat
from threading import Lock
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLANKS = " \t\r\v\f\x1c\x1d\x1e\x1f"
_MARKS = [chr(code) for code in range(128) if not chr(code).isspace() and not chr(code).isalnum()]
# The blanks before a token come with it: lengths alone then tell where tokens stand. A word spelled with spaces
# between its letters is one token; so are digits, a run of one mark, the ends of lines.
# The usual kinds of token stand first, as alternatives are tried in their order.
_TOKEN = re.compile(
    rf"[{_BLANKS}]*(?:[A-Za-z]{{2,}}|[0-9][A-Za-z0-9]+|(?:\b[A-Za-z0-9] ){{3,}}[A-Za-z0-9]\b|[A-Za-z0-9]|\n+|"
    + "|".join(re.escape(mark) * 2 + "*" for mark in sorted(_MARKS, key=(".,-:'" + string.punctuation).find))
    + r"|\Z)"
)
PAD, UNKNOWN = 0, 1
AFFIX_BUCKETS = 4096
BITS = (
    "first_name", "rare_first_name", "surname", "rare_surname", "place", "country_or_state", "medical", "usual_word",
    "calendar", "title", "street", "facility",
)  # fmt: skip
_CACHED_TOKENS = 32_768
_FEW_WORDS = 32
"""So many are quicker looked up one by one."""
_PREFIX, _SUFFIX = crc32(b"p"), crc32(b"s")


class Tokens(msgspec.Struct, gc=False):
    words: list[str]
    ends: list[int]
    """Where each of the words ends."""


def tokens(text: str) -> Tokens:
    pieces = _TOKEN.findall(text)
    while pieces and not pieces[-1].strip(_BLANKS):
        pieces.pop()  # of the end of the text
    return Tokens(list(map(str.lstrip, pieces, repeat(_BLANKS))), list(accumulate(map(len, pieces))))


class Lexicon:
    """Known words by the CRC-32 of their lower-case form: number of the word vector (0: none) and lists as bits."""

    def __init__(
        self, keys: NDArray[np.uint32], numbers: NDArray[np.uint16], bits: NDArray[np.uint16]
    ) -> None:
        # Quicker than numpy where one word is asked for.
        self._keys, self._numbers, self._bits = array("I", keys.tobytes()), numbers.data, bits.data

    def find_all(self, words: Sequence[bytes]) -> tuple[list[int], list[int]]:
        """Numbers and bits of lower-case words."""
        keys = list(map(crc32, words))
        if len(keys) <= _FEW_WORDS:
            found = list(map(self._find, keys))
            return [number for number, _ in found], [bits for _, bits in found]
        every = np.frombuffer(self._keys, np.uint32)
        asked = np.array(keys, np.uint32)
        places = np.minimum(every.searchsorted(asked), len(every) - 1)
        known = every[places] == asked
        numbers, bits = np.asarray(self._numbers)[places] * known, np.asarray(self._bits)[places] * known
        return numbers.tolist(), bits.tolist()

    def find(self, word: str) -> tuple[int, int]:
        """Number and bits of a lower-case word; (0, 0) where it is unknown."""
        return self._find(crc32(word.encode()))

    def _find(self, key: int) -> tuple[int, int]:
        place = bisect_left(self._keys, key)
        if place == len(self._keys) or self._keys[place] != key:
            return 0, 0
        return self._numbers[place], self._bits[place]

    @staticmethod
    def mask(*names: str) -> int:
        return sum(1 << BITS.index(name) for name in names)


class Lists(dict[str, int]):
    """The lists that lower-case words stand on, as bits; each word is looked up once. Made anew for each call."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._find = lexicon.find

    def __missing__(self, word: str) -> int:
        bits = self[word] = self._find(word)[1]
        return bits


_SHAPES = {
    shape: number
    for number, shape in enumerate(
        "pad X Xx XX xx Xxx xX d dd ddd dddd d5 d6 d7 d9 dX dx mixed spaced newline . , : ; - ' \" ( ) / # @ & + % = * _ ? ! < > | [ ] { } $ \\ ~ ^ ` \x1a other".split(" ")
    )
}  # fmt: skip
SHAPES = len(_SHAPES)


def _shape(word: str) -> int:
    if word.isalpha():
        if len(word) == 1:
            return _SHAPES["X" if word.isupper() else "xx"]
        if word.islower():
            return _SHAPES["xx"]
        if word.isupper():
            return _SHAPES["XX"]
        if word[0].isupper() and word[1:].islower():
            return _SHAPES["Xxx" if len(word) > 3 else "Xx"]
        return _SHAPES["xX"]
    if word.isdigit():
        length = len(word)
        name = (
            "d" * length
            if length < 5
            else "d5"
            if length == 5
            else "d6"
            if length == 6
            else "d7"
            if length < 9
            else "d9"
        )
        return _SHAPES[name]
    if word[0] == "\n":
        return _SHAPES["newline"]
    if " " in word:
        return _SHAPES["spaced"]
    if word.isalnum():
        if word[0].isdigit():
            return _SHAPES["dX" if word[-1].isupper() else "dx"]
        return _SHAPES["mixed"]
    return _SHAPES.get(word[0], _SHAPES["other"])


COLUMNS = 5
"""Of a token: word, prefix, suffix, shape, and the combination of lists it stands on."""
TABLES = (1 << len(BITS), SHAPES, AFFIX_BUCKETS, AFFIX_BUCKETS)
"""Rows of the tagger's tables of lists, shapes, prefixes and suffixes, which stand in front of that of the words."""
_OF_SHAPES, _OF_PREFIXES, _OF_SUFFIXES, _OF_WORDS = accumulate(TABLES)
OFFSETS = (_OF_WORDS, _OF_PREFIXES, _OF_SUFFIXES, _OF_SHAPES, 0)
"""Where the table of each column begins."""
_OFFSETS = np.array(OFFSETS, dtype=np.int32)


class Features:
    """Numbers for the tagger, looked up per token.

    Rows of words on the lists are kept, as they are public; nothing of other tokens outlives a call.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._lock = Lock()
        self._known = _Rows()

    def rows(self, words: Sequence[str]) -> NDArray[np.int32]:
        """(tokens, columns): rows of the tagger's tables."""
        known = self._known
        places = list(map(known.numbers.get, words, repeat(-1)))
        rows = known.rows[places]
        if -1 in places:
            late = [number for number, place in enumerate(places) if place < 0]
            missing = dict.fromkeys([words[number] for number in late])
            described = self._described(list(missing), known)
            numbers = {word: number for number, word in enumerate(missing)}
            rows[late] = described[[numbers[words[number]] for number in late]]
        return rows

    def _described(self, words: Sequence[str], known: _Rows) -> NDArray[np.int32]:
        """(words, columns), all words at once: a text of nothing but numbers has no other kind."""
        spelled = [word.replace(" ", "").lower().encode() for word in words]
        numbers, lists = self._lexicon.find_all(spelled)
        begins = [1 + crc32(word[:3], _PREFIX) % (AFFIX_BUCKETS - 1) for word in spelled]
        ends = [1 + crc32(word[-3:], _SUFFIX) % (AFFIX_BUCKETS - 1) for word in spelled]
        columns = ([number or UNKNOWN for number in numbers], begins, ends, list(map(_shape, words)), lists)
        rows = np.array(columns, dtype=np.int32).T + _OFFSETS
        for word, number, bits, row in zip(words, numbers, lists, rows, strict=True):
            if number or bits:
                self._keep(known, word, row)
        return rows

    def _keep(self, known: _Rows, word: str, row: NDArray[np.int32]) -> None:
        with self._lock:
            place = len(known.numbers)
            if word in known.numbers:
                return
            if place == len(known.rows):
                if self._known is known:
                    self._known = _Rows()
                return
            known.rows[place] = row
            known.numbers[word] = place


class _Rows:
    __slots__ = ("numbers", "rows")

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.rows: NDArray[np.int32] = np.zeros((_CACHED_TOKENS, COLUMNS), dtype=np.int32)
