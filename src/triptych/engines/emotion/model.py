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
        self._calibration = calibration.tolist()
        self._gate = gate.tolist()
        self._vectors = threading.Lock()
        self._shapes: dict[int, dict[str, Any]] = {}
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
                weights["grams"],
                float(weights["grams_scale"]),
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
        width = self.vocabulary.width
        x = np.empty((len(keys), width + MARKS), np.float32)
        with self._vectors:  # rows of unseen words come and go
            self.vocabulary.forget_unseen()
            self.vocabulary.vectors(self.vocabulary.rows(keys), x[:, :width])
        x[:, width:] = self._bits.take(marks, 0) if any(marks) else 0
        x.shape = (len(windows), longest, width + MARKS)
        (y,) = self._session.run(None, {"x": x, **self._shape(lengths, longest)})
        return [self._calibrated(outputs) for outputs in y.tolist()]

    def _shape(self, lengths: list[int], longest: int) -> dict[str, Any]:
        """The inputs that depend on the lengths of the windows alone; kept for the windows that come alone."""
        import numpy as np

        alone = len(lengths) == 1
        if alone and (known := self._shapes.get(longest)) is not None:
            return known
        ends = np.array(lengths, np.int32)
        mask = np.zeros((len(lengths), longest, 1), np.float32)
        mask[np.arange(longest) >= ends[:, None]] = _NOT_THERE
        shape = {"lengths": ends, "mask": mask, "shares": (1 / ends[:, None]).astype(np.float32)}
        if alone:
            self._shapes[longest] = shape
        return shape

    def _calibrated(self, outputs: list[float]) -> list[float]:
        """In plain floats: for some ten numbers numpy takes longer."""
        steepness, bound = self._gate
        neutral = outputs[6]
        scores = [
            _sigmoid(scale * output + weight * neutral + offset)
            for output, (scale, offset, weight) in zip(outputs, self._calibration, strict=False)
        ]
        felt = _sigmoid(-steepness * (neutral + bound) - _LOGIT_OF_SUBTLE) / max(scores[:6])
        return [score * felt for score in scores[:6]] + scores[6:] + outputs[8:]


def _sigmoid(z: float) -> float:
    """Never 0, so that there is a ratio to every score."""
    return 1 / (1 + math.exp(-z if z > _LOWEST else -_LOWEST))
