"""From the network's outputs to the dimensions of the contract."""

VALENCE_SPREAD = 2.0
AROUSAL_SPREAD = 2.0
AROUSAL_CENTRE = 0.5


def valence(head: float) -> float:
    """-1..1. Raters of EmoBank use the middle half of their scale: it is spread, so that strong words come near the ends."""
    return min(1.0, max(-1.0, VALENCE_SPREAD * head))


def arousal(head: float) -> float:
    """0..1, spread around the middle for the same reason."""
    return min(1.0, max(0.0, AROUSAL_CENTRE + AROUSAL_SPREAD * (head - AROUSAL_CENTRE)))
