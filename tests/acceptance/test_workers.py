"""``serve --workers 3``: three processes behind one port, which count together."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.caller import Answer, Caller, ask
from tests.acceptance.test_budgets import SANDBOX, org, storm
from tests.acceptance.test_shared_budgets import database  # noqa: F401 - the fixture
from tests.devices.gateway import Gateway, message

WORKERS = 3
K = 101
pytestmark = [pytest.mark.postgres, pytest.mark.redis]


class Scene:
    def __init__(self, gateway: Gateway, connection: Any) -> None:
        self.gateway = gateway
        self.connection = connection

    @property
    def workers(self) -> list[int]:
        assert self.gateway.process is not None
        pid = self.gateway.process.pid
        return sorted(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def nodes(self) -> Counter[str]:
        """Exchanges by the node that ran them."""
        rows = self.connection.execute(
            "SELECT node_id, count(*) FROM exchanges WHERE ended_us IS NOT NULL GROUP BY 1"
        )
        return Counter(dict(rows.fetchall()))


def until(holds: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.fixture
def scene(tmp_path: Path, database: tuple[str, Any]) -> Iterator[Scene]:  # noqa: F811
    secrets = f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n'
    toml = secrets + org(f"rpd = {K}") + SANDBOX
    gateway = Gateway(toml, server=f"workers = {WORKERS}", folder=tmp_path, storage_url=database[0])
    with gateway:
        until(lambda: "3 workers serving on" in gateway.log)
        yield Scene(gateway, database[1])


def test_workers_share_a_port_count_together_and_are_replaced(scene: Scene) -> None:
    """One scene, for three processes take a while to start."""
    # A limit is exact over all of them, and all of them work.
    before = scene.workers
    assert len(before) == WORKERS
    statuses: Counter[int] = Counter()
    for (_, status), count in asyncio.run(storm(scene.gateway, 300)).items():
        statuses[status] += count
    assert statuses == {200: K, 429: 300 - K}
    # Refusals are written down within a second or two.
    until(lambda: len(scene.nodes()) == WORKERS)

    # One that is killed is replaced, and what the others run goes on.
    with Caller(scene.gateway) as caller:
        caller.send(message("plain", stream=True, messages=[{"role": "user", "content": "20 words"}]))
        assert caller.receive().status == 429, "the day's limit holds for all"
    victim = before[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(scene.workers) == WORKERS and victim not in scene.workers)
    assert set(before[1:]) < set(scene.workers)
    assert f"(pid {victim}) was killed by signal 9; another one is started" in scene.gateway.log
    until(lambda: ask(scene.gateway, message("plain")).status == 429)

    # Told to stop, they drain, and the exit code is that of a gateway that stopped well.
    assert scene.gateway.stop(signal.SIGTERM) == 0
    assert scene.gateway.log.count("draining") >= WORKERS - 1


UNREAD = """
import os, sys
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(writer, True)
os.dup2(writer, 2)
from triptych.cli import main
sys.exit(main())
"""
"""A program whose log goes into a pipe that is full, and that nobody reads."""


def test_a_log_that_nobody_reads_keeps_no_worker_from_being_replaced(
    tmp_path: Path,
    database: tuple[str, Any],  # noqa: F811
) -> None:
    toml = f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n' + org("") + SANDBOX
    gateway = Gateway(toml, server="workers = 2", folder=tmp_path, storage_url=database[0], preload=UNREAD)
    with gateway:
        scene = Scene(gateway, database[1])
        until(lambda: "2 workers serving on" in gateway.log)
        victim = scene.workers[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(scene.workers) == 2 and victim not in scene.workers)
        assert gateway.stop(signal.SIGTERM, limit_s=20.0) == 0


@pytest.mark.slow
def test_without_the_process_that_started_them_workers_end(scene: Scene) -> None:
    workers = scene.workers
    answer = Answer()
    with Caller(scene.gateway) as caller:
        caller.send(message("slow"))
        until(lambda: open_rows(scene) == 1)
        scene.gateway.kill()
        for _ in caller.pieces(answer):
            pass
    assert answer.status == 200, "what ran came to its end"
    assert len(workers) == WORKERS
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def open_rows(scene: Scene) -> int:
    found = scene.connection.execute("SELECT count(*) FROM exchanges WHERE ended_us IS NULL").fetchone()
    return int(found[0])
