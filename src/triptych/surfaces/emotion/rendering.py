"""Emotions as answers tell them. Bands are decided on the numbers as they are, then these are rounded."""

from collections.abc import Sequence
from typing import Any

from triptych.core.clock import MICROSECONDS_PER_S, rfc3339
from triptych.core.emotion import LABELS, Emotion
from triptych.storage.contexts import Context

PLACES = 4


def emotion_object(emotion: Emotion, text: str | None = None) -> dict[str, Any]:
    """``text`` is echoed where there is one."""
    told: dict[str, Any] = {} if text is None else {"text": text}
    told |= {
        "category": emotion.category,
        "raw": {label: round(score, PLACES) for label, score in zip(LABELS, emotion.raw, strict=True)},
        "intensity": round(emotion.intensity, PLACES),
        "intensityLevel": emotion.intensity_level,
        "valence": round(emotion.valence, PLACES),
        "arousal": round(emotion.arousal, PLACES),
        "complexity": emotion.complexity,
        "wonderIndex": round(emotion.wonder, PLACES),
        "discoveryLevel": emotion.discovery_level,
        "language": emotion.language,
    }
    return told


def last_of_each_role(roles: Sequence[str], told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """In the order in which the roles first speak."""
    return dict(zip(roles, told, strict=True))


def context_metadata(shown_id: str, context: Context) -> dict[str, Any]:
    return {
        "context_id": shown_id,
        "created_at": rfc3339(context.created_us // MICROSECONDS_PER_S),
        "expires_at": rfc3339(context.expires_us // MICROSECONDS_PER_S),
        "message_count": context.message_count,
    }
