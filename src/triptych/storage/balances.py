"""Balances, requests of the day, and alerts: what the endings of exchanges add up to.

They are written in the transaction of the end rows, and only for endings that changed a row, so that
a batch that is tried again after a commit of unknown outcome adds nothing twice. What a batch adds
is summed up first: however many exchanges of an org it ends, each of its scopes is one row.
"""

# ruff: noqa: S608 - the SQL is made of the schema's own names; every value is a parameter

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection

from triptych.core.clock import now_us
from triptych.core.hold import Charge
from triptych.core.ids import new_ulid

THRESHOLD_REACHED = "budget.threshold_reached"

Charged = tuple[Charge, int]
"""A charge, and for how many requests it stands."""

_MONEY = "scope_id, cycle, scope_kind, org_id, spent_nusd, credits_used, requests"
_MONEY_ADDED = (
    "ON CONFLICT (scope_id, cycle) DO UPDATE SET spent_nusd = balances.spent_nusd + excluded.spent_nusd, "
    "credits_used = balances.credits_used + excluded.credits_used, "
    "requests = balances.requests + excluded.requests"
)
_DAYS = "key_id, day, user_id, org_id, requests"
# A new day begins from zero; what ended after midnight and began before it is of no more use.
_DAYS_ADDED = (
    "ON CONFLICT (key_id) DO UPDATE SET requests = CASE "
    "WHEN excluded.day > request_days.day THEN excluded.requests "
    "WHEN excluded.day = request_days.day THEN request_days.requests + excluded.requests "
    "ELSE request_days.requests END, "
    "day = CASE WHEN excluded.day > request_days.day THEN excluded.day ELSE request_days.day END"
)
_EVENTS = "id, org_id, type, subject, created_us, details"

ADD_MONEY = f"INSERT INTO balances ({_MONEY}) VALUES (?, ?, ?, ?, ?, ?, ?) {_MONEY_ADDED}"
ADD_DAYS = f"INSERT INTO request_days ({_DAYS}) VALUES (?, ?, ?, ?, ?) {_DAYS_ADDED}"
ADD_EVENT = (
    f"INSERT INTO events ({_EVENTS}) SELECT ?, ?, ?, ?, ?, ? WHERE EXISTS "
    "(SELECT 1 FROM balances WHERE scope_id = ? AND cycle = ? AND spent_nusd >= ?) ON CONFLICT DO NOTHING"
)


class Additions:
    """What charges add up to, in the order in which rows must be locked: by scope."""

    __slots__ = ("days", "events", "money")

    def __init__(self, charges: Iterable[Charged]) -> None:
        money: dict[tuple[str, int], list[Any]] = {}
        days: dict[str, list[Any]] = {}
        alerts: dict[tuple[str, int, int], Row] = {}
        for charge, requests in charges:
            org_id, cycle, day = charge.org_id, charge.cycle, charge.day
            for kind, scope_id in charge.scopes:
                added = money.get((scope_id, cycle))
                if added is None:
                    money[scope_id, cycle] = [
                        scope_id, cycle, kind, org_id, charge.nusd, charge.credits, requests,
                    ]  # fmt: skip
                else:
                    added[4] += charge.nusd
                    added[5] += charge.credits
                    added[6] += requests
            if charge.counted is not None:
                key_id, user_id = charge.counted
                count = days.get(key_id)
                if count is None or count[1] < day:
                    days[key_id] = [key_id, day, user_id, org_id, requests]
                elif count[1] == day:
                    count[4] += requests
            for alert in charge.alerts:
                key = (alert.scope_id, cycle, alert.threshold)
                if key not in alerts:
                    alerts[key] = _event(charge, *key, alert.kind, alert.cap_nusd, alert.level_nusd)
        self.money = [money[key] for key in sorted(money)]
        """Rows of ADD_MONEY."""
        self.days = [days[key] for key in sorted(days)]
        """Rows of ADD_DAYS."""
        self.events = [alerts[key] for key in sorted(alerts)]
        """Rows of ADD_EVENT."""


Row = tuple[Any, ...]


def _event(
    charge: Charge, scope_id: str, cycle: int, threshold: int, kind: str, cap_nusd: int, level_nusd: int
) -> Row:
    details = {
        "scope": kind,
        "scope_id": scope_id,
        "cycle": cycle,
        "threshold": threshold,
        "cap_nusd": cap_nusd,
    }
    return (
        new_ulid(),
        charge.org_id,
        THRESHOLD_REACHED,
        f"{scope_id}/{cycle}/{threshold}",
        now_us(),
        msgspec.json.encode(details).decode(),
        scope_id,
        cycle,
        level_nusd,
    )


def add(connection: Connection, charges: Iterable[Charged]) -> None:
    """Add charges in the connection's transaction; for whoever is not the ledger."""
    additions = Additions(charges)
    for statement, rows in (
        (ADD_MONEY, additions.money),
        (ADD_DAYS, additions.days),
        (ADD_EVENT, additions.events),
    ):
        if rows:
            marked = statement if connection.dialect.name == "sqlite" else statement.replace("?", "%s")
            connection.exec_driver_sql(marked, [tuple(row) for row in rows])


