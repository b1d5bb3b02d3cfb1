"""The emotion object of the wire: what the surface answers and the command line prints."""

from typing import Any

from triptych.core.emotion import LABELS, Emotion

_PLACES = 4


def emotion_object(emotion: Emotion, text: str | None = None) -> dict[str, Any]:
    """``text`` is echoed where it is given. Bands come from unrounded numbers; numbers have four places."""
    shown: dict[str, Any] = {} if text is None else {"text": text}
    shown |= {
        "category": emotion.category,
        "raw": {label: round(score, _PLACES) for label, score in zip(LABELS, emotion.raw, strict=True)},
        "intensity": round(emotion.intensity, _PLACES),
        "intensityLevel": emotion.intensity_level,
        "valence": round(emotion.valence, _PLACES),
        "arousal": round(emotion.arousal, _PLACES),
        "complexity": emotion.complexity,
        "wonderIndex": round(emotion.wonder, _PLACES),
        "discoveryLevel": emotion.discovery_level,
        "language": emotion.language,
    }
    return shown
