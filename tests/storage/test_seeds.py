"""What an admission index is built from, and how an org's books come to be complete."""

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, select, text

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import running
from tests.storage.test_balances import balance, charged
from triptych.core.clock import now_us
from triptych.core.cycle import cycle_of, day_of, start_us
from triptych.core.hold import Booking, Charge
from triptych.core.outcome import Opened, Outcome
from triptych.storage import keyring
from triptych.storage.apply import apply_orgs
from triptych.storage.database import Database
from triptych.storage.keyring import KeyRing
from triptych.storage.nodes import Node
from triptych.storage.secrets import KeyHasher
from triptych.storage.seeds import SeedReader, forget_books
from triptych.storage.specs import GroupSpec, KeySpec, OrgSpec, UserSpec
from triptych.storage.tables import api_keys, groups, metered_orgs, orgs, users


class Acme:
    """An org with one key, and exchanges of it."""

    def __init__(self, database: Database, hasher: KeyHasher) -> None:
        self.database = database
        self.hasher = hasher

    def apply(self, *, concurrency: int | None = None, **allowances: Any) -> None:
        spec = OrgSpec(
            slug="acme",
            groups=(GroupSpec(name="g", models=("*",), api_key_access=True),),
            users=(UserSpec(name="ana", groups=("g",)),),
            keys=(KeySpec(name="k", user="ana", secret="s" * 20, concurrency=concurrency),),
            **allowances,
        )
        apply_orgs(self.database, self.hasher, [spec])
        with self.database.read() as connection:
            found = (
                connection.execute(select(table.c.id)).scalar_one()
                for table in (orgs, groups, users, api_keys)
            )
            self.org, self.group, self.user, self.key = found

    @property
    def scopes(self) -> tuple[tuple[str, str], ...]:
        return (("key", self.key), ("user", self.user), ("group", self.group), ("org", self.org))

    def start(self, **changes: object) -> Opened:
        names = {"org_id": self.org, "user_id": self.user, "key_id": self.key, "started_us": now_us()}
        return opened(**(names | changes))


@pytest.fixture
def acme(database: Database, hasher: KeyHasher) -> Acme:
    org = Acme(database, hasher)
    org.apply(spend_cap_nusd=10**12)
    return org


def cycle_now() -> int:
    today = day_of(now_us())
    return cycle_of(today, today)[0]


def test_a_seed_holds_balances_requests_of_today_and_open_rows(
    database: Database, node: Node, acme: Acme
) -> None:
    acme.apply(spend_cap_nusd=10**12, concurrency=4)
    today, cycle = day_of(now_us()), cycle_now()
    booking = msgspec.json.encode(Booking(cycle, acme.scopes, 10, 20, 30)).decode()
    ended = acme.start(booking=booking, hold_nusd=900, hold_credits=90)
    left_open = acme.start(booking=booking, hold_nusd=700, hold_credits=70)
    one = Charge(acme.org, 500, 50, cycle, acme.scopes, day=today, counted=(acme.key, acme.user))
    # So that its balances are known to be complete.
    SeedReader(database)(acme.org)

    async def live() -> None:
        async with running(database, node) as ledger:
            await ledger.open(ended)
            await ledger.open(left_open)
            await ledger.end(ended.id, charged(one), now_us())

    asyncio.run(live())
    seed = SeedReader(database)(acme.org)
    assert {(spent.kind, spent.id, spent.cycle, spent.nusd, spent.credits) for spent in seed.spent} == {
        (kind, scope_id, cycle, 500, 50) for kind, scope_id in acme.scopes
    }
    # One that ended, one that runs.
    counts = {(count.id, count.day): count.requests for count in seed.days}
    assert counts == {(acme.key, today): 2, (acme.user, today): 2, (acme.org, today): 2}
    (hold,) = seed.holds
    assert (hold.exchange_id, hold.nusd, hold.credits, hold.slots) == (left_open.id, 700, 70, (acme.key,))
    assert hold.budgets == tuple((kind, scope_id, cycle) for kind, scope_id in acme.scopes)


