"""One server per SQLite file; what a restart keeps; and a database that is away for a while."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import LIVE_KEY, ORG, Gateway, free_port, message, provider
from tests.devices.speaker import Answer, ask


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultyUpstream]:
    with FaultyUpstream() as device:
        yield device


@contextmanager
def write_lock(database: Path) -> Iterator[None]:
    """Somebody else writes, and does not finish."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=5)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def readiness(gateway: Gateway) -> tuple[int, dict[str, str]]:
    try:
        with urllib.request.urlopen(gateway.url + "/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)["components"]
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)["components"]


def assert_unavailable(answer: Answer) -> None:
    assert answer.status == 503
    assert answer.json["error"]["type"] == "overloaded_error"
    assert answer.headers["request-id"].startswith("req_")


def served_again(gateway: Gateway, config: Path) -> "subprocess.CompletedProcess[str]":
    """A second server, which must end by itself."""
    return subprocess.run(
        [sys.executable, *f"-m triptych serve --config {config} --port {free_port()}".split()],
        cwd=gateway.folder,
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_a_second_server_on_the_same_sqlite_file_is_refused_and_told_why(upstream: FaultyUpstream) -> None:
    with Gateway(ORG + provider(upstream.base_url, "m")) as gateway:
        second = served_again(gateway, gateway.config)
        assert second.returncode == 1
        assert gateway.process is not None
        said = second.stderr
        assert f"pid {gateway.process.pid}" in said
        assert str(gateway.database) in said
        assert "Stop it first" in said
        assert "Traceback" not in said
        # The first one goes on.
        assert ask(gateway.port, message("m")).status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have the lock file alone")
@pytest.mark.parametrize("behind", ["the lock file was deleted", "the file has another name"])
def test_a_second_server_is_refused_also_where_no_lock_file_tells_of_the_first(
    upstream: FaultyUpstream, behind: str, tmp_path: Path
) -> None:
    with Gateway(ORG + provider(upstream.base_url, "m")) as gateway:
        config, lock = gateway.config, gateway.folder / "triptych.db.lock"
        if behind == "the lock file was deleted":
            lock.unlink()
        else:
            link = tmp_path / "link.db"
            link.symlink_to(gateway.database)
            config = tmp_path / "second.toml"
            text = gateway.config.read_text().replace(str(gateway.database), str(link))
            assert str(link) in text
            config.write_text(text)
        second = served_again(gateway, config)
        assert second.returncode == 1
        assert "Another process already serves from" in second.stderr
        assert ask(gateway.port, message("m")).status == 200
        assert ask(gateway.port, message("m")).status == 200
        assert gateway.stop() == 0


def test_a_restart_keeps_keys_rows_and_port(upstream: FaultyUpstream) -> None:
    with Gateway(ORG + provider(upstream.base_url, "m")) as gateway:
        assert ask(gateway.port, message("m")).status == 200
        before = gateway.settled_rows(1)
        assert gateway.stop() == 0
        gateway.start()
        assert gateway.rows() == before
        assert ask(gateway.port, message("m")).status == 200
        assert ask(gateway.port, message("m"), key=LIVE_KEY + "x").status == 401
        after = gateway.settled_rows(2)
        assert after[0] == before[0]
        assert after[1]["key_id"] == before[0]["key_id"]
        assert after[1]["node_epoch"] == before[0]["node_epoch"] + 1


def test_a_lock_file_left_by_a_killed_server_does_not_stop_the_next(upstream: FaultyUpstream) -> None:
    with Gateway(ORG + provider(upstream.base_url, "m")) as gateway:
        assert (gateway.folder / "triptych.db.lock").exists()
        gateway.kill()
        gateway.start()
        assert ask(gateway.port, message("m")).status == 200


def test_a_database_that_cannot_be_written_refuses_before_the_provider_and_recovers_by_itself(
    upstream: FaultyUpstream,
) -> None:
    """Longer than the ledger waits (5 s): 503 with nothing sent; afterwards all is well again, and
    every call has its row."""
    with Gateway(ORG + provider(upstream.base_url, "m")) as gateway:
        assert ask(gateway.port, message("m")).status == 200
        sent = len(upstream.requests)
        with write_lock(gateway.database):
            started_s = time.monotonic()
            first = ask(gateway.port, message("m"), timeout_s=20)
            assert_unavailable(first)
            assert 1 < time.monotonic() - started_s < 18
            started_s = time.monotonic()
            later = [ask(gateway.port, message("m", stream=True), timeout_s=20) for _ in range(3)]
            for answer in later:
                assert_unavailable(answer)
            assert time.monotonic() - started_s < 18
            status, components = readiness(gateway)
            assert status == 503
            assert components["ledger"] != "ok" or components["database"] != "ok"
        assert len(upstream.requests) == sent

        deadline_s = time.monotonic() + 30
        while readiness(gateway)[0] != 200:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert ask(gateway.port, message("m")).status == 200
        by_id = {row["id"]: row for row in gateway.settled_rows(3, limit_s=10)}
        # Unlike a refusal before authentication, what was refused for want of a record has one
        # now - if the key could still be vouched for when it came.
        refused = by_id[first.headers["request-id"].removeprefix("req_")]
        assert (refused["status"], refused["failure_kind"]) == (503, "service_unavailable")
        assert refused["upstream_status"] is None
        assert all(row["ended_us"] is not None for row in by_id.values())
        assert gateway.stop() == 0


def test_a_short_write_lock_only_delays(upstream: FaultyUpstream) -> None:
    """What a backup or a migration does: waits, and nothing else."""
    with Gateway(ORG + provider(upstream.base_url, "fault-slow_first_byte:200")) as gateway:
        answers: list[Answer] = []
        body = message("fault-slow_first_byte:200")
        with write_lock(gateway.database):
            calls = [
                threading.Thread(target=lambda: answers.append(ask(gateway.port, body))) for _ in range(4)
            ]
            for call in calls:
                call.start()
            time.sleep(1.2)
            assert answers == []
        for call in calls:
            call.join(10)
        assert [answer.status for answer in answers] == [200] * 4
        assert [row["ending"] for row in gateway.settled_rows(4)] == ["completed"] * 4
