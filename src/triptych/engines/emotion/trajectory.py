"""How emotion moves along the user messages of a conversation. Robust statistics: one odd message decides nothing."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import msgspec

TREND_MESSAGES = 10
IMPROVING_FROM = 0.03
DECLINING_FROM = -0.03
VOLATILE_ABOVE = 0.25
BREAKTHROUGH_FROM = 0.5
LEAST_MESSAGES = 3


class Moment(msgspec.Struct, frozen=True, gc=False):
    """What the trajectory reads of one user message, oldest first."""

    valence: float
    """-1..1."""
    intensity: float
    """0..1."""
    category: str = ""
    message_id: str = ""


def trajectory(moments: Sequence[Moment]) -> dict[str, Any]:
    """The contract's ``trajectory``; below three messages only ``n`` is known. Numbers rounded to 4 places.

    - ``trend.valenceTrend``: Theil-Sen slope of valence per message over the last ten.
    - ``trend.direction``: from the slope; where it is flat, ``volatile`` when the mean squared successive difference of
      valence over the last ten exceeds .25.
    - ``velocity``: median change of valence from message to message over the last ten.
    - ``inertia``: lag-1 autocorrelation of valence, -1..1; 0 for a constant series. High: moods persist.
    - ``breakthroughs``: messages whose valence rose by at least .5 over the median of the up to three before them.
    """
    n = len(moments)
    if n < LEAST_MESSAGES:
        return {"n": n}
    valences = [moment.valence for moment in moments]
    recent = valences[-TREND_MESSAGES:]
    slope = _theil_sen(recent)
    return {
        "baseline": {
            "averageIntensity": round(fmean(moment.intensity for moment in moments), 4),
            "baselineValence": round(median(valences), 4),
        },
        "trend": {"direction": _direction(slope, recent), "valenceTrend": round(slope, 4)},
        "velocity": round(median(b - a for a, b in pairwise(recent)), 4),
        "inertia": round(_autocorrelation(valences), 4),
        "breakthroughs": _breakthroughs(moments),
        "n": n,
    }


def _theil_sen(values: Sequence[float]) -> float:
    """Median of the slopes between all pairs."""
    return median(
        (values[j] - values[i]) / (j - i) for i in range(len(values)) for j in range(i + 1, len(values))
    )


def _direction(slope: float, recent: Sequence[float]) -> str:
    if slope >= IMPROVING_FROM:
        return "improving"
    if slope <= DECLINING_FROM:
        return "declining"
    differences = fmean((b - a) ** 2 for a, b in pairwise(recent))
    return "volatile" if differences > VOLATILE_ABOVE else "stable"


def _autocorrelation(values: Sequence[float]) -> float:
    mean = fmean(values)
    spread = sum((v - mean) ** 2 for v in values)
    if spread < 1e-12:
        return 0.0
    return sum((a - mean) * (b - mean) for a, b in pairwise(values)) / spread


def _breakthroughs(moments: Sequence[Moment]) -> list[dict[str, Any]]:
    found = []
    for index in range(1, len(moments)):
        moment = moments[index]
        before = median(m.valence for m in moments[max(0, index - 3) : index])
        if (rise := moment.valence - before) >= BREAKTHROUGH_FROM:
            found.append(
                {
                    "index": index,
                    "message_id": moment.message_id,
                    "category": moment.category,
                    "valenceChange": round(rise, 4),
                }
            )
    return found
