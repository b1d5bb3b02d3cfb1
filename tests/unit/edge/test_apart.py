"""Work in another process: what it finds, how it refuses, and what becomes of a process that dies."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.edge import apart_works as works
from triptych.core.failure import Failure, FailureKind
from triptych.edge.apart import Apart


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(works.__file__).parents[3])
    running = Apart()
    yield running
    running.close()
    running.close()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def do(apart: Apart, work: Any, body: bytes = b"12345678", *arguments: Any) -> Any:
    async def ask() -> Any:
        return await apart(work, body, *arguments)

    return asyncio.run(ask())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_work_is_done_in_one_other_process(apart: Apart) -> None:
    (pid, size), body = do(apart, works.measure, b"x" * 20_000_000, 1_000_000)
    assert (size, body) == (20, None)
    assert pid != os.getpid()
    assert do(apart, works.measure, b"", 1) == ((pid, 0), None)


def test_a_body_that_was_made_comes_back(apart: Apart) -> None:
    assert do(apart, works.double, b"ab" * 2_000_000) == (None, b"ab" * 4_000_000)


def test_many_ask_at_once_and_each_gets_its_own(apart: Apart) -> None:
    async def ask() -> list[Any]:
        return await asyncio.gather(*(apart(works.measure, b"x" * n * 100_000, 100_000) for n in range(20)))

    assert [found[1] for found, _ in asyncio.run(ask())] == list(range(20))


def test_a_refusal_is_the_same_refusal_here(apart: Apart) -> None:
    with pytest.raises(Failure) as caught:
        do(apart, works.refuse)
    failure = caught.value
    assert (failure.kind, failure.message, failure.param) == (FailureKind.INVALID_BODY, "no", "messages[1]")
    assert (failure.details, failure.retry_after_s) == ({"size": 8}, 3)
    assert failure.headers == ((b"allow", b"GET"),)


def test_any_other_error_tells_its_class_and_nothing_of_the_body(apart: Apart) -> None:
    with pytest.raises(RuntimeError, match=r"^ValueError in the process for large bodies$"):
        do(apart, works.stumble, b"secret")
    assert do(apart, works.measure, b"12", 1)[0][1] == 2


def test_a_process_that_was_killed_is_replaced(apart: Apart) -> None:
    (pid, _), _ = do(apart, works.measure, b"", 1)
    os.kill(pid, signal.SIGKILL)
    (other, size), _ = do(apart, works.measure, b"x" * 5_000_000, 1)
    assert (size, other != pid) == (5_000_000, True)


def test_a_body_that_kills_the_process_twice_is_refused_and_the_next_is_read(apart: Apart) -> None:
    with pytest.raises(Failure) as caught:
        do(apart, works.die, b"x" * 3_000_000)
    assert caught.value.kind is FailureKind.SERVICE_UNAVAILABLE
    assert do(apart, works.measure, b"12", 1)[0][1] == 2


def test_secrets_of_the_environment_stay_here_and_output_is_no_answer(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_MASTER_KEY", "secret")
    (pid, _), _ = do(apart, works.measure, b"", 1)
    os.kill(pid, signal.SIGKILL)
    found, _ = do(apart, works.tell_environment)
    assert "PYTHONPATH" in found
    assert "TRIPTYCH_MASTER_KEY" not in found


def test_closing_ends_the_process_also_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(works.__file__).parents[3]))
    apart = Apart()
    (pid, _), _ = do(apart, works.measure, b"", 1)

    async def close_while_it_works() -> None:
        asked = asyncio.ensure_future(apart(time.sleep, b"", 60))  # type: ignore[arg-type]  # never answers
        asked.cancel()
        await asyncio.sleep(0)
        apart.close()

    asyncio.run(close_while_it_works())
    assert not alive(pid)
    with pytest.raises((Failure, RuntimeError)):
        do(apart, works.measure, b"", 1)
