"""The plans and the request limits each one brings (per key and per org)."""

from collections.abc import Mapping

import msgspec


class Plan(msgspec.Struct, frozen=True):
    """Limits of a plan; None means unlimited unless configured."""

    key_rpm: int | None
    key_rpd: int | None
    org_rpm: int | None
    org_tpm: int | None


EVALUATION = "evaluation"
"""The plan that needs no agreement, and in which nothing with PHI may pass."""

PLANS: Mapping[str, Plan] = {
    EVALUATION: Plan(60, 5_000, 180, 100_000),
    "developer": Plan(60, 5_000, 180, 100_000),
    "growth": Plan(500, 50_000, 2_500, 500_000),
    "scale": Plan(2_000, 500_000, 10_000, 2_000_000),
    "enterprise": Plan(None, None, None, None),
}