# -- one statement for PostgreSQL ------------------------------------------------------------------

CHARGED = "id, org_id, user_id, key_id"
"""Columns of the rows that CHARGING follows."""

# Nobody completes the balances (``seeds.complete_balances``) while this runs, for it writes to the table they
# lock: either they find the row, or this finds the org in ``metered_orgs``.
CHARGING = (
    f"changed AS (SELECT {CHARGED} FROM ended UNION ALL SELECT {CHARGED} FROM whole), "
    "unbooked AS (SELECT changed.*, (v->>0)::bigint AS cycle, (v->>1)::bigint AS spent_nusd, "
    "(v->>2)::bigint AS credits_used, (v->>3)::bigint AS requests "
    "FROM changed CROSS JOIN LATERAL (SELECT %s::jsonb -> changed.id AS v) AS told "
    "JOIN metered_orgs USING (org_id) WHERE v IS NOT NULL), "
    f"charged ({_MONEY}) AS ("
    "SELECT v->>0, (v->>1)::bigint, v->>2, v->>3, (v->>4)::bigint, (v->>5)::bigint, (v->>6)::bigint "
    "FROM changed, jsonb_array_elements(%s::jsonb -> changed.id) v "
    "UNION ALL SELECT scope.id, cycle, kind, org_id, spent_nusd, credits_used, requests FROM unbooked, "
    "LATERAL (VALUES ('key', key_id), ('user', user_id), ('org', org_id)) AS scope (kind, id) "
    "UNION ALL SELECT groups.id, cycle, 'group', unbooked.org_id, spent_nusd, credits_used, requests "
    "FROM unbooked JOIN user_groups USING (user_id) JOIN groups ON groups.id = group_id "
    "WHERE groups.org_id = unbooked.org_id), "
    f"money AS (INSERT INTO balances ({_MONEY}) "
    "SELECT scope_id, cycle, min(scope_kind), min(org_id), sum(spent_nusd)::bigint, "
    "sum(credits_used)::bigint, sum(requests)::bigint FROM charged GROUP BY 1, 2 ORDER BY 1, 2 "
    f"{_MONEY_ADDED} RETURNING scope_id, cycle, spent_nusd), "
    f"counted AS (INSERT INTO request_days ({_DAYS}) SELECT DISTINCT ON (key_id) * FROM ("
    "SELECT v->>0 AS key_id, (v->>1)::bigint AS day, min(v->>2), min(v->>3), "
    "sum((v->>4)::bigint)::bigint "
    "FROM changed, jsonb_array_elements(%s::jsonb -> changed.id) v GROUP BY 1, 2) AS day_counts "
    f"ORDER BY key_id, day DESC {_DAYS_ADDED}), "
    f"told AS (INSERT INTO events ({_EVENTS}) "
    "SELECT v->>0, v->>1, v->>2, v->>3, (v->>4)::bigint, v->>5 "
    "FROM money, jsonb_array_elements(%s::jsonb -> money.scope_id) v "
    "WHERE (v->>7)::bigint = money.cycle AND money.spent_nusd >= (v->>8)::bigint ON CONFLICT DO NOTHING)"
)
"""Follows ``ended`` and ``whole``, which return CHARGED; parameters as of :func:`charging`."""

UNBOOKED_ORGS = "(SELECT array_agg(DISTINCT org_id) FROM unbooked)"
"""After CHARGING: orgs whose budgets were charged though who ended the exchange knew of none."""


def unbooked(charges: Mapping[str, Charged]) -> Iterator[tuple[str, Charge, int]]:
    """Exchange, charge and requests of what costs something and is on no balance."""
    for exchange_id, (charge, requests) in charges.items():
        if not charge.scopes and (charge.nusd or charge.credits):
            yield exchange_id, charge, requests


def charging(charges: Mapping[str, Charged]) -> tuple[str, str, str, str]:
    """What is unbooked, rows of ADD_MONEY and of ADD_DAYS by exchange, and of ADD_EVENT by scope, as JSON
    objects."""
    unforeseen = {
        exchange_id: (charge.cycle, charge.nusd, charge.credits, requests)
        for exchange_id, charge, requests in unbooked(charges)
    }
    money = {
        exchange_id: [
            (scope_id, charge.cycle, kind, charge.org_id, charge.nusd, charge.credits, requests)
            for kind, scope_id in charge.scopes
        ]
        for exchange_id, (charge, requests) in charges.items()
        if charge.scopes
    }
    days = {
        exchange_id: [(charge.counted[0], charge.day, charge.counted[1], charge.org_id, requests)]
        for exchange_id, (charge, requests) in charges.items()
        if charge.counted is not None
    }
    events: dict[str, list[Row]] = {}
    if any(charge.alerts for charge, _ in charges.values()):
        for row in Additions(charges.values()).events:
            events.setdefault(row[6], []).append(row)
    return _json(unforeseen), _json(money), _json(days), _json(events)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
