"""An org's own budget: what its people may change of it over the API, and where it stands.

Functions block and raise StorageError.
"""

from collections.abc import Mapping

import msgspec
from sqlalchemy import func, select, update

from triptych.core.clock import now_us
from triptych.core.cycle import cycle_of, day_of, start_us
from triptych.storage.admin_actions import Actor
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.org_changes import note_budget_change
from triptych.storage.tables import exchanges, orgs
from triptych.storage.versions import changing


class Budget(msgspec.Struct, frozen=True):
    spend_cap_nusd: int | None
    """None: no cap; 0: refuse all."""
    alert_thresholds: tuple[int, ...]
    """Percents of the cap, ascending."""
    opus_enabled: bool
    credits_allotment: int | None
    """None: unlimited. Set by whoever runs the installation."""
    spent_nusd: int
    """In the cycle that runs."""
    cycle_start_us: int
    cycle_end_us: int


class BudgetChange(msgspec.Struct, frozen=True):
    """What is to change; UNSET stays."""

    spend_cap_nusd: int | msgspec.UnsetType | None = msgspec.UNSET
    alert_thresholds: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    opus_enabled: bool | msgspec.UnsetType = msgspec.UNSET

    def columns(self) -> Mapping[str, object]:
        values = msgspec.structs.asdict(self)
        if self.alert_thresholds is not msgspec.UNSET:
            values["alert_thresholds"] = msgspec.json.encode(self.alert_thresholds).decode()
        return {name: value for name, value in values.items() if value is not msgspec.UNSET}


def read_budget(database: Database, org_id: str) -> Budget:
    with database.read() as connection:
        org = connection.execute(select(orgs).where(orgs.c.id == org_id)).mappings().first()
        if org is None:
            raise StorageError("The org is gone.")
        cycle, following = cycle_of(day_of(org["created_us"]), day_of(now_us()))
        spent = connection.execute(
            select(func.sum(exchanges.c.cost_nusd)).where(
                exchanges.c.org_id == org_id,
                exchanges.c.started_us >= start_us(cycle),
                exchanges.c.ended_us.is_not(None),
            )
        ).scalar()
    return Budget(
        spend_cap_nusd=org["spend_cap_nusd"],
        alert_thresholds=tuple(msgspec.json.decode(org["alert_thresholds"], type=list[int])),
        opus_enabled=org["opus_enabled"],
        credits_allotment=org["credits"],
        spent_nusd=int(spent or 0),
        cycle_start_us=start_us(cycle),
        cycle_end_us=start_us(following),
    )


def change_budget(database: Database, org_id: str, change: BudgetChange, actor: Actor) -> bool:
    """Whether anything was different before."""
    values = change.columns()
    with changing(database) as changed:
        org = changed.connection.execute(select(orgs).where(orgs.c.id == org_id)).mappings().first()
        if org is None:
            raise StorageError("The org is gone.")
        different = {name: value for name, value in values.items() if org[name] != value}
        if different:
            changed.connection.execute(update(orgs).where(orgs.c.id == org_id).values(**different))
            note_budget_change(changed.connection, actor, org_id, org, different)
            changed.changed = True
    return bool(different)
