"""The weights as they lie in the package, and one run of the network over windows of tokens."""

import io
import threading
from collections.abc import Sequence
from typing import Any

from triptych.engines.emotion.tokens import MARKS, Lexicon
from triptych.engines.emotion.vocabulary import PAD, Vocabulary

_NOT_THERE = -1e9
_LOGIT_OF_SUBTLE = 0.619
"""log(.65 / .35): a text at the bound of neutral has the intensity .35."""


class Model:
    def __init__(
        self, vocabulary: Vocabulary, lexicon: Lexicon, session: Any, calibration: Any, gate: Any
    ) -> None:
        """``calibration`` float32 [8, 3]: scale, offset and weight of the neutral logit, per score.

        ``gate`` float32 [2]: how the neutral logit becomes the intensity of the strongest score: steepness, bound.
        """
        import numpy as np

        self.vocabulary = vocabulary
        self.lexicon = lexicon
        self._session = session
        self._calibration = calibration
        self._gate = gate.tolist()
        self._vectors = threading.Lock()
        self._bits = np.array([[m >> b & 1 for b in range(MARKS)] for m in range(1 << MARKS)], np.float32)

    @classmethod
    def read(cls, data: bytes) -> "Model":
        import numpy as np
        import onnxruntime

        with np.load(io.BytesIO(data), allow_pickle=False) as weights:

            def words(name: str) -> list[str]:
                return bytes(weights[name]).decode().split("\n")

            vocabulary = Vocabulary(
                words("words"),
                weights["table"],
                weights["table_scale"],
                weights["grams"] * weights["grams_scale"],
            )
            lexicon = Lexicon(vocabulary.index, frozenset(words("names")), frozenset(words("maybe")))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            session = onnxruntime.InferenceSession(
                bytes(weights["network"]), options, providers=["CPUExecutionProvider"]
            )
            return cls(vocabulary, lexicon, session, weights["calibration"], weights["gate"])

    def run(self, windows: Sequence[tuple[list[str], list[int]]]) -> list[list[float]]:
        """Per window: six scores, neutral, wonder (calibrated, 0..1), valence, arousal (as the heads say)."""
        import numpy as np

        lengths = [max(1, len(keys)) for keys, _ in windows]
        longest = max(lengths)
        keys: list[str] = []
        marks: list[int] = []
        for of_window, marked in windows:
            missing = longest - len(of_window)
            keys += of_window
            marks += marked
            if missing:
                keys += [PAD] * missing
                marks += [0] * missing
        width = self.vocabulary.width
        x = np.empty((len(keys), width + MARKS), np.float32)
        with self._vectors:  # rows of unseen words come and go
            self.vocabulary.forget_unseen()
            x[:, :width] = self.vocabulary.vectors(self.vocabulary.rows(keys))
        x[:, width:] = self._bits.take(marks, axis=0)
        x.shape = (len(windows), longest, width + MARKS)
        ends = np.array(lengths, np.int32)
        mask = np.zeros((len(windows), longest, 1), np.float32)
        if len(windows) > 1:
            mask[np.arange(longest) >= ends[:, None]] = _NOT_THERE
        (y,) = self._session.run(
            None,
            {
                "x": x,
                "lengths": ends,
                "mask": mask,
                "shares": np.float32(1) / ends[:, None].astype(np.float32),
            },
        )
        steepness, bound = self._gate
        felt = 1 / (1 + np.exp(steepness * (y[:, 6:7] + bound) + _LOGIT_OF_SUBTLE))
        scale, offset, neutral = self._calibration.T
        z = y[:, :8] * scale + y[:, 6:7] * neutral + offset
        y[:, :8] = 1 / (1 + np.exp(-z))
        y[:, :6] *= felt / y[:, :6].max(1, keepdims=True)
        found: list[list[float]] = y.tolist()
        return found
