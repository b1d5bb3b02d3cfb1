"""The learned tagger: names, places, dates, ids, ages and telephone numbers that no pattern describes."""

from collections.abc import Sequence
from importlib import resources
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.engines.phi.rules import RANK_NAME, Candidate, trimmed
from triptych.engines.phi.tokens import BITS, Features, Lexicon, Tokens

__all__ = ["BITS", "BORDER_TOKENS", "KINDS", "LABELS", "Tagger"]

KINDS = ("PERSON", "LOCATION", "DATE_TIME", "ID", "AGE", "PHONE_NUMBER")
LABELS = 1 + 2 * len(KINDS)
BORDER_TOKENS = 16
"""Padding between texts: more than the 15 tokens that the convolutions see, so that no text colours another."""
MAX_TOKENS = 2048
"""In one run of the network, so that its state stays in the cache of the core."""
_LONG_TOKENS = 1500
_LEAST_PROSE = 0.25
_JOINTS = " -_/"
_TYPES = tuple({"ID": "UNIQUE_ID"}.get(kind, kind) for kind in KINDS)


class Tagger:
    """Safe to share between threads."""

    def __init__(self, lexicon: Lexicon, session: Any, threshold: float = 0.3) -> None:
        self.lexicon = lexicon
        self._features, self._session, self._threshold = Features(lexicon), session, threshold

    @classmethod
    def load(cls, folder: Path | None = None) -> "Tagger":
        """From the package's own weights, or those of a training run."""
        import onnxruntime

        folder = folder or Path(str(resources.files("triptych.engines.phi"))) / "weights"
        with np.load(folder / "lexicon.npz") as arrays:
            lexicon = Lexicon(arrays["keys"], arrays["numbers"], arrays["bits"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            (folder / "tagger.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        return cls(lexicon, session)

    def find(self, texts: Sequence[str], split: Sequence[Tokens]) -> list[list[Candidate]]:
        """One list per text, in order, not overlapping."""
        found: list[list[Candidate]] = [[] for _ in texts]
        rows: list[tuple[int, int, int]] = []
        used = BORDER_TOKENS
        for number, tokens in enumerate(split):
            count = len(tokens.words)
            for start in range(0, count, MAX_TOKENS - 2 * BORDER_TOKENS):
                end = min(count, start + MAX_TOKENS - 2 * BORDER_TOKENS)
                if end - start > _LONG_TOKENS and not _is_prose(tokens.words[start:end]):
                    continue
                size = end - start + 3 * BORDER_TOKENS
                if rows and used + size > MAX_TOKENS:
                    self._run(texts, split, rows, found)
                    rows, used = [], BORDER_TOKENS
                rows.append((number, start, end))
                used += size
        if rows:
            self._run(texts, split, rows, found)
        return [_joined(candidates, text) for candidates, text in zip(found, texts, strict=True)]

    def _run(
        self,
        texts: Sequence[str],
        split: Sequence[Tokens],
        rows: Sequence[tuple[int, int, int]],
        found: list[list[Candidate]],
    ) -> None:
        ids: list[NDArray[np.int32]] = [_NO_IDS]
        bits: list[NDArray[np.float32]] = [_NO_BITS]
        places: list[int] = []
        place = BORDER_TOKENS
        for number, start, end in rows:
            words = split[number].words
            # A piece of a long text sees its neighbours, as many as the network can.
            before, after = max(0, start - BORDER_TOKENS), min(len(words), end + BORDER_TOKENS)
            row_ids, row_bits = self._features.rows(words[before:after])
            ids += (row_ids, _NO_IDS)
            bits += (row_bits, _NO_BITS)
            places.append(place + start - before)
            place += after - before + BORDER_TOKENS
        (scores,) = self._session.run(None, {"ids": np.concatenate(ids), "bits": np.concatenate(bits)})
        for (number, start, end), first in zip(rows, places, strict=True):
            part = scores[first : first + end - start]
            spans = split[number].spans
            found[number].extend(self._decoded(part, spans, start, texts[number]))

    def _decoded(
        self, scores: NDArray[np.float32], spans: Sequence[tuple[int, int]], offset: int, text: str
    ) -> list[Candidate]:
        (named,) = (scores[:, 0] < 1 - self._threshold).nonzero()
        candidates: list[Candidate] = []
        last, last_kind = -2, -1
        # Few tokens are left here; for these, lists are quicker than arrays.
        for token, row in zip(named.tolist(), scores[named].tolist(), strict=True):
            by_kind = list(map(add, row[1::2], row[2::2]))
            kind = by_kind.index(max(by_kind))
            start, end = spans[offset + token]
            score = 1 - row[0]
            if token == last + 1 and kind == last_kind and row[1 + 2 * kind] <= row[2 + 2 * kind]:
                candidates[-1].end = end
                candidates[-1].score = max(candidates[-1].score, score)
            else:
                candidates.append(Candidate(start, end, _TYPES[kind], score, "tagger", RANK_NAME))
            last, last_kind = token, kind
        return candidates


def _is_prose(words: Sequence[str]) -> bool:
    """Whether a long piece has words at all; the tagger has nothing to say of tables of numbers and of noise."""
    return sum(map(str.isalpha, [word for word in words if len(word) > 1])) >= _LEAST_PROSE * len(words)


def _joined(candidates: list[Candidate], text: str) -> list[Candidate]:
    """Without punctuation at the edges, and without what is nothing else."""
    kept: list[Candidate] = []
    for candidate in candidates:
        candidate.start, candidate.end = trimmed(text, candidate.start, candidate.end)
        if candidate.type in {"PERSON", "LOCATION"}:
            while candidate.start < candidate.end and text[candidate.start] in _JOINTS:
                candidate.start += 1
            while candidate.start < candidate.end and text[candidate.end - 1] in _JOINTS:
                candidate.end -= 1
        if candidate.start < candidate.end and any(map(str.isalnum, text[candidate.start : candidate.end])):
            kept.append(candidate)
    return kept


_NO_IDS: NDArray[np.int32] = np.zeros((BORDER_TOKENS, 4), dtype=np.int32)
_NO_BITS: NDArray[np.float32] = np.zeros((BORDER_TOKENS, len(BITS)), dtype=np.float32)
