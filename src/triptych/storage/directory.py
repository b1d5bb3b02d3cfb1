"""Who may ask, as one frozen picture: every key by its hash, with all that decides about it.

Built from the database in one consistent read and then kept in memory; requests look keys up in a
dict. The strictest of key, user, group, org and plan is worked out here, once per change, not per
request. Everything about the directory can be imported from this module.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar, cast

import msgspec
from sqlalchemy import Connection, RowMapping, select

from triptych.core.admission import BudgetScope, Metering, RequestLimits
from triptych.core.clock import now_us
from triptych.core.cycle import cycle_of, day_of
from triptych.core.plans import EVALUATION, PLANS, Plan
from triptych.core.policy import Filter, Policy, guard_mode, strictest
from triptych.core.principal import SCOPES, Group, Principal
from triptych.storage.agreements import read_books
from triptych.storage.apply import apply_orgs
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.keys import IssuedKey, KeyRecord, create_key, list_keys, revoke_key
from triptych.storage.specs import Allowances, GroupSpec, KeySpec, OrgSpec, UserSpec
from triptych.storage.tables import api_keys, groups, orgs, user_groups, users
from triptych.storage.versions import read_version, version_of

__all__ = [
    "Allowances",
    "GroupSpec",
    "IssuedKey",
    "KeyEntry",
    "KeyRecord",
    "KeySpec",
    "OrgSpec",
    "Snapshot",
    "UserSpec",
    "apply_orgs",
    "create_key",
    "list_keys",
    "load_snapshot",
    "read_version",
    "revoke_key",
]


class KeyEntry(msgspec.Struct, frozen=True):
    """One key, revoked and expired ones included: telling them apart is the caller's business."""

    hash: bytes
    principal: Principal
    revoked_us: int | None
    """When the key, its user or its org was taken out of use."""
    expires_us: int | None
    until_us: int | None = None
    """When what the principal may do changes by itself: its org's agreement ends."""
    afterwards: Principal | None = None
    """The principal from then on."""


class Snapshot(msgspec.Struct, frozen=True):
    version: int
    by_hash: dict[bytes, KeyEntry]
    metering: Metering = Metering()

    @property
    def guarded(self) -> bool:
        """Whether anybody's texts are scanned."""
        return any(entry.principal.policy.guarded for entry in self.by_hash.values())


def load_snapshot(database: Database, baa_url: str | None = None) -> Snapshot:
    """The whole directory, as of one moment. ``baa_url``: what callers without an agreement are told.
    Raises StorageError."""
    moment_us = now_us()
    with database.read() as connection:
        version = version_of(connection)
        books = read_books(connection)
        org_rows = _by_id(connection.execute(select(orgs)).mappings())
        user_rows = _by_id(connection.execute(select(users)).mappings())
        memberships = _memberships(connection)
        policies: dict[str, tuple[frozenset[str], tuple[Filter, ...]]] = {
            org_id: (frozenset(_texts(row["features"])), _filters(row["dlp_filters"]))
            for org_id, row in org_rows.items()
        }
        key_rows = connection.execute(select(api_keys)).mappings().all()
        group_rows = (row for found in memberships.values() for _, row in found)
        metered_orgs = frozenset(
            [org_id for org_id, row in org_rows.items() if _budgeted(row)]
            + [row["org_id"] for row in (*user_rows.values(), *group_rows, *key_rows) if _budgeted(row)]
        )
        today = day_of(moment_us)
        agreements = {org_id: books.of(row, moment_us) for org_id, row in org_rows.items()}
        by_hash: dict[bytes, KeyEntry] = {}
        share = _Shared()
        for key in key_rows:
            org, user = org_rows[key["org_id"]], user_rows[key["user_id"]]
            member_of = memberships.get(key["user_id"], ())
            features, filters = policies[key["org_id"]]
            anchor_day = day_of(org["created_us"])
            budgets: tuple[BudgetScope, ...] = ()
            if org["id"] in metered_orgs:
                budgets = _budgets(key, user, org, member_of, cycle_of(anchor_day, today)[0], share)
            facts = _OrgFacts(features, filters, anchor_day, baa_url, share)
            agreement = agreements[org["id"]]
            entry = KeyEntry(
                hash=bytes(key["hash"]),
                principal=_principal(key, user, org, member_of, facts, budgets, agreement.status),
                revoked_us=_first(key["revoked_us"], user["removed_us"], org["removed_us"]),
                expires_us=key["expires_us"],
                until_us=agreement.until_us,
                afterwards=None
                if agreement.until_us is None
                else _principal(
                    key,
                    user,
                    org,
                    member_of,
                    facts,
                    budgets,
                    books.of(org, agreement.until_us).status,
                ),
            )
            by_hash[entry.hash] = entry
    free_orgs = frozenset(org_rows) - metered_orgs
    return Snapshot(version, by_hash, Metering(version, metered_orgs, free_orgs))


def org_ids(database: Database) -> list[str]:
    """Of all orgs, removed ones too. Raises StorageError."""
    with database.read() as connection:
        return list(connection.execute(select(orgs.c.id)).scalars())


_Value = TypeVar("_Value", bound=Hashable)