def test_what_older_versions_counted_by_key_user_and_org_is_neither_lost_nor_counted_twice(
    database: Database, acme: Acme
) -> None:
    today = day_of(now_us())
    counted = [
        (acme.key, "key", today, 4),
        ("another key of the org", "key", today, 3),
        (acme.user, "user", today, 6),
        (acme.org, "org", today, 20),
        ("an org that only counted keys", "key", today - 1, 5),
    ]
    with database.write() as connection:
        connection.execute(text("DROP TABLE request_days"))
        connection.execute(
            text(
                "CREATE TABLE request_days (scope_id TEXT CONSTRAINT pk_request_days PRIMARY KEY, "
                "scope_kind TEXT, org_id TEXT, day BIGINT, requests BIGINT)"
            )
        )
        connection.execute(text("CREATE INDEX ix_request_days_org_id ON request_days (org_id)"))
        connection.execute(
            text("INSERT INTO request_days VALUES (:scope, :kind, :org, :day, :requests)"),
            [
                {"scope": scope_id, "kind": kind, "org": acme.org, "day": day, "requests": requests}
                for scope_id, kind, day, requests in counted
            ],
        )
        connection.execute(text("UPDATE alembic_version SET version_num = '0010'"))
    database.migrate()
    seed = SeedReader(database)(acme.org)
    counts = {count.id: count.requests for count in seed.days if count.day == today}
    assert counts == {scope_id: requests for scope_id, _, day, requests in counted if day == today}


def test_a_process_that_counts_alone_learns_only_its_own_holds(
    database: Database, node: Node, acme: Acme
) -> None:
    booking = msgspec.json.encode(Booking(cycle_now(), acme.scopes)).decode()
    mine = acme.start(booking=booking, hold_nusd=1, hold_credits=1)

    async def live(of: Node) -> None:
        async with running(database, of) as ledger:
            await ledger.open(mine)

    asyncio.run(live(node))
    (hold,) = SeedReader(database, only=node)(acme.org).holds
    assert (hold.exchange_id, hold.slots) == (mine.id, ())
    assert SeedReader(database, only=Node("other", 1))(acme.org).holds == ()


def test_an_unknown_org_has_an_empty_seed(database: Database) -> None:
    seed = SeedReader(database)("NOBODY")
    assert (seed.spent, seed.days, seed.holds) == ((), (), ())


def test_the_first_cap_finds_what_the_cycle_has_cost_before_it(
    database: Database, node: Node, acme: Acme
) -> None:
    acme.apply()
    forget_books(database, frozenset())
    before = [acme.start() for _ in range(3)]
    earlier = acme.start(started_us=start_us(cycle_now()) - 1)

    async def live() -> None:
        async with running(database, node) as ledger:
            for start in (*before, earlier):
                await ledger.open(start)
                await ledger.end(start.id, outcome(cost_nusd=100, credits=7), now_us())

    asyncio.run(live())
    assert SeedReader(database)(acme.org).spent == ()
    acme.apply(credits=10**6)
    for _ in range(2):  # adding them up twice would be wrong
        seed = SeedReader(database)(acme.org)
        assert {(spent.id, spent.nusd, spent.credits) for spent in seed.spent} == {
            (scope_id, 300, 21) for _, scope_id in acme.scopes
        }


def test_a_gap_without_caps_is_made_good(database: Database, node: Node, acme: Acme) -> None:
    cycle = cycle_now()
    SeedReader(database)(acme.org)

    async def live(start: Opened, end: Outcome) -> None:
        async with running(database, node) as ledger:
            await ledger.open(start)
            await ledger.end(start.id, end, now_us())

    booked = Charge(acme.org, 40, 4, cycle, acme.scopes)
    asyncio.run(live(acme.start(), charged(booked)))
    acme.apply()
    forget_books(database, frozenset())
    asyncio.run(live(acme.start(), outcome(cost_nusd=100, credits=10)))
    acme.apply(spend_cap_nusd=10**9)
    seed = SeedReader(database)(acme.org)
    assert {(spent.nusd, spent.credits) for spent in seed.spent} == {(140, 14)}


