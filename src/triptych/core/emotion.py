"""The emotion of one text: what the engine measures, and the bands that are derived from it.

Descriptive statistics of text, not a clinical reading.
"""

import msgspec

LABELS = ("joy", "love", "sadness", "anger", "fear", "surprise")
EMOTION_MODEL = "emotion-v2"

INTENSITY_LEVELS = (
    (0.90, "critical"),
    (0.75, "high"),
    (0.55, "moderate"),
    (0.35, "subtle"),
    (0.0, "minimal"),
)
DISCOVERY_LEVELS = (
    (0.90, "transcendent"),
    (0.70, "breakthrough"),
    (0.45, "significant"),
    (0.20, "normal"),
    (0.0, "routine"),
)
COMPLEXITIES = ("simple", "simple", "layered", "paradoxical", "transcendent")
"""By the number of raw scores above ``COMPLEX_FROM``; four and more are the last."""
COMPLEX_FROM = 0.25


class Emotion(msgspec.Struct, frozen=True, gc=False):
    """Scores of one text, unrounded; a row or an answer holds them, never the text."""

    raw: tuple[float, float, float, float, float, float]
    """Independent scores 0..1 in the order of ``LABELS``; no softmax."""
    valence: float
    """-1..1."""
    arousal: float
    """0..1."""
    wonder: float
    """0..1: ``wonderIndex``."""
    language: str = "en"
    """ISO 639-1 code of the language the text seems to be in; scores are made for English."""

    @property
    def category(self) -> str:
        return LABELS[self.raw.index(max(self.raw))]

    @property
    def intensity(self) -> float:
        return max(self.raw)

    @property
    def intensity_level(self) -> str:
        return _band(self.intensity, INTENSITY_LEVELS)

    @property
    def discovery_level(self) -> str:
        return _band(self.wonder, DISCOVERY_LEVELS)

    @property
    def complexity(self) -> str:
        return COMPLEXITIES[min(4, len([score for score in self.raw if score > COMPLEX_FROM]))]


def _band(value: float, bands: tuple[tuple[float, str], ...]) -> str:
    """The first band whose lower bound the unrounded value reaches."""
    for bound, name in bands:
        if value >= bound:
            return name
    return bands[-1][1]
