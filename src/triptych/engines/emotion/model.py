"""The weights as they lie in the package, and one run of the network over windows of tokens."""

import io
import math
import threading
from collections.abc import Sequence
from typing import Any

from triptych.engines.emotion.tokens import MARKS, Lexicon
from triptych.engines.emotion.vocabulary import PAD, Vocabulary

_NOT_THERE = -1e9
_LOWEST = -80.0
_OUTPUTS = ("y",)


class Model:
    def __init__(self, vocabulary: Vocabulary, lexicon: Lexicon, session: Any) -> None:
        import numpy as np

        self.vocabulary = vocabulary
        self.lexicon = lexicon
        self._session = session
        self._np = np  # an import statement in what runs for every text takes a microsecond
        self._vectors = threading.Lock()
        self._shapes: dict[int, dict[str, Any]] = {}
        self._bits = np.array([[m >> b & 1 for b in range(MARKS)] for m in range(1 << MARKS)], np.int8)

    @classmethod
    def read(cls, data: bytes) -> "Model":
        import numpy as np
        import onnxruntime

        with np.load(io.BytesIO(data), allow_pickle=False) as weights:

            def words(name: str) -> list[str]:
                return bytes(weights[name]).decode().split("\n")

            vocabulary = Vocabulary(
                words("words"), weights["table"], weights["grams"], float(weights["grams_scale"])
            )
            lexicon = Lexicon(vocabulary.index, frozenset(words("names")), frozenset(words("maybe")))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.enable_cpu_mem_arena = False  # the tensors are small: the arena would only hold memory
            options.log_severity_level = 3
            session = onnxruntime.InferenceSession(
                bytes(weights["network"]), options, providers=["CPUExecutionProvider"]
            )
            return cls(vocabulary, lexicon, session)

    def run(self, windows: Sequence[tuple[list[str], list[int]]]) -> list[list[float]]:
        """Per window: six scores, neutral, wonder (calibrated, 0..1), valence, arousal (as the heads say)."""
        lengths = [len(keys) for keys, _ in windows]
        longest = max(lengths)
        if len(windows) == 1:
            keys, marks = windows[0]
        else:
            keys, marks = [], []
            for of_window, marked in windows:
                missing = longest - len(of_window)
                keys += of_window
                marks += marked
                if missing:
                    keys += [PAD] * missing
                    marks += [0] * missing
        inputs = {"x": self._tokens(keys, marks, longest), **self._shape(lengths, longest)}
        (y,) = self._session.run(_OUTPUTS, inputs)
        return [_scores(outputs) for outputs in y.tolist()]

    def _tokens(self, keys: list[str], marks: list[int], longest: int) -> Any:
        """float32 [tokens, windows, 3 (width + MARKS)]: the token before each, the token, the one after it."""
        np = self._np
        windows = len(keys) // longest
        places = np.zeros(
            (longest + 2, windows), np.intp
        )  # the first row is that of PAD: before and after a text
        with self._vectors:  # rows of unseen words come and go
            self.vocabulary.forget_unseen()
            places[1:-1] = np.array(self.vocabulary.rows(keys)).reshape(windows, longest).T
            x = self.vocabulary.vectors(places)
        if any(marks):
            x[1:-1, :, -MARKS:] = self._bits.take(np.array(marks).reshape(windows, longest).T, 0)
        row = x.shape[2]
        # A view in which tokens overlap; the cast copies them side by side.
        threes = np.ndarray((longest, windows, 3, row), np.int8, x, 0, (windows * row, row, windows * row, 1))
        return threes.astype(np.float32).reshape(longest, windows, 3 * row)

    def _shape(self, lengths: list[int], longest: int) -> dict[str, Any]:
        """The inputs that depend on the lengths of the windows alone; kept for the windows that come alone."""
        np = self._np
        alone = len(lengths) == 1
        if alone and (known := self._shapes.get(longest)) is not None:
            return known
        ends = np.array(lengths)
        there = (np.arange(longest)[:, None] < ends)[:, :, None]
        shape = {
            "mask": np.where(there, np.float32(0), np.float32(_NOT_THERE)),
            "shares": there / ends[:, None].astype(np.float32),
        }
        if alone:
            self._shapes[longest] = shape
        return shape


def _scores(outputs: list[float]) -> list[float]:
    """Logits to scores: of each of eight, and, last, of how far the text is from neutral, which damps the six.

    In plain floats: for some ten numbers numpy takes longer. Never 0, so that there is a ratio to every score.
    """
    exp = math.exp
    scores = [1 / (1 + exp(-z)) if z > _LOWEST else 1 / (1 + exp(-_LOWEST)) for z in outputs[:8]]
    felt = 1 / (1 + exp(min(-outputs[10], -_LOWEST))) / max(scores[:6])
    return [score * felt for score in scores[:6]] + scores[6:] + outputs[8:10]
