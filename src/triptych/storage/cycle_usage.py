"""What an org used in the billing cycle that runs: of models, not of the control plane."""

from typing import Final

import msgspec
from sqlalchemy import case, func, select

from triptych.core.clock import now_us
from triptych.core.cycle import cycle_of, day_of, start_us
from triptych.core.outcome import Ending
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.tables import exchanges, orgs

CONTROL_ENDPOINTS: Final = ("api_keys", "usage", "budget", "compliance", "provider_status")
"""Names in the rows of the control plane's exchanges: asking what was used is no use."""


class ModelUsage(msgspec.Struct, frozen=True):
    model: str
    requests: int
    failed: int
    """Of the requests: those refused, failed, cancelled or interrupted."""
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    credits: int
    cost_nusd: int


class CycleUsage(msgspec.Struct, frozen=True):
    """Exchanges that ended; what the others hold is ``credits_reserved``."""

    cycle_start_us: int
    cycle_end_us: int
    credits_allotment: int | None
    """None: unlimited."""
    credits: int
    credits_reserved: int
    requests: int
    failed: int
    cost_nusd: int
    by_model: tuple[ModelUsage, ...]
    """The most expensive first."""


_SUMMED: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "credits",
    "cost_nusd",
)


def read_usage(database: Database, org_id: str) -> CycleUsage:
    """Blocks. Raises StorageError."""
    e = exchanges.c
    with database.read() as connection:
        org = connection.execute(select(orgs.c.created_us, orgs.c.credits).where(orgs.c.id == org_id)).first()
        if org is None:
            raise StorageError("The org is gone.")
        cycle, following = cycle_of(day_of(org.created_us), day_of(now_us()))
        rows = connection.execute(
            select(
                e.model,
                func.sum(e.repeats).label("requests"),
                func.sum(case((e.ending != Ending.COMPLETED.value, e.repeats), else_=0)).label("failed"),
                *(func.sum(e[name]).label(name) for name in _SUMMED),
            )
            .where(
                e.org_id == org_id,
                e.started_us >= start_us(cycle),
                e.ended_us.is_not(None),
                e.endpoint.not_in(CONTROL_ENDPOINTS),
            )
            .group_by(e.model)
        ).all()
        reserved = connection.execute(
            select(func.sum(e.hold_credits))
            .where(e.ended_us.is_(None), e.org_id == org_id)
            .with_hint(exchanges, "INDEXED BY ix_exchanges_open", "sqlite")
        ).scalar()

    def total(name: str) -> int:
        return sum(int(getattr(row, name)) for row in rows)

    by_model = [
        ModelUsage(
            row.model, int(row.requests), int(row.failed), *(int(getattr(row, name)) for name in _SUMMED)
        )
        for row in rows
        if row.model is not None
    ]
    return CycleUsage(
        cycle_start_us=start_us(cycle),
        cycle_end_us=start_us(following),
        credits_allotment=org.credits,
        credits=total("credits"),
        credits_reserved=int(reserved or 0),
        requests=total("requests"),
        failed=total("failed"),
        cost_nusd=total("cost_nusd"),
        by_model=tuple(sorted(by_model, key=lambda one: (-one.cost_nusd, -one.requests, one.model))),
    )
