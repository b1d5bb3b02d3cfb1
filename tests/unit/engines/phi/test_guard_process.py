"""The guard's process: loaded, asked, replaced."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.devices import rules
from triptych.core.failure import Failure
from triptych.core.policy import Filter
from triptych.engines.phi import guard as guard_module
from triptych.engines.phi.guard import Guard, GuardDown

RULES = (sys.executable, "-P", str(Path(rules.__file__)))


def body(text: str) -> bytes:
    return f'{{"messages":[{{"role":"user","content":"{text}"}}]}}'.encode()


def asked(guard: Guard, text: str | bytes) -> Coroutine[Any, Any, Any]:
    sent = text if isinstance(text, bytes) else body(text)
    return guard.inspect("o", "openai-chat", sent, query=b"", mode="redact", known={}, filters=())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_nothing_is_asked_of_a_guard_that_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "LOAD_LIMIT_S", 0.2)

    async def run() -> None:
        guard = Guard((*RULES, "never_ready"))
        assert not guard.started
        with pytest.raises(GuardDown, match="loaded"):
            await asked(guard, "x")
        assert guard.started and not guard.ready
        await asyncio.sleep(0.5)
        assert not guard.ready
        await guard.close()

    asyncio.run(run())


def test_large_and_small_texts_are_read_side_by_side_and_nothing_is_left_running() -> None:
    async def run() -> None:
        guard = Guard(RULES)
        guard.start()
        await until(lambda: guard.ready)
        process = guard._process
        assert process is not None
        large = "Ana Lima " + "and nobody else " * 50_000
        told = await asyncio.gather(*(asked(guard, text) for text in (large, "Bob", large, "Bob")))
        assert [one.counts["PERSON"] for one in told] == [1, 1, 1, 1]
        with pytest.raises(Failure, match="more than once"):
            await asked(guard, b'{"a":{"b":1,"b":2}}')
        await guard.close()
        assert process.returncode is not None
        assert not guard._waiting

    asyncio.run(run())


def test_the_recogniser_of_the_gateway_is_loaded_and_knows_an_org_s_own_terms() -> None:
    async def run() -> None:
        guard = Guard()
        guard.start()
        await until(lambda: guard.ready)
        filters = (Filter("project", "phrase", "project orion"),)
        told = await guard.inspect(
            "o",
            "openai-chat",
            body("The SSN of the patient is 123-45-6789, see Project  Orion."),
            query=b"",
            mode="redact",
            known={},
            filters=filters,
        )
        assert told.counts == {"CUSTOM": 1, "US_SSN": 1}
        assert b"is [US_SSN_1], see [CUSTOM_1]." in told.body
        await guard.close()

    asyncio.run(run())