def test_a_capped_group_that_nobody_is_in_makes_no_balances(
    database: Database, hasher: KeyHasher, node: Node, acme: Acme
) -> None:
    """Nobody's calls are booked then: balances that count as complete would have gaps."""

    def trial(*members: str) -> None:
        spec = OrgSpec(
            slug="acme",
            groups=(
                GroupSpec(name="g", models=("*",), api_key_access=True),
                GroupSpec(name="trial", spend_cap_nusd=1_000),
            ),
            users=(UserSpec(name="ana", groups=("g", *members)),),
            keys=(KeySpec(name="k", user="ana", secret="s" * 20),),
        )
        apply_orgs(database, hasher, [spec])

    trial()
    keys = KeyRing(database, node, exclusive=True)
    assert not SeedReader(database)(acme.org).metered  # the requests of its day are asked for

    async def live() -> None:
        async with running(database, node) as ledger:
            start = acme.start()
            await ledger.open(start)
            await ledger.end(start.id, outcome(cost_nusd=900, credits=7), now_us())

    asyncio.run(live())
    trial("trial")
    keys.refresh()
    seed = SeedReader(database)(acme.org)
    assert {spent.nusd for spent in seed.spent if spent.id == acme.org} == {900}
    assert {spent.nusd for spent in seed.spent if spent.kind == "group"} == {900}


def test_orgs_that_still_have_caps_keep_their_books(database: Database, acme: Acme) -> None:
    SeedReader(database)(acme.org)
    forget_books(database, frozenset({acme.org}))
    with database.read() as connection:
        assert connection.execute(select(metered_orgs.c.org_id)).scalars().all() == [acme.org]


def test_endings_beside_the_adding_up_are_counted_once(database: Database, node: Node, acme: Acme) -> None:
    """An ending is in the rows that are added up, or is added after them: never both, never neither."""
    cycle = cycle_now()
    starts = [acme.start() for _ in range(120)]

    async def live() -> None:
        async with running(database, node) as ledger:
            await asyncio.gather(*(ledger.open(start) for start in starts))
            reader = SeedReader(database)
            for place, start in enumerate(starts):
                one = Charge(acme.org, 3, 1, cycle, acme.scopes)
                ending = ledger.end(start.id, charged(one), now_us())
                if place % 10 == 5:
                    with database.write() as connection:
                        connection.execute(delete(metered_orgs))
                    await asyncio.to_thread(reader, acme.org)
                await ending

    asyncio.run(live())
    assert balance(database, acme.org, cycle) == (360, 120, 120)


def plan_of(database: Database, query: str) -> str:
    """How SQLite would run it."""
    if database.dialect_name != "sqlite":
        pytest.skip("PostgreSQL plans by its statistics")
    with database.read() as connection:
        return str(connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all())


def test_open_rows_are_found_by_their_index(database: Database, acme: Acme) -> None:
    query = "SELECT id FROM exchanges INDEXED BY ix_exchanges_open WHERE ended_us IS NULL AND org_id = 'x'"
    assert "ix_exchanges_open" in plan_of(database, query)


def test_rows_of_a_time_are_found_by_their_index(database: Database, acme: Acme) -> None:
    """Whoever adds up an org's cycle reads that time of the index, and of the rows the org's own."""
    query = (
        "SELECT sum(cost_nusd) FROM exchanges WHERE org_id = 'x' AND started_us >= 1 AND ended_us IS NOT NULL"
    )
    assert "ix_exchanges_started_us_org_id (started_us>?)" in plan_of(database, query)


def test_no_request_is_judged_without_caps_before_that_is_noted(
    database: Database, node: Node, acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what it costs would be missing when caps come again."""
    keys = KeyRing(database, node, exclusive=True)
    SeedReader(database)(acme.org)
    capped = keys.version
    acme.apply()
    with monkeypatch.context() as failing:
        failing.setattr(keyring, "forget_books", lambda *_: (_ for _ in ()).throw(OSError("away")))
        with pytest.raises(OSError, match="away"):
            keys.refresh()
    assert keys.version == capped
    keys.refresh()
    assert keys.version > capped
    assert not SeedReader(database)(acme.org).metered
    acme.apply(credits=1)
    assert SeedReader(database)(acme.org).metered
