"""Tokens of a plain text, and what the tagger is told of each: word, affixes, shape, lists it stands on."""

import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from threading import Lock
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

# A word spelled with spaces between its letters is one token; so are digits, a run of one mark, an end of line.
# The usual kinds of token stand first, as alternatives are tried in their order.
_TOKEN = re.compile(
    r"[A-Za-z]{2,}|[0-9][A-Za-z0-9]+|(?:\b[A-Za-z0-9] ){3,}[A-Za-z0-9]\b|[A-Za-z0-9]|\n+|([^\sA-Za-z0-9])\1*"
)
PAD, UNKNOWN = 0, 1
AFFIX_BUCKETS = 4096
BITS = (
    "first_name", "rare_first_name", "surname", "rare_surname", "place", "country_or_state", "medical", "usual_word",
    "calendar", "title", "street", "facility",
)  # fmt: skip
_CACHED_TOKENS = 32_768
_PREFIX, _SUFFIX = crc32(b"p"), crc32(b"s")


class Tokens(msgspec.Struct, gc=False):
    words: list[str]
    spans: list[tuple[int, int]]


def tokens(text: str) -> Tokens:
    spans = [match.span() for match in _TOKEN.finditer(text)]
    return Tokens([text[start:end] for start, end in spans], spans)


class Lexicon:
    """Known words by the CRC-32 of their lower-case form: number of the word vector (0: none) and lists as bits."""

    def __init__(
        self, keys: NDArray[np.uint32], numbers: NDArray[np.uint16], bits: NDArray[np.uint16]
    ) -> None:
        self._keys, self._numbers, self._bits = keys, numbers, bits
        # Quicker than numpy where one word is asked for.
        self._one_key = array("I", keys.tobytes())
        self._one_number, self._one_bits = numbers.data, bits.data

    def find_all(self, words: Sequence[bytes]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Numbers and bits of lower-case words; 0 where one is unknown."""
        keys = np.array([crc32(word) for word in words], dtype=np.uint32)
        places = self._keys.searchsorted(keys)
        places[places == len(self._keys)] = 0
        known = self._keys[places] == keys
        return (
            np.where(known, self._numbers[places], 0).astype(np.int32),
            np.where(known, self._bits[places], 0).astype(np.int32),
        )

    def find(self, word: str) -> tuple[int, int]:
        """Number and bits of a lower-case word; (0, 0) where it is unknown."""
        key = crc32(word.encode())
        place = bisect_left(self._one_key, key)
        if place == len(self._one_key) or self._one_key[place] != key:
            return 0, 0
        return self._one_number[place], self._one_bits[place]

    @staticmethod
    def mask(*names: str) -> int:
        return sum(1 << BITS.index(name) for name in names)


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


class Features:
    """Numbers for the tagger, looked up per token.

    Rows of words on the lists are kept, as they are public; nothing of other tokens outlives a call.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._lock = Lock()
        self._known = _Rows()

    def rows(self, words: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(tokens, 4) of word, prefix, suffix, shape; (tokens, bits) of list memberships."""
        known = self._known
        get = known.numbers.get
        places = [get(word, -1) for word in words]
        if -1 not in places:
            return known.ids[places], known.bits[places]
        missing = dict.fromkeys(word for word, place in zip(words, places, strict=True) if place < 0)
        new = list(missing)
        ids, bits, listed = self._described(new)
        if listed:
            self._keep(known, new, ids, bits, listed)
        order = {word: number for number, word in enumerate(new)}
        late = [number for number, place in enumerate(places) if place < 0]
        which = [order[words[number]] for number in late]
        all_ids, all_bits = known.ids[places], known.bits[places]
        all_ids[late], all_bits[late] = ids[which], bits[which]
        return all_ids, all_bits

    def _keep(
        self,
        known: "_Rows",
        words: Sequence[str],
        ids: NDArray[np.int32],
        bits: NDArray[np.float32],
        listed: Sequence[int],
    ) -> None:
        with self._lock:
            for number in listed:
                place = len(known.numbers)
                if words[number] in known.numbers:
                    continue
                if place == len(known.ids):
                    if self._known is known:
                        self._known = _Rows()
                    return
                known.ids[place], known.bits[place] = ids[number], bits[number]
                known.numbers[words[number]] = place

    def describe(self, words: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        ids, bits, _ = self._described(words)
        return ids, bits

    def _described(self, words: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.float32], list[int]]:
        """And the numbers of the words that stand on a list."""
        lower = [word.replace(" ", "").lower().encode() for word in words]
        numbers, bits = self._lexicon.find_all(lower)
        listed = (numbers | bits).nonzero()[0].tolist()
        numbers[numbers == 0] = UNKNOWN
        ids = np.empty((len(words), 4), dtype=np.int32)
        ids[:, 0] = numbers
        ids[:, 1] = [1 + crc32(word[:3], _PREFIX) % (AFFIX_BUCKETS - 1) for word in lower]
        ids[:, 2] = [1 + crc32(word[-3:], _SUFFIX) % (AFFIX_BUCKETS - 1) for word in lower]
        ids[:, 3] = [_shape(word) for word in words]
        expanded = ((bits[:, None] >> _BIT_NUMBERS) & 1).astype(np.float32)
        return ids, expanded, listed


_BIT_NUMBERS: NDArray[np.int32] = np.arange(len(BITS), dtype=np.int32)


class _Rows:
    __slots__ = ("bits", "ids", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.ids: NDArray[np.int32] = np.zeros((_CACHED_TOKENS, 4), dtype=np.int32)
        self.bits: NDArray[np.float32] = np.zeros((_CACHED_TOKENS, len(BITS)), dtype=np.float32)
