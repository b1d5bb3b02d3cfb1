"""kill -9 under load, again and again, on one database: the callers' notes and the provider's log are
held against the ledger as the next start leaves it."""

import asyncio
import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.devices.gateway import ORG, Gateway, provider
from tests.devices.judge import judge
from tests.devices.load import MODEL, STOP, Caller, Load, Order, OrderedUpstream, Seen
from triptych.storage.secrets import KeyHasher, derive_key

# The end row is handed in, and what waits for it goes out at once; the commit comes a moment later.
END_ROW_AFTER_THE_LAST_BYTE = """
import asyncio, sys
from triptych.storage.ledger import Ledger

end = Ledger.end

def late(self, *what):
    loop = asyncio.get_running_loop()
    loop.call_later(0.3, lambda: end(self, *what).add_done_callback(lambda done: done.exception()))
    claimed = loop.create_future()
    claimed.set_result(True)
    return claimed

Ledger.end = late
from triptych.cli import main
sys.exit(main())
"""
# The provider is called before the start row is committed.
START_ROW_AFTER_THE_CALL = """
import asyncio, sys
from triptych.storage.ledger import Ledger

open_row = Ledger.open
end = Ledger.end

def late(self, opened):
    loop = asyncio.get_running_loop()
    loop.call_later(0.3, lambda: open_row(self, opened).add_done_callback(lambda done: done.exception()))
    claimed = loop.create_future()
    claimed.set_result(None)
    return claimed

async def wait_then_end(self, *what):
    await asyncio.sleep(0.4)
    return await end(self, *what)

Ledger.open = late
Ledger.end = lambda self, *what: asyncio.ensure_future(wait_then_end(self, *what))
from triptych.cli import main
sys.exit(main())
"""


class Rounds:
    """Starts, loads and kills gateways on one folder, and keeps everything that was seen."""

    def __init__(self, folder: Path, upstream: OrderedUpstream) -> None:
        self.folder = folder
        self.upstream = upstream
        self.seen: list[Seen] = []
        self.random = random.Random(4711)
        self._count = 0

    def gateway(self, *, durability: str = "process", preload: str | None = None) -> Gateway:
        toml = f'[ledger]\ndurability = "{durability}"\n{ORG}{provider(self.upstream.base_url, MODEL)}'
        return Gateway(toml, folder=self.folder, preload=preload)

    def run(self, gateway: Gateway) -> None:
        """One life: start, check what the last one left, load, kill."""
        gateway.start()
        assert gateway.rows("ended_us IS NULL") == []
        self._count += 1
        load = Load(gateway.port, f"round{self._count}")
        asyncio.run(self._load_and_kill(gateway, load))
        self.seen += load.seen

    async def _load_and_kill(self, gateway: Gateway, load: Load) -> None:
        running = asyncio.ensure_future(load.run())
        await asyncio.sleep(self.random.uniform(0.15, 0.7))
        # A busy machine needs longer until there is something to be lost.
        while not running.done() and not load.busy:
            await asyncio.sleep(self.random.uniform(0, 0.05))
        process = gateway.process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        gateway.process = None
        async with asyncio.timeout(60):
            await running

    def rows(self) -> list[dict[str, Any]]:
        """The ledger after one more, quiet life."""
        with self.gateway() as gateway:
            rows = gateway.rows()
            assert gateway.stop() == 0
        return rows

    def hash_of(self) -> Callable[[str], str]:
        return hash_of(bytes.fromhex((self.folder / "triptych.key").read_text().strip()))


def hash_of(master: bytes) -> Callable[[str], str]:
    """How the ledger keeps a caller's tag, which travels as ``metadata.user_id``."""
    hasher = KeyHasher(derive_key(master, "end-users"))
    return lambda tag: hasher.hash(tag.encode()).hex()


@pytest.fixture
def rounds(tmp_path: Path) -> Iterator[Rounds]:
    with OrderedUpstream() as upstream:
        yield Rounds(tmp_path, upstream)


def kill_and_judge(rounds: Rounds, count: int) -> None:
    for number in range(count):
        rounds.run(rounds.gateway(durability="strict" if number % 4 == 3 else "process"))
    rows = rounds.rows()
    verdict = judge(rounds.seen, rounds.upstream.orders(), rows, rounds.hash_of())
    assert not verdict, str(verdict)
    # A round in which nothing ran proves nothing.
    assert sum(call.finished for call in rounds.seen) > 20 * count
    endings = [row["ending"] for row in rows]
    assert endings.count("interrupted") >= count
    assert endings.count("cancelled") >= count // 2
    # The provider answered every call well: nothing may have failed.
    assert [row for row in rows if row["ending"] not in ("completed", "interrupted", "cancelled")] == []


