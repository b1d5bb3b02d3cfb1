"""Word vectors by key, and vectors for keys that were never seen: from character n-grams, or from an emoji's name."""

import unicodedata
import zlib
from collections.abc import Sequence
from typing import Any

PAD = "<pad>"
BUCKETS = 4096
_GRAMS = (3, 4, 5)
_CACHED_KEYS = 10_000
_ROWS_AT_ONCE = 1024


def buckets(word: str) -> list[int]:
    """Hashed character n-grams of ``<word>``; at most those of the first 24 characters."""
    framed = f"<{word[:24]}>"
    grams = {framed[i : i + n] for n in _GRAMS for i in range(len(framed) - n + 1)} or {framed}
    return sorted(zlib.crc32(gram.encode("utf-8", "surrogatepass")) % BUCKETS for gram in grams)


def emoji_words(key: str) -> list[str]:
    """``😭`` -> ``loudly crying face``; empty when the key is no symbol that has a name."""
    if len(key) != 1 or ord(key) < 0x2190:
        return []
    return [w for w in unicodedata.name(key, "").lower().replace("-", " ").split() if w not in _PLAIN_WORDS]


_PLAIN_WORDS = frozenset("face with of sign symbol black white heavy and".split())


class Vocabulary:
    """Rows of a table by key. Rows of unseen keys are made once and kept, up to a bound.

    A row has room for the marks of a token behind its vector. Everything stays in eight bits, in steps of one scale for
    the whole table that the network's weights know: a fourth of the memory, and nothing to multiply.
    """

    def __init__(self, words: Sequence[str], table: Any, grams: Any, grams_scale: float) -> None:
        """``table`` int8 [words, width + marks], the first row of ``PAD``; ``grams`` int8 [BUCKETS, width], in steps that
        are ``grams_scale`` of the table's.
        """
        self.index: dict[str, int] = {word: row for row, word in enumerate(words)}
        self._known = len(words)
        self._table = table
        self._grams = grams
        self._grams_scale = grams_scale
        self._width = int(grams.shape[1])
        self._unseen: dict[str, int] = {}

    def rows(self, keys: Sequence[str]) -> list[int]:
        """Rows of keys, valid until the next ``forget_unseen``."""
        rows = list(map(self.index.get, keys))
        if None in rows:
            return [
                self._unseen_row(key) if row is None else row for key, row in zip(keys, rows, strict=True)
            ]
        return rows  # type: ignore[return-value]  # there is no None in them

    def vectors(self, rows: Any) -> Any:
        """int8 [..., width + marks] of rows int [...]; the marks are 0."""
        return self._table.take(rows, 0)

    def forget_unseen(self) -> None:
        """Frees the rows of unseen keys when there are too many; between batches only."""
        if len(self._unseen) > _CACHED_KEYS:
            self._unseen = {}
            self._table = self._table[: self._known].copy()

    def _unseen_row(self, key: str) -> int:
        row = self._unseen.get(key)
        if row is None:
            row = self._known + len(self._unseen)
            if row >= len(self._table):
                self._grow()
            self._table[row, : self._width] = self._vector(key).round().clip(-127, 127)
            self._unseen[key] = row
        return row

    def _grow(self) -> None:
        import numpy as np

        self._table = np.concatenate([self._table, np.zeros((_ROWS_AT_ONCE, self._table.shape[1]), np.int8)])

    def _vector(self, key: str) -> Any:
        named = [self.index[word] for word in emoji_words(key) if word in self.index]
        if named:
            return self._table[named, : self._width].mean(0)
        return self._grams[buckets(key)].mean(0) * self._grams_scale
