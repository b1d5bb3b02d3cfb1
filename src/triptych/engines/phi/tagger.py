"""The learned tagger: names, places, dates, ids, ages and telephone numbers that no pattern describes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.engines.phi.rules import RANK_NAME, Candidate, trimmed
from triptych.engines.phi.tokens import BITS, Features, Lexicon, Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BITS", "KINDS", "LABELS", "REACH", "Tagger"]

KINDS = ("PERSON", "LOCATION", "DATE_TIME", "ID", "AGE", "PHONE_NUMBER")
LABELS = 1 + 2 * len(KINDS)
REACH = 15
"""Tokens to each side that the convolutions see: a piece of a long text is read with so many of its neighbours."""
PIECE_TOKENS = 1008
"""In one run of the network, so that its state stays in the cache of the core."""
_LONG_TOKENS = 900
_LEAST_PROSE = 0.25
_SAMPLED = 4
_JOINTS = " -_/"
_TYPES = tuple({"ID": "UNIQUE_ID"}.get(kind, kind) for kind in KINDS)


class Tagger:
    """Safe to share between threads."""

    def __init__(self, lexicon: Lexicon, session: Any, threshold: float = 0.25) -> None:
        self.lexicon = lexicon
        self._features, self._session, self._threshold = Features(lexicon), session, threshold

    @classmethod
    def load(cls, folder: Path | None = None) -> Tagger:
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
            str(folder / "tagger.onnx"), options, providers=["CPUExecutionProvider"]
        )
        return cls(lexicon, session)

    def find(self, text: str, split: Tokens) -> list[Candidate]:
        """In order, not overlapping."""
        words = split.words
        found: list[Candidate] = []
        for start in range(0, len(words), PIECE_TOKENS):
            end = min(len(words), start + PIECE_TOKENS)
            if end - start > _LONG_TOKENS and not _is_prose(words[start:end]):
                continue
            before = max(0, start - REACH)
            rows = self._features.rows(words[before : end + REACH])
            (scores,) = self._session.run(None, {"ids": rows})
            self._decode(scores[start - before : end - before], split, start, found)
        return _trimmed(found, text)

    def _decode(
        self, scores: NDArray[np.float32], split: Tokens, offset: int, found: list[Candidate]
    ) -> None:
        """``scores``: (tokens, labels), from the ``offset``-th token on."""
        (named,) = (scores[:, 0] < 1 - self._threshold).nonzero()
        if not len(named):
            return
        rows = scores[named]
        begins, insides = rows[:, 1::2], rows[:, 2::2]
        kinds = (begins + insides).argmax(1)
        which = np.arange(len(kinds))
        continues = (begins[which, kinds] <= insides[which, kinds]).tolist()
        words, ends = split.words, split.ends
        last, last_kind = -2, -1
        for token, kind, score, continued in zip(
            (named + offset).tolist(), kinds.tolist(), (1 - rows[:, 0]).tolist(), continues, strict=True
        ):
            end = ends[token]
            if continued and token == last + 1 and kind == last_kind:
                candidate = found[-1]
                candidate.end = end
                if score > candidate.score:
                    candidate.score = score
            else:
                start = end - len(words[token])
                found.append(Candidate(start, end, _TYPES[kind], score, "tagger", RANK_NAME))
            last, last_kind = token, kind


def _is_prose(words: Sequence[str]) -> bool:
    """Whether a long piece has words at all; the tagger has nothing to say of tables of numbers and of noise."""
    sample = words[::_SAMPLED]
    return sum(map(str.isalpha, [word for word in sample if len(word) > 1])) >= _LEAST_PROSE * len(sample)


def _trimmed(candidates: list[Candidate], text: str) -> list[Candidate]:
    """Without punctuation at the edges, and without what is nothing else."""
    kept: list[Candidate] = []
    for candidate in candidates:
        if not (text[candidate.start].isalnum() and text[candidate.end - 1].isalnum()):
            start, end = trimmed(text, candidate.start, candidate.end)
            if candidate.type in {"PERSON", "LOCATION"}:
                while start < end and text[start] in _JOINTS:
                    start += 1
                while start < end and text[end - 1] in _JOINTS:
                    end -= 1
            if not any(map(str.isalnum, text[start:end])):
                continue
            candidate.start, candidate.end = start, end
        kept.append(candidate)
    return kept