def test_a_killed_gateway_loses_and_doubles_nothing_that_a_caller_saw_finished(rounds: Rounds) -> None:
    kill_and_judge(rounds, 5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_kills_lose_and_double_nothing(rounds: Rounds) -> None:
    kill_and_judge(rounds, 100)


def test_a_build_that_sends_the_last_byte_before_the_end_row_is_caught(rounds: Rounds) -> None:
    rounds.run(rounds.gateway(preload=END_ROW_AFTER_THE_LAST_BYTE))
    verdict = judge(rounds.seen, rounds.upstream.orders(), rounds.rows(), rounds.hash_of())
    assert verdict.lost
    assert not verdict.unrecorded


def test_a_build_that_calls_the_provider_before_the_start_row_is_caught(rounds: Rounds) -> None:
    rounds.run(rounds.gateway(preload=START_ROW_AFTER_THE_CALL))
    verdict = judge(rounds.seen, rounds.upstream.orders(), rounds.rows(), rounds.hash_of())
    assert verdict.unrecorded


def test_the_judge_tells_every_kind_of_mistake() -> None:
    order = Order("tag", True, 1, 0, 11, 22)
    call = Seen(order, sent=True, request_id="req_01A", status=200, body=bytearray(STOP), whole=True)
    row: dict[str, Any] = {
        "id": "01A",
        "ended_us": 1,
        "ending": "completed",
        "status": 200,
        "failure_kind": None,
        "client_user_hash": "#tag",
        "usage_source": "provider",
        "input_tokens": 11,
        "output_tokens": 22,
        "cost_nusd": 11 * 3_000 + 22 * 15_000,
        "stream": 1,
    }

    def mistakes(*rows: dict[str, Any], calls: tuple[Seen, ...] = (call,)) -> set[str]:
        verdict = judge(calls, [order], rows, lambda tag: "#" + tag)
        assert bool(verdict) is any(vars(verdict).values())
        return {name for name, tags in vars(verdict).items() if tags}

    assert mistakes(row) == set()
    assert mistakes() == {"lost", "unrecorded"}
    assert mistakes({**row, "ending": "interrupted", "status": 0, "failure_kind": "interrupted"}) == {"lost"}
    assert mistakes({**row, "ending": "interrupted"}) == {"lost", "odd"}
    assert mistakes({**row, "output_tokens": 21}) == {"wrong"}
    assert mistakes({**row, "cost_nusd": 0}) == {"wrong"}
    assert mistakes(row, {**row, "id": "01B"}) == {"doubled"}
    assert mistakes({**row, "ended_us": None, "ending": None}) == {"still_open", "lost"}
    assert mistakes(row, {**row, "id": "01B", "client_user_hash": "#other"}) == {"invented"}
    assert mistakes(calls=()) == {"unrecorded"}


@pytest.mark.postgres
@pytest.mark.slow
def test_on_postgresql_another_node_settles_what_a_killed_or_frozen_node_left_open(
    tmp_path: Path, postgresql: tuple[str, Any]
) -> None:
    """Within the lost node's lease (10 s) and the next look for orphans (5 s). The frozen node comes
    back and is too late: its caller must not see finished what the ledger calls interrupted."""
    url, connection = postgresql
    master = os.urandom(32)
    with OrderedUpstream() as upstream, ExitStack() as running:
        toml = (
            f'[secrets]\nmaster_key = "{master.hex()}"\n[ledger]\ndurability = "process"\n'
            f"{ORG}{provider(upstream.base_url, MODEL)}"
        )

        def node(name: str) -> Gateway:
            (tmp_path / name).mkdir()
            return Gateway(toml, folder=tmp_path / name, storage_url=url)

        other, frozen = running.enter_context(node("other")), running.enter_context(node("frozen"))
        killed = node("killed").start()
        assert frozen.process is not None
        late = Order("late", stream=True, deltas=20, pause_ms=50, input_tokens=5, output_tokens=6)
        load, beside = Load(killed.port, "killed"), Load(other.port, "beside", callers=3)
        lost_s = time.monotonic()

        async def lose_two_nodes() -> Seen:
            work = asyncio.ensure_future(beside.run())
            patient = Caller(frozen.port)
            waiting = asyncio.ensure_future(patient.call(late))
            while late not in upstream.orders():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # the stream has begun
            frozen.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
            await Rounds(tmp_path, upstream)._load_and_kill(killed, load)
            await asyncio.sleep(0.5)
            beside.stop()
            async with asyncio.timeout(30):
                await work
                await asyncio.to_thread(until_settled)
                frozen.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
                seen = await waiting
            patient.close()
            return seen

        def until_settled() -> None:
            orphans = "SELECT count(*) FROM exchanges WHERE ended_us IS NULL"
            assert connection.execute(orphans).fetchone()[0] > 1
            while connection.execute(orphans).fetchone()[0]:
                assert time.monotonic() - lost_s < 22
                time.sleep(0.2)
            assert time.monotonic() - lost_s > 3  # a node that is only slow is not robbed

        too_late = asyncio.run(lose_two_nodes())
        assert b"event: error\n" in too_late.body
        assert STOP not in too_late.body
        assert other.stop() == frozen.stop() == 0
        cursor = connection.execute("SELECT * FROM exchanges")
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, values, strict=True)) for values in cursor]
        verdict = judge([*load.seen, *beside.seen, too_late], upstream.orders(), rows, hash_of(master))
        assert not verdict, str(verdict)
        assert all(call.finished or call.left for call in beside.seen)
        of_late = [row for row in rows if row["id"] == too_late.request_id.removeprefix("req_").upper()]
        assert [row["ending"] for row in of_late] == ["interrupted"]


@pytest.fixture
def postgresql() -> Iterator[tuple[str, Any]]:
    """A schema of its own: the URL for the gateway, and a connection to look."""
    base = os.environ.get("TRIPTYCH_TEST_POSTGRES_URL")
    if not base:
        pytest.skip("kill -9 on PostgreSQL is NOT tested: TRIPTYCH_TEST_POSTGRES_URL is not set")
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
