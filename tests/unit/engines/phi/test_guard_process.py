"""The guard's process: loaded, asked, replaced."""

import asyncio
import io
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.devices import rules
from triptych.core.failure import Failure
from triptych.core.finding import Finding
from triptych.core.policy import Filter
from triptych.engines.phi import guard as guard_module
from triptych.engines.phi.guard import Guard, GuardDown
from triptych.engines.phi.inspect import Asked
from triptych.engines.phi.job import HEAD_BYTES, Broken, Done, Job, Told, frame_bytes, framed, read_told
from triptych.engines.phi.worker import Worker

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


def test_half_of_a_pair_of_surrogates_in_a_value_ends_no_process() -> None:
    """Arguments that a provider cut inside an emoji: one caller's history must not take the guard from all."""

    async def run() -> None:
        guard = Guard(RULES)
        guard.start()
        await until(lambda: guard.ready)
        process = guard._process
        filters = (Filter("n", "literal", "A\ufffdna"),)
        said = json.dumps(json.dumps({"q": "A\ud83dna and Bob"}))
        for padding in ("", " " * 100_000):
            sent = f'{{"messages":[{{"role":"user","content":{said}}}]{padding}}}'.encode()
            told = await guard.inspect(
                "o", "openai-chat", sent, query=b"", mode="redact", known={}, filters=filters
            )
            assert told.values == {"[CUSTOM_1]": "A\ufffdna", "[PERSON_1]": "Bob"}
            assert b"[CUSTOM_1] and [PERSON_1]" in told.body
        assert guard._process is process and guard.ready
        await guard.close()

    asyncio.run(run())


def test_an_answer_that_cannot_be_told_breaks_its_own_request_only() -> None:
    class Odd:
        def scan(self, texts: Sequence[str], filters: Any = None, org: str = "") -> list[list[Finding]]:
            return [[Finding("A\ud83d", 0, 1, 1.0, "rule")] if "odd" in text else [] for text in texts]

    told = io.BytesIO()
    texts = ("odd", "even")
    jobs = [Job(number, "o", Asked("openai-chat", body(text))) for number, text in enumerate(texts)]
    Worker(Odd(), list, told).serve(io.BytesIO(b"".join(map(framed, jobs))))
    read: list[Told] = []
    left = told.getvalue()
    while left:
        end = HEAD_BYTES + frame_bytes(left[:HEAD_BYTES])
        read.append(read_told(left[HEAD_BYTES:end]))
        left = left[end:]
    _, broken, done = read
    assert broken == Broken(0, "UnicodeEncodeError")
    assert isinstance(done, Done) and done.number == 1