class _Shared:
    """Equal values are one object: with thousands of keys, what a request reads of its key's user and org
    is then in the processor's caches already."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Hashable] = {}

    def __call__(self, value: _Value) -> _Value:
        return cast("_Value", self._values.setdefault(value, value))


class _OrgFacts(msgspec.Struct, frozen=True):
    features: frozenset[str]
    filters: tuple[Filter, ...]
    anchor_day: int
    baa_url: str | None
    share: _Shared


def _principal(
    key: RowMapping,
    user: RowMapping,
    org: RowMapping,
    member_of: Sequence[tuple[Group, RowMapping]],
    facts: _OrgFacts,
    budgets: tuple[BudgetScope, ...],
    baa: str,
) -> Principal:
    plan = _plan(org)
    levels = (key, user, org, *(row for _, row in member_of))
    policy = Policy(
        compliance=org["compliance"],
        baa=baa,
        baa_url=facts.baa_url,
        evaluation=org["plan"] == EVALUATION,
        phi_mode=strictest(row["phi_mode"] for row in levels),
        filters=facts.filters,
        metered=any(_budgeted(row) for row in levels),
        premium_enabled=org["opus_enabled"],
        features=facts.features,
        context_ttl_s=org["context_ttl_s"],
        store_text=org["store_text"],
    )
    policy = msgspec.structs.replace(policy, phi_mode=guard_mode(policy, org["plan"]))
    share = facts.share
    return Principal(
        org_id=org["id"],
        org_slug=org["slug"],
        user_id=user["id"],
        key_id=key["id"],
        scopes=SCOPES if key["scopes"] is None else share(frozenset(_texts(key["scopes"]))),
        environment=share(key["environment"]),
        groups=share(tuple(group for group, _ in member_of)),
        # Exchanges at the same time are counted by key, whichever level says how many.
        key_limits=share(
            RequestLimits(
                rpm=_lowest(plan.key_rpm, key["rpm"]),
                rpd=_lowest(plan.key_rpd, key["rpd"]),
                tpm=key["tpm"],
                concurrency=_lowest(*(row["concurrency"] for row in levels)),
            )
        ),
        # A group's limit holds for each of its members.
        user_limits=share(
            RequestLimits(
                rpm=_lowest(user["rpm"], *(row["rpm"] for _, row in member_of)),
                rpd=_lowest(user["rpd"], *(row["rpd"] for _, row in member_of)),
                tpm=_lowest(user["tpm"], *(row["tpm"] for _, row in member_of)),
            )
        ),
        org_limits=share(
            RequestLimits(
                rpm=_lowest(plan.org_rpm, org["rpm"]),
                rpd=org["rpd"],
                tpm=_lowest(plan.org_tpm, org["tpm"]),
            )
        ),
        policy=share(policy),
        admin=user["admin"],
        sandbox_models=key["environment"] == "test" or org["demo"],
        budgets=budgets,
        cycle_anchor_day=facts.anchor_day,
        alert_thresholds=share(tuple(msgspec.json.decode(org["alert_thresholds"], type=list[int]))),
    )


def _budgeted(level: RowMapping) -> bool:
    return level["spend_cap_nusd"] is not None or level["credits"] is not None


def _budgets(
    key: RowMapping,
    user: RowMapping,
    org: RowMapping,
    member_of: Sequence[tuple[Group, RowMapping]],
    cycle: int,
    share: _Shared,
) -> tuple[BudgetScope, ...]:
    """All levels, those without a cap too: what they spent is known when they are given one."""
    levels = (("key", key), ("user", user), *(("group", row) for _, row in member_of), ("org", org))
    return tuple(
        share(BudgetScope(kind, row["id"], row["spend_cap_nusd"], row["credits"], cycle))
        for kind, row in levels
    )


def _memberships(connection: Connection) -> dict[str, list[tuple[Group, RowMapping]]]:
    """Per user id: the groups, by name, and their rows."""
    rows = _by_id(connection.execute(select(groups)).mappings())
    built = {
        group_id: Group(
            name=row["name"], models=frozenset(_texts(row["models"])), api_key_access=row["api_key_access"]
        )
        for group_id, row in rows.items()
    }
    found: dict[str, list[tuple[Group, RowMapping]]] = {}
    for member in connection.execute(
        select(user_groups).join(groups).order_by(user_groups.c.user_id, groups.c.name)
    ):
        found.setdefault(member.user_id, []).append((built[member.group_id], rows[member.group_id]))
    return found


def _plan(org: RowMapping) -> Plan:
    plan = PLANS.get(org["plan"])
    if plan is None:
        raise StorageError(
            f'The org "{org["slug"]}" has the plan {org["plan"]!r}, which this version of Triptych does '
            "not know. Apply a configuration with a known plan, or upgrade this node."
        )
    return plan


def _by_id(rows: Iterable[RowMapping]) -> dict[str, RowMapping]:
    return {row["id"]: row for row in rows}


def _texts(text: str) -> list[str]:
    return msgspec.json.decode(text, type=list[str])


def _filters(text: str) -> tuple[Filter, ...]:
    return tuple(msgspec.json.decode(text, type=list[Filter]))


def _lowest(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _first(*moments_us: int | None) -> int | None:
    return _lowest(*moments_us)
