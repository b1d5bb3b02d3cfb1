"""Three nodes, one PostgreSQL, one Redis: what a budget admits is exact over all of them together."""

import asyncio
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.request import urlopen

import pytest

from tests.acceptance.caller import Caller, ask
from tests.acceptance.test_budgets import COST_NUSD, PATHS, SANDBOX, capped, org, storm
from tests.devices.gateway import LIVE_KEY, TEST_KEY, Gateway, message

NODES = 3
ADMITTED = 101
RPM = 12
pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture
def database() -> Iterator[tuple[str, Any]]:
    with schema() as made:
        yield made


@contextmanager
def schema() -> Iterator[tuple[str, Any]]:
    """A schema of its own: the URL for gateways, and a connection to look."""
    base = os.environ.get("TRIPTYCH_TEST_POSTGRES_URL")
    if not base or not os.environ.get("TRIPTYCH_TEST_REDIS_URL"):
        pytest.skip(
            "budgets of several nodes are NOT tested: TRIPTYCH_TEST_POSTGRES_URL or _REDIS_URL not set"
        )
    psycopg = pytest.importorskip("psycopg")
    name = f"triptych_{uuid.uuid4().hex}"
    with psycopg.connect(base, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {name}")
        admin.execute(f"SET search_path TO {name}")
        separator = "&" if "?" in base else "?"
        try:
            yield f"{base}{separator}options=-csearch_path%3D{name}", admin
        finally:
            admin.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture(scope="module")
def shared_database() -> Iterator[tuple[str, Any]]:
    with schema() as made:
        yield made


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, shared_database: tuple[str, Any]
) -> Iterator[list[Gateway]]:
    """Each test has an org of its own."""
    orgs = "".join(
        org(capped(cap_nusd))
        .replace('slug = "acme"', f'slug = "{slug}"')
        .replace(LIVE_KEY, key_of(slug))
        .replace(TEST_KEY, key_of(slug).replace("live", "test"))
        for slug, cap_nusd in (("race", ADMITTED * COST_NUSD + 1), ("kill", 3 * 10**9))
    )
    limited = org(f"rpm = {RPM}", capped(10**12))
    orgs += (
        limited.replace('slug = "acme"', 'slug = "once"')
        .replace(LIVE_KEY, key_of("once"))
        .replace(TEST_KEY, key_of("once").replace("live", "test"))
    )
    toml = f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n{orgs}{SANDBOX}'
    with ExitStack() as running:
        yield [
            running.enter_context(
                Gateway(toml, folder=tmp_path_factory.mktemp(f"node{n}"), storage_url=shared_database[0])
            )
            for n in range(NODES)
        ]


def key_of(slug: str) -> str:
    return LIVE_KEY.replace("acme", slug)


def sums(connection: Any, slug: str) -> tuple[int, int]:
    """Spent by the ledger's rows, and by the org's balance."""
    (org_id,) = connection.execute("SELECT id FROM orgs WHERE slug = %s", (slug,)).fetchone()
    rows = connection.execute(
        "SELECT coalesce(sum(cost_nusd), 0) FROM exchanges WHERE ended_us IS NOT NULL AND org_id = %s",
        (org_id,),
    )
    balance = connection.execute(
        "SELECT coalesce(sum(spent_nusd), 0) FROM balances WHERE scope_id = %s", (org_id,)
    )
    return int(rows.fetchone()[0]), int(balance.fetchone()[0])


def test_of_two_thousand_at_once_on_three_nodes_exactly_as_many_pass_as_the_budget_admits(
    nodes: list[Gateway], shared_database: tuple[str, Any]
) -> None:
    async def storms() -> list[Counter[tuple[str, int]]]:
        shares = (667, 667, 666)
        return await asyncio.gather(
            *(storm(node, count, key_of("race")) for node, count in zip(nodes, shares, strict=True))
        )

    statuses: Counter[int] = Counter()
    for counted in asyncio.run(storms()):
        for (_, status), count in counted.items():
            statuses[status] += count
    assert statuses[200] == ADMITTED, statuses
    assert statuses[402] + statuses[429] == 2_000 - ADMITTED, statuses
    assert sums(shared_database[1], "race") == (ADMITTED * COST_NUSD, ADMITTED * COST_NUSD)


def test_what_a_killed_node_held_is_charged_once_and_the_others_know_it(
    nodes: list[Gateway], shared_database: tuple[str, Any]
) -> None:
    """While it is open it stays held; settled, its estimated input is spent."""
    body = message("slow", max_tokens=1_000)
    estimate_nusd = len(body) // 4 * 1_000_000
    connection, key = shared_database[1], key_of("kill")
    doomed, other, third = nodes
    # Each holds a little more than 1 USD of 3.
    callers = [Caller(doomed) for _ in range(2)]
    for caller in callers:
        caller.send(body, key=key)
    opened = "SELECT count(*) FROM exchanges WHERE ended_us IS NULL"
    deadline_s = time.monotonic() + 30
    while connection.execute(opened).fetchone()[0] < 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    doomed.kill()
    for caller in callers:
        caller.close()
    refused = ask(other, body, key=key)
    assert refused.status == 402
    assert "held by running ones" in refused.json["error"]["message"]
    deadline_s = time.monotonic() + 25
    while connection.execute(opened).fetchone()[0]:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    assert sums(connection, "kill") == (2 * estimate_nusd, 2 * estimate_nusd)
    # The index learns of it from the node that settled them.
    cheap = PATHS["/v1/messages"]
    assert ask(other, cheap, key=key).status == 200
    deadline_s = time.monotonic() + 30
    while ask(third, message("exact", max_tokens=2_800), key=key).status != 200:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


def test_an_exchange_waits_for_redis_once_and_is_refused_as_a_request_first(nodes: list[Gateway]) -> None:
    """Whatever else is wrong with it. Every wire; stored responses wait twice."""
    node, key = nodes[1], key_of("once")
    spent = 0
    for path, body in PATHS.items():
        assert ask(node, body, path=path, key=key).status == 200
        spent += 1
        counts: list[int] = []
        # What a node hears of one that died before is a round trip too, of its upkeep: not every time.
        while len(counts) < 3 and (not counts or counts[-1] > 2):
            before = quiet_round_trips(node)
            assert ask(node, body, path=path, key=key).status == 200
            counts.append(quiet_round_trips(node) - before)
            spent += 1
        # The other one is the settlement, which nobody waits for.
        assert min(counts) <= 2, counts
    assert ask(node, message("nobody"), key=key).status == 400, "a refusal by the catalogue is a request"
    for _ in range(RPM - spent - 1):
        assert ask(node, b"{}", key=key).status == 400
    for body in (b"{}", message("nobody"), PATHS["/v1/messages"]):
        refused = ask(node, body, key=key)
        assert (refused.status, refused.header("anthropic-ratelimit-requests-remaining")) == (429, "0")


def quiet_round_trips(node: Gateway) -> int:
    """As ``round_trips``, once the settlement of what was asked before is among them."""
    count, before = round_trips(node), -1
    while count != before:
        time.sleep(0.3)
        count, before = round_trips(node), count
    return count


def round_trips(node: Gateway) -> int:
    with urlopen(node.url + "/metrics", timeout=5) as got:
        found = re.search(r"^triptych_limits_round_trips (\d+)", got.read().decode(), re.MULTILINE)
    assert found is not None
    return int(found[1])
