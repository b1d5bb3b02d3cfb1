"""Scores the emotion of texts with one small network. The model card says how well, and what it is not."""

import math
from collections.abc import Sequence
from importlib.resources import files

from triptych.core.emotion import Emotion
from triptych.engines.emotion.dimensions import arousal, valence
from triptych.engines.emotion.language import language_of
from triptych.engines.emotion.model import Model
from triptych.engines.emotion.tokens import tokenise

WINDOW_TOKENS = 64
_TOKENS_AT_ONCE = 192
"""What a run of the network takes, padding included: more costs memory and spares no time."""
_SENTENCE_ENDS = frozenset((".", "!", "?", "...", "!?"))
_SILENCE = Emotion(raw=(0.0,) * 6, valence=0.0, arousal=0.0, wonder=0.0)
"""Of a text without a token."""


class EmotionEngine:
    """One per process; may be called from several threads."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @classmethod
    def load(cls) -> "EmotionEngine":
        """Reads the weights that come with the package; imports numpy and onnxruntime.

        Takes some tenths of a second; raises OSError where the package is incomplete.
        """
        return cls(Model.read((files(__package__) / "model.npz").read_bytes()))

    def count_tokens(self, text: str) -> int:
        """Words, names, numbers, emoji and punctuation as the network reads them: what ``analyse_tokens`` counts."""
        return len(tokenise(text, self._model.lexicon)[0])

    def score(self, texts: Sequence[str]) -> list[Emotion]:
        """One emotion per text, in order. English; other languages are scored too, and ``language`` says so."""
        return self.analyse(texts)[0]

    def analyse(self, texts: Sequence[str]) -> tuple[list[Emotion], int]:
        """What ``score`` returns, and the tokens of all texts together, read once."""
        tokens = 0
        windows: list[tuple[list[str], list[int]]] = []
        spans: list[tuple[int, int]] = []
        languages: list[str] = []
        for text in texts:
            keys, marks = tokenise(text, self._model.lexicon)
            tokens += len(keys)
            start = len(windows)
            if len(keys) > WINDOW_TOKENS:
                windows += _windows(keys, marks)
            elif keys:
                windows.append((keys, marks))
            spans.append((start, len(windows)))
            languages.append(language_of(text, keys, self._model.vocabulary.index))
        outputs = self._run(windows) if windows else []
        emotions = []
        for (start, end), language in zip(spans, languages, strict=True):
            if start == end:
                emotions.append(_SILENCE)
                continue
            y = outputs[start] if end - start == 1 else _joined(outputs[start:end], windows[start:end])
            emotions.append(
                Emotion(
                    raw=tuple(y[:6]),  # type: ignore[arg-type]
                    valence=valence(y[8]),
                    arousal=arousal(y[9]),
                    wonder=y[7],
                    language=language,
                )
            )
        return emotions, tokens

    def _run(self, windows: list[tuple[list[str], list[int]]]) -> list[list[float]]:
        """Windows of like length share a batch: padding costs time."""
        if len(windows) == 1:
            return self._model.run(windows)
        order = sorted(range(len(windows)), key=lambda i: len(windows[i][0]))
        found: list[list[float]] = [[]] * len(windows)
        while order:
            # The longest are last, and come first: all of a batch are at most as long.
            chosen = order[-(_TOKENS_AT_ONCE // len(windows[order[-1]][0])) :]
            del order[-len(chosen) :]
            for index, y in zip(chosen, self._model.run([windows[i] for i in chosen]), strict=True):
                found[index] = y
        return found


def _windows(keys: list[str], marks: list[int]) -> list[tuple[list[str], list[int]]]:
    """Pieces of at most ``WINDOW_TOKENS``, cut after the last end of a sentence in their second half."""
    found = []
    start = 0
    while start < len(keys):
        end = min(start + WINDOW_TOKENS, len(keys))
        if end < len(keys):
            middle = start + WINDOW_TOKENS // 2
            end = next((i + 1 for i in range(end - 1, middle, -1) if keys[i] in _SENTENCE_ENDS), end)
        found.append((keys[start:end], marks[start:end]))
        start = end
    return found


def _joined(outputs: list[list[float]], windows: list[tuple[list[str], list[int]]]) -> list[float]:
    """Valence and arousal: the mean over tokens. Scores: the root mean square, so that one strong passage is seen."""
    weights = [len(keys) for keys, _ in windows]
    total = sum(weights)
    columns = list(zip(*outputs, strict=True))
    scores = [math.sqrt(sum(w * x * x for w, x in zip(weights, c, strict=True)) / total) for c in columns[:8]]
    return scores + [sum(w * x for w, x in zip(weights, c, strict=True)) / total for c in columns[8:]]
