"""An answer that is kept under an idempotency key, in the transaction of a context, is made once: the one
that is kept is the one that is given."""

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from triptych.core.emotion import Emotion
from triptych.core.exchange import Exchange
from triptych.core.principal import Principal, RequestLimits
from triptych.core.response import Response
from triptych.storage.contexts import Context, UserMessage
from triptych.surfaces.emotion.analysis import Analyses, Engines
from triptych.surfaces.emotion.chat import CompleteChat
from triptych.surfaces.emotion.dialect import EmotionDialect
from triptych.surfaces.emotion.scoring import Analysed

CALM = Emotion((0.1,) * 6, 0.0, 0.0, 0.0)
KEPT = Context(1, 2, 1, CALM, (UserMessage(CALM),))


class Once:
    """Keeps what it is given, as the store of idempotency keys does."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    async def take(self, stream: bool) -> Response | None:
        return None

    def answered_in(self, connection: Any, answer: Response) -> None:
        self.kept.append(answer.body)


class Surroundings:
    """What an answer of this surface is made of; notes how often the costly part is asked for."""

    def __init__(self) -> None:
        self.courses = 0

    async def score(self, texts: Sequence[str]) -> Analysed:
        return Analysed([CALM] * len(texts), len(texts))

    async def append(self, principal: Any, context_id: bytes, said: Any, also: Any) -> Context:
        also(None, KEPT)
        return KEPT

    def check(self, exchange: Exchange) -> None: ...
    def count(self, exchange: Exchange, tokens: int) -> None: ...

    def trajectory(self, messages: Sequence[UserMessage]) -> dict[str, Any]:
        self.courses += 1
        return {"asked": self.courses}

    @property
    def engines(self) -> Engines:
        mode = SimpleNamespace(mode="m", confidence=1.0, strategy="s")
        own: Any = self
        return Engines(own, own, own, self.trajectory, lambda text, emotion, state: mode)


def exchange(once: Any, body: dict[str, Any]) -> Exchange:
    limits = RequestLimits()
    made = Exchange(
        id="01J9Z8Q5R7T3V1X0Y2W4A6B8C0",
        surface="emotion",
        endpoint="analysis",
        principal=Principal("ORG", "org", "ANA", "KEY", frozenset(), "live", (), limits, limits, limits),
        headers=[],
        query=b"",
        body=json.dumps(body).encode(),
        started_us=1,
        received_s=0.0,
    )
    made.once = once
    return made


@pytest.mark.parametrize("keyed", [True, False])
def test_an_analysis_in_a_context(keyed: bool) -> None:
    around, once = Surroundings(), Once()
    asked = exchange(
        once if keyed else None, {"model": "emotion-v2", "messages": [{"role": "user", "content": "x"}]}
    )
    answer = asyncio.run(Analyses(around.engines).analyse(asked, (b"c",), EmotionDialect()))
    assert around.courses == 1
    assert once.kept == [answer.body] * keyed
    assert json.loads(answer.body)["trajectory"] == {"asked": 1}
    assert asked.usage.input_tokens == 1


@pytest.mark.parametrize("keyed", [True, False])
def test_a_chat_in_a_context(keyed: bool) -> None:
    around, once = Surroundings(), Once()
    body = {"model": "m", "context_id": "c", "messages": [{"role": "user", "content": "x"}]}
    asked = exchange(once if keyed else None, body)
    said = json.dumps({"choices": [{"message": {"content": "y"}}], "usage": {"total_tokens": 1}}).encode()
    settlement: Any = SimpleNamespace(answer=Response(200, [], said), last_piece=b"")
    reply: Any = SimpleNamespace(text="")

    async def play() -> None:
        chat = CompleteChat(around.engines, reply)
        parsed = await chat._analyse_users(asked, chat.parse(asked))
        await chat._conclude(asked, parsed, settlement)

    asyncio.run(play())
    assert around.courses == 1
    assert once.kept == [settlement.answer.body] * keyed
    assert json.loads(settlement.answer.body)["trajectory"] == {"asked": 1}
