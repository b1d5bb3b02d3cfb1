"""What a conversation feels like by now: an exponential average of its user messages."""

from triptych.core.emotion import Emotion

NEWEST_WEIGHT = 0.4
"""Of the newest user message; all older ones share the rest."""


def blended(before: Emotion | None, newest: Emotion) -> Emotion:
    """The state once ``newest`` was said; the first message is the state. Language: the newest one's."""
    if before is None:
        return newest
    old, new = 1.0 - NEWEST_WEIGHT, NEWEST_WEIGHT
    a, b = before.raw, newest.raw
    return Emotion(
        raw=(
            old * a[0] + new * b[0],
            old * a[1] + new * b[1],
            old * a[2] + new * b[2],
            old * a[3] + new * b[3],
            old * a[4] + new * b[4],
            old * a[5] + new * b[5],
        ),
        valence=old * before.valence + new * newest.valence,
        arousal=old * before.arousal + new * newest.arousal,
        wonder=old * before.wonder + new * newest.wonder,
        language=newest.language,
    )
