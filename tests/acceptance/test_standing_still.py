"""A node that stands still between taking its hold and asking the provider: when it goes on, others may
have spent what it held. Then nothing leaves; exactly what the cap admits is ever asked of the provider."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.caller import Answer, ask
from tests.acceptance.test_budgets import capped, org
from tests.acceptance.test_shared_budgets import schema, sums
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import Gateway, message
from tests.devices.servers import RedisServer

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

SERVED = "\nfrom triptych.cli import main\nmain()\n"
STOPS = "import os, signal\n\ndef stop():\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
"""Where the node is to stand still, it stops itself, once for each exchange."""
BEFORE_THE_ROW = (
    STOPS
    + """
from triptych.storage.ledger import Ledger

opened = Ledger.open

def open(self, row):
    stop()
    return opened(self, row)

Ledger.open = open
"""
    + SERVED
)
AFTER_THE_ROW = (
    STOPS
    + """
from triptych.stages.relay import Relay

relay = Relay.__call__

async def call(self, *arguments):
    stop()
    await relay(self, *arguments)

Relay.__call__ = call
"""
    + SERVED
)
BETWEEN_TWO_TRIES = (
    STOPS
    + """
import asyncio
from triptych.stages import ask

class Stopping:
    def __getattr__(self, name):
        return getattr(asyncio, name)

    async def sleep(self, pause_s):
        stop()
        await asyncio.sleep(pause_s)

ask.asyncio = Stopping()
"""
    + SERVED
)
SLOW_GUARD = (
    """
import asyncio
from triptych.pipeline import Pipeline

depart = Pipeline._open

async def slowly(self, *arguments):
    open("holds", "w").close()
    await asyncio.sleep(5)
    await depart(self, *arguments)

Pipeline._open = slowly
"""
    + SERVED
)
LEASE_S = 2
OUTPUT_TOKENS = 1_000
# Only output has a price: what is held is far more than what an answer costs.
HELD_NUSD = OUTPUT_TOKENS * 1_000_000
BODY = message("m", max_tokens=OUTPUT_TOKENS)


class Scene:
    def __init__(self, still: Gateway, other: Gateway, upstream: FaultyUpstream, connection: Any) -> None:
        self.still = still
        self.other = other
        self.upstream = upstream
        self.connection = connection

    def outcomes(self) -> list[tuple[Any, ...]]:
        """Of exchanges that had a start row of their own: ending, kind of failure, cost."""
        query = (
            "SELECT ending, failure_kind, cost_nusd FROM exchanges WHERE failure_kind IS DISTINCT FROM "
            "'budget_exceeded' ORDER BY started_us"
        )
        return list(self.connection.execute(query).fetchall())


@contextmanager
def scene(
    tmp_path: Path, preload: str, lease_s: float = LEASE_S, redis: str | None = None
) -> Iterator[Scene]:
    """Two nodes whose org can pay for one exchange at a time; ``preload`` is for the first."""
    with schema() as (url, connection), FaultyUpstream() as upstream:
        toml = (
            f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n[ledger]\nhold_lease_s = {lease_s}\n'
            + ("" if redis is None else f'[limits]\nurl = "{redis}"\n')
            + org(capped(HELD_NUSD + HELD_NUSD // 2))
            + f'[[providers]]\nname = "mock"\nkind = "anthropic"\nbase_url = "{upstream.base_url}"\n'
            + 'api_key = "k"\n[[models]]\nid = "m"\nprovider = "mock"\nprice = { input = 0, output = 1000 }\n'
        )
        for name in ("still", "other"):
            (tmp_path / name).mkdir()
        with (
            Gateway(toml, folder=tmp_path / "still", storage_url=url, preload=preload) as still,
            Gateway(toml, folder=tmp_path / "other", storage_url=url) as other,
        ):
            try:
                yield Scene(still, other, upstream, connection)
            finally:
                if still.process is not None:
                    still.process.send_signal(signal.SIGCONT)


def until(holds: Callable[[], object], limit_s: float = 40.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def stands_still(gateway: Gateway) -> bool:
    assert gateway.process is not None
    stat = Path(f"/proc/{gateway.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


@contextmanager
def asking(gateway: Gateway) -> Iterator[list[Answer]]:
    """One request, whose answer is there when the block is over."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(ask(gateway, BODY)))
    thread.start()
    try:
        yield answers
    finally:
        if gateway.process is not None and stands_still(gateway):
            gateway.process.send_signal(signal.SIGCONT)
        thread.join(60)


