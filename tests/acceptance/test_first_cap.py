"""Caps that are set, taken away and set again while two nodes serve: what the cycle has cost counts,
whether somebody had a cap then or not."""

import asyncio
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.caller import Caller, ask
from tests.acceptance.test_budgets import COST_NUSD, OUTPUT_TOKENS, SANDBOX, balance, capped, org
from tests.acceptance.test_shared_budgets import schema, sums
from tests.acceptance.test_shared_outages import one
from tests.devices.gateway import LIVE_KEY, Gateway, message
from triptych.cli import main

pytestmark = [pytest.mark.postgres, pytest.mark.redis]
# A change is noticed with the next look at the database, several a second.
NOTICED_S = 2.0
WORDS = 300
"""Of 20 ms each: a stream that is longer than it takes to notice a cap."""
BODY = message("exact", max_tokens=OUTPUT_TOKENS)


def configured(admits: int | None) -> str:
    """An org whose cap admits so many answers in a cycle; None: without a cap."""
    return org(*(() if admits is None else (capped(admits * COST_NUSD + COST_NUSD - 1),))) + SANDBOX


def asked(nodes: Sequence[Gateway], count: int) -> Counter[int]:
    """Statuses of so many requests, one after the other, by turns."""
    return Counter(asyncio.run(one(nodes[n % len(nodes)].port, LIVE_KEY))[0] for n in range(count))


@pytest.fixture
def shared(tmp_path: Path) -> Any:
    with schema() as (url, connection), ExitStack() as running:
        secrets = f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n'

        def start(name: str, admits: int | None) -> Gateway:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            return running.enter_context(
                Gateway(secrets + configured(admits), folder=folder, storage_url=url)
            )

        yield start, connection


def apply(node: Gateway, before: int | None, admits: int | None, noticed_s: float = NOTICED_S) -> None:
    text = node.config.read_text()
    changed = text.replace(configured(before), configured(admits))
    assert changed != text
    node.config.write_text(changed)
    assert main(("apply", str(node.config))) == 0
    time.sleep(noticed_s)


def test_a_cap_on_a_running_org_counts_what_the_cycle_has_cost(shared: Any) -> None:
    start, connection = shared
    nodes = [start("one", None), start("two", None)]
    assert asked(nodes, 5) == {200: 5}
    apply(nodes[0], None, 7)
    assert asked(nodes, 10) == {200: 2, 402: 8}
    apply(nodes[0], 7, None)
    assert asked(nodes, 3) == {200: 3}
    apply(nodes[0], None, 13)
    assert asked(nodes, 10) == {200: 3, 402: 7}
    apply(nodes[0], 13, 14)
    assert asked(nodes, 4) == {200: 1, 402: 3}
    assert sums(connection, "acme") == (14 * COST_NUSD, 14 * COST_NUSD)


@pytest.mark.slow
def test_caps_that_went_while_no_node_ran_count_all_when_they_come_again(shared: Any) -> None:
    start, connection = shared
    capped_node = start("capped", 7)
    assert asked([capped_node], 3) == {200: 3}
    capped_node.stop()
    free = start("free", None)
    assert asked([free], 3) == {200: 3}
    apply(free, None, 7)
    assert asked([free], 3) == {200: 1, 402: 2}
    assert sums(connection, "acme") == (7 * COST_NUSD, 7 * COST_NUSD)


def test_what_runs_when_the_first_cap_is_set_counts_when_it_ends(shared: Any) -> None:
    """On the node that runs it and on the other one; also when its caller leaves."""
    start, connection = shared
    nodes = [start("one", None), start("two", None)]
    running, left = started(nodes[0]), started(nodes[0])
    apply(nodes[0], None, 1)
    # The books are there before it ends.
    assert asked(nodes, 3) == {200: 1, 402: 2}
    left.close()
    with running:
        assert b"message_stop" in running.receive().body
    deadline_s = time.monotonic() + 20
    while connection.execute("SELECT count(*) FROM exchanges WHERE ended_us IS NULL").fetchone()[0]:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    charged, spent = sums(connection, "acme")
    assert charged == spent > (WORDS + 1) * 1_000_000
    for node in nodes:
        refused = ask(node, BODY)
        assert f"{charged / 1e9:g} of 0.015999999 USD" in refused.json["error"]["message"]


def test_what_ends_on_a_node_that_has_not_noticed_the_first_cap_counts(shared: Any) -> None:
    start, connection = shared
    nodes = [start("one", None), start("two", None)]
    stop = threading.Event()

    def go_on(node: Gateway) -> None:
        while not stop.is_set():
            ask(node, BODY)

    with ThreadPoolExecutor(4) as callers:
        done = [callers.submit(go_on, node) for node in (*nodes, *nodes)]
        time.sleep(0.5)
        apply(nodes[0], None, 1)
        stop.set()
        for one_done in done:
            one_done.result()
    charged, spent = sums(connection, "acme")
    assert charged == spent > 10 * COST_NUSD
    for node in nodes:
        refused = ask(node, BODY)
        assert f"{charged / 1e9:g} of 0.015999999 USD" in refused.json["error"]["message"]


def test_alone_too_what_is_asked_before_the_first_cap_is_noticed_counts(tmp_path: Path) -> None:
    secrets = f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n'
    with Gateway(secrets + configured(None), folder=tmp_path) as gateway:
        apply(gateway, None, 1, noticed_s=0)
        # The first of its org: it makes its books.
        assert ask(gateway, BODY).status == 200
        time.sleep(NOTICED_S)
        assert ask(gateway, BODY).status == 402
        (row,) = (row for row in gateway.settled_rows(2) if row["cost_nusd"])
        assert row["cost_nusd"] == balance(gateway)["spent_nusd"] == COST_NUSD


def test_alone_too_what_runs_when_the_first_cap_is_set_counts_when_it_ends(tmp_path: Path) -> None:
    secrets = f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n'
    with Gateway(secrets + configured(None), folder=tmp_path) as gateway:
        running = started(gateway)
        apply(gateway, None, 1)
        assert asked([gateway], 2) == {200: 1, 402: 1}
        with running:
            assert running.receive().status == 200
        rows = gateway.settled_rows(3)
        charged = sum(row["cost_nusd"] for row in rows)
        assert charged == balance(gateway)["spent_nusd"] > WORDS * 1_000_000
        assert f"{charged / 1e9:g} of 0.015999999 USD" in ask(gateway, BODY).json["error"]["message"]


def started(gateway: Gateway) -> Caller:
    """A stream that runs for a while, and has begun."""
    caller = Caller(gateway)
    said = [{"role": "user", "content": f"{WORDS} words"}]
    caller.send(message("exact", max_tokens=2 * WORDS, stream=True, messages=said))
    # Its first byte stays to be read.
    assert caller.socket.recv(1, socket.MSG_PEEK)
    return caller
