"""Three nodes, one PostgreSQL, one Redis: what a budget admits is exact over all of them together."""

import asyncio
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.caller import Caller, ask
from tests.acceptance.test_budgets import COST_NUSD, PATHS, SANDBOX, capped, org, storm
from tests.devices.gateway import Gateway, message

NODES = 3
pytestmark = [pytest.mark.postgres, pytest.mark.redis]

Nodes = Callable[..., list[Gateway]]


@pytest.fixture
def database() -> Iterator[tuple[str, Any]]:
    """A schema of its own: the URL for gateways, and a connection to look."""
    base = os.environ.get("TRIPTYCH_TEST_POSTGRES_URL")
    if not base or not os.environ.get("TRIPTYCH_TEST_REDIS_URL"):
        pytest.skip(
            "budgets of several nodes are NOT tested: TRIPTYCH_TEST_POSTGRES_URL or _REDIS_URL not set"
        )
    psycopg = pytest.importorskip("psycopg")
    schema = f"triptych_{uuid.uuid4().hex}"
    with psycopg.connect(base, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}")
        admin.execute(f"SET search_path TO {schema}")
        separator = "&" if "?" in base else "?"
        try:
            yield f"{base}{separator}options=-csearch_path%3D{schema}", admin
        finally:
            admin.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def nodes(tmp_path: Path, database: tuple[str, Any]) -> Iterator[Nodes]:
    with ExitStack() as running:
        master = os.urandom(32).hex()

        def start(toml: str) -> list[Gateway]:
            started = []
            for number in range(NODES):
                folder = tmp_path / f"node{number}"
                folder.mkdir()
                secrets = f'[secrets]\nmaster_key = "{master}"\n'
                node = Gateway(secrets + toml, folder=folder, storage_url=database[0])
                started.append(running.enter_context(node))
            return started

        yield start


def sums(connection: Any) -> tuple[int, int]:
    """Spent by the ledger's rows, and by the org's balance."""
    rows = connection.execute("SELECT coalesce(sum(cost_nusd), 0) FROM exchanges WHERE ended_us IS NOT NULL")
    balance = connection.execute("SELECT coalesce(sum(spent_nusd), 0) FROM balances WHERE scope_kind = 'org'")
    return int(rows.fetchone()[0]), int(balance.fetchone()[0])


@pytest.mark.parametrize("admitted", [101])
def test_of_two_thousand_at_once_on_three_nodes_exactly_as_many_pass_as_the_budget_admits(
    nodes: Nodes, database: tuple[str, Any], admitted: int
) -> None:
    started = nodes(org(capped(admitted * COST_NUSD + 1)) + SANDBOX)

    async def storms() -> list[Counter[tuple[str, int]]]:
        shares = (667, 667, 666)
        return await asyncio.gather(
            *(storm(node, count) for node, count in zip(started, shares, strict=True))
        )

    statuses: Counter[int] = Counter()
    for counted in asyncio.run(storms()):
        for (_, status), count in counted.items():
            statuses[status] += count
    assert statuses[200] == admitted, statuses
    assert statuses[402] + statuses[429] == 2_000 - admitted, statuses
    assert sums(database[1]) == (admitted * COST_NUSD, admitted * COST_NUSD)


def test_what_a_killed_node_held_is_charged_once_and_the_others_know_it(
    nodes: Nodes, database: tuple[str, Any]
) -> None:
    """While it is open it stays held; settled, its estimated input is spent."""
    body = message("slow", max_tokens=1_000)
    estimate_nusd = len(body) // 4 * 1_000_000
    started = nodes(org(capped(3 * 10**9)) + SANDBOX)
    doomed, other = started[0], started[1]
    # Each holds a little more than 1 USD of 3.
    callers = [Caller(doomed) for _ in range(2)]
    for caller in callers:
        caller.send(body)
    opened = "SELECT count(*) FROM exchanges WHERE ended_us IS NULL"
    deadline_s = time.monotonic() + 5
    while database[1].execute(opened).fetchone()[0] < 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    doomed.kill()
    for caller in callers:
        caller.close()
    refused = ask(other, body)
    assert refused.status == 402
    assert "held by running ones" in refused.json["error"]["message"]
    deadline_s = time.monotonic() + 25
    while database[1].execute(opened).fetchone()[0]:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    assert sums(database[1]) == (2 * estimate_nusd, 2 * estimate_nusd)
    # The index learns of it from the node that settled them.
    cheap = PATHS["/v1/messages"]
    assert ask(other, cheap).status == 200
    deadline_s = time.monotonic() + 5
    while ask(started[2], message("exact", max_tokens=2_800)).status != 200:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