def is_told_to_come_again(answer: Answer) -> None:
    assert answer.status == 503, answer.body
    assert answer.header("retry-after") == "1"
    assert answer.json["error"]["type"] == "overloaded_error"
    assert "Nothing was sent" in answer.json["error"]["message"]


def test_a_node_that_stood_still_before_its_start_row_sends_nothing_that_others_could_have_spent(
    tmp_path: Path,
) -> None:
    with scene(tmp_path, BEFORE_THE_ROW) as nodes:
        with asking(nodes.still) as answers:
            until(lambda: stands_still(nodes.still))
            assert ask(nodes.other, BODY).status == 402
            nodes.upstream.enqueue("slow_first_byte:3")
            until(lambda: ask(nodes.other, BODY).status == 200)
        is_told_to_come_again(answers[0])
        assert len(nodes.upstream.requests) == 1
        until(lambda: len(nodes.outcomes()) == 2)
        spent = nodes.outcomes()[1][2]
        assert nodes.outcomes() == [("failed", "service_unavailable", 0), ("completed", None, spent)]
        assert sums(nodes.connection, "acme") == (spent, spent)
        # Nothing of it stays held.
        until(lambda: ask(nodes.other, BODY).status == 200, limit_s=10)


@pytest.mark.slow
@pytest.mark.parametrize("still", [AFTER_THE_ROW, BETWEEN_TWO_TRIES], ids=["first", "again"])
def test_a_node_that_stood_still_after_its_start_row_sends_nothing_once_it_was_taken_for_dead(
    tmp_path: Path, still: str
) -> None:
    with scene(tmp_path, still, lease_s=30) as nodes:
        if still is BETWEEN_TWO_TRIES:
            nodes.upstream.enqueue("error:500")
        with asking(nodes.still) as answers:
            until(lambda: stands_still(nodes.still))
            tries = len(nodes.upstream.requests)
            assert ask(nodes.other, BODY).status == 402
            until(lambda: nodes.outcomes() == [("interrupted", "interrupted", 0)])
            until(lambda: ask(nodes.other, BODY).status == 200)
        assert answers[0].status == 503
        assert answers[0].header("retry-after") == "1"
        assert len(nodes.upstream.requests) == tries + 1
        spent = nodes.outcomes()[1][2]
        assert nodes.outcomes() == [("interrupted", "interrupted", 0), ("completed", None, spent)]
        assert sums(nodes.connection, "acme") == (spent, spent)


@pytest.mark.slow
def test_an_exchange_that_takes_longer_than_a_lease_before_it_leaves_goes_on_while_its_node_lives(
    tmp_path: Path,
) -> None:
    with scene(tmp_path, SLOW_GUARD) as nodes:
        with asking(nodes.still) as answers:
            pass
        assert answers[0].status == 200


@pytest.mark.slow
def test_what_a_redis_that_came_back_empty_no_longer_knows_of_is_not_sent(tmp_path: Path) -> None:
    """It has no start row yet: the database does not know of it either, and others are admitted."""
    with RedisServer() as redis, scene(tmp_path, SLOW_GUARD, lease_s=30, redis=redis.url) as nodes:
        with asking(nodes.still) as answers:
            until((nodes.still.folder / "holds").exists)
            assert ask(nodes.other, BODY).status == 402
            redis.kill()
            redis.start()
            nodes.upstream.enqueue("slow_first_byte:8")
            until(lambda: ask(nodes.other, BODY).status == 200)
        is_told_to_come_again(answers[0])
        assert len(nodes.upstream.requests) == 1
