"""Word vectors by key, and vectors for keys that were never seen: from character n-grams, or from an emoji's name."""

import unicodedata
import zlib
from collections.abc import Iterable, Sequence
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

    The table stays in eight bits, a scale for each row: a fourth of the memory, and as quick.
    """

    def __init__(self, words: Sequence[str], table: Any, scales: Any, grams: Any, grams_scale: float) -> None:
        """``table`` int8 [words, width], ``scales`` float32 [words, 1], ``grams`` int8 [BUCKETS, width]."""
        self.index: dict[str, int] = {word: row for row, word in enumerate(words)}
        self._known = len(words)
        self._table = table
        self._scales = scales
        self._grams = grams
        self._grams_scale = grams_scale
        self._unseen: dict[str, int] = {}

    @property
    def width(self) -> int:
        return int(self._table.shape[1])

    def rows(self, keys: Iterable[str]) -> list[int]:
        """Rows of keys, valid until the next ``forget_unseen``."""
        get = self.index.get
        return [row if (row := get(key)) is not None else self._unseen_row(key) for key in keys]

    def vectors(self, rows: Sequence[int], out: Any = None) -> Any:
        """float32 [rows, width]."""
        import numpy as np

        places = np.array(rows, np.intp)
        return np.multiply(self._table.take(places, 0), self._scales.take(places, 0), out)

    def forget_unseen(self) -> None:
        """Frees the rows of unseen keys when there are too many; between batches only."""
        if len(self._unseen) > _CACHED_KEYS:
            self._unseen = {}
            self._table = self._table[: self._known].copy()
            self._scales = self._scales[: self._known].copy()

    def _unseen_row(self, key: str) -> int:
        row = self._unseen.get(key)
        if row is None:
            row = self._known + len(self._unseen)
            if row >= len(self._table):
                self._grow()
            vector = self._vector(key)
            scale = max(float(abs(vector).max()) / 127, 1e-9)
            self._table[row] = (vector / scale).round()
            self._scales[row] = scale
            self._unseen[key] = row
        return row

    def _grow(self) -> None:
        import numpy as np

        self._table = np.concatenate([self._table, np.zeros((_ROWS_AT_ONCE, self.width), np.int8)])
        self._scales = np.concatenate([self._scales, np.zeros((_ROWS_AT_ONCE, 1), np.float32)])

    def _vector(self, key: str) -> Any:
        named = [self.index[word] for word in emoji_words(key) if word in self.index]
        if named:
            return self.vectors(named).mean(0)
        return self._grams[buckets(key)].mean(0) * self._grams_scale
