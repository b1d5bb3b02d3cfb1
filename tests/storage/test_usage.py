"""Sums over the ledger: equal to its rows to the last nano-USD, on both engines."""

import asyncio
import itertools
import random
from typing import Any

import pytest

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import rows, running
from triptych.core.cycle import start_us
from triptych.core.failure import FailureKind
from triptych.core.outcome import Ending, Outcome
from triptych.core.usage import Usage, UsageSource
from triptych.storage.apply import apply_orgs
from triptych.storage.database import Database
from triptych.storage.directory import list_keys, load_snapshot
from triptych.storage.nodes import Node
from triptych.storage.secrets import KeyHasher
from triptych.storage.specs import GroupSpec, KeySpec, OrgSpec, UserSpec
from triptych.storage.usage import GROUPINGS, UsageSum, usage_sums

DAY = 20_500


@pytest.fixture
def written(database: Database, node: Node, hasher: KeyHasher) -> list[dict[str, Any]]:
    """Two orgs with a key each, three models, three days; the rows as they are stored."""
    specs = [
        OrgSpec(
            slug=slug,
            groups=(GroupSpec(name="g", models=("*",), api_key_access=True),),
            users=tuple(UserSpec(name=name, groups=("g",)) for name in ("ana", "bob")),
            keys=(KeySpec(name="ci", user="ana", secret=f"secret-of-{slug}-0000"),),
        )
        for slug in ("acme", "zeta")
    ]
    apply_orgs(database, hasher, specs)
    principals = [entry.principal for entry in load_snapshot(database).by_hash.values()]
    lots = random.Random(3)
    starts = [
        opened(
            org_id=principal.org_id,
            user_id=principal.user_id,
            key_id=principal.key_id,
            model=model,
            started_us=start_us(DAY + day) + lots.randrange(86_400_000_000),
        )
        for principal, model, day, _ in itertools.product(principals, ("a", "b", None), range(3), range(4))
    ]

    async def live() -> None:
        async with running(database, node) as ledger:
            await asyncio.gather(*(ledger.open(start) for start in starts))
            for start in starts[:-1]:
                ledger.end(start.id, _outcome(lots), start.started_us + 1)
            refused = Outcome(Ending.REFUSED, 429, FailureKind.RATE_LIMITED)
            for _ in range(6):
                ledger.refuse(opened(org_id=principals[0].org_id, started_us=start_us(DAY)), refused, 1)

    asyncio.run(live())
    return [row._asdict() for row in rows(database).values()]


def _outcome(lots: random.Random) -> Outcome:
    usage = Usage(*(lots.randrange(10**6) for _ in range(5)), UsageSource.PROVIDER)
    ending = lots.choice([Ending.COMPLETED, Ending.COMPLETED, Ending.FAILED])
    return outcome(
        usage=usage,
        ending=ending,
        cost_nusd=lots.randrange(10**12),
        credits=lots.randrange(10**7),
        unpriced=lots.random() < 0.2,
    )


def total(sums: list[UsageSum], name: str) -> int:
    return sum(getattr(one, name) for one in sums)


@pytest.mark.parametrize("by", [(), *((one,) for one in GROUPINGS), ("org", "day"), ("key", "model", "day")])
def test_however_grouped_the_sums_are_those_of_the_rows(
    database: Database, written: list[dict[str, Any]], by: tuple[str, ...]
) -> None:
    ended = [row for row in written if row["ended_us"] is not None]
    assert len(ended) == len(written) - 1
    sums = usage_sums(database, by)
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "credits", "cost_nusd"):
        assert total(sums, name) == sum(row[name] for row in ended)
    assert total(sums, "requests") == sum(row["repeats"] for row in ended) == len(ended) + 5
    assert total(sums, "failed") == sum(row["repeats"] for row in ended if row["ending"] != "completed")
    assert total(sums, "unpriced") == sum(row["unpriced"] for row in ended)
    assert len({tuple(one.group.items()) for one in sums}) == len(sums)


def test_a_day_is_a_utc_day_and_both_ends_are_days(database: Database, written: list[dict[str, Any]]) -> None:
    sums = usage_sums(database, ("day",), since_us=start_us(DAY + 1), until_us=start_us(DAY + 2))
    (only,) = sums
    assert only.group == {"day": "2026-02-17"}
    expected = [row for row in written if row["started_us"] // 86_400_000_000 == DAY + 1 and row["ended_us"]]
    assert only.cost_nusd == sum(row["cost_nusd"] for row in expected)
    days = [one.group["day"] for one in usage_sums(database, ("day",))]
    assert days == ["2026-02-16", "2026-02-17", "2026-02-18"]


def test_one_org_is_told_apart_and_keys_of_one_name_too(
    database: Database, written: list[dict[str, Any]]
) -> None:
    sums = usage_sums(database, ("org", "key"), org="zeta")
    assert [one.group["org"] for one in sums] == ["zeta"]
    keys = {f"ci (key_{record.id})" for record in list_keys(database, None)}
    assert {one.group["key"] for one in usage_sums(database, ("key",)) if one.cost_nusd} == keys


def test_the_most_expensive_comes_first(database: Database, written: list[dict[str, Any]]) -> None:
    costs = [one.cost_nusd for one in usage_sums(database, ("org", "model"))]
    assert costs == sorted(costs, reverse=True)
