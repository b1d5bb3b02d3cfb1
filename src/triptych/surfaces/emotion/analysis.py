"""POST /v2/emotions/analysis, /v2/emotions/{context_id}/analysis and /v2/emotions/batch-analysis."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from triptych.core.emotion import EMOTION_MODEL, Emotion
from triptych.core.exchange import Exchange
from triptych.core.response import Response, json_response
from triptych.core.target import Model
from triptych.edge.decoding import inflate
from triptych.stages.settle import Dialect
from triptych.storage.contexts import Context, UserMessage
from triptych.surfaces.emotion.body import MAX_BODY_BYTES, read_analysis, read_batch
from triptych.surfaces.emotion.failures import error_member, request_id
from triptych.surfaces.emotion.keeping import ContextKeeping
from triptych.surfaces.emotion.quota import Quota, analysed
from triptych.surfaces.emotion.scoring import Analysed, Scoring
from triptych.wires.emotion_object import emotion_object

Trajectory = Callable[[Sequence[UserMessage]], Mapping[str, Any]]
"""User messages, oldest first, to what answers tell of their course."""


class Mode(Protocol):
    """How an answer might meet the user."""

    @property
    def mode(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def strategy(self) -> str: ...


ModeOf = Callable[[str, Emotion, Emotion | None], Mode]
"""Of the newest user message: its text, its emotion, and the state of the conversation if it is kept."""


class Engines(msgspec.Struct, frozen=True):
    """What measures, and where its results are kept and counted."""

    scoring: Scoring
    keeping: ContextKeeping
    quota: Quota
    trajectory: Trajectory
    mode_of: ModeOf


_MODEL = Model(EMOTION_MODEL, ())
_encode = msgspec.json.encode


class Analyses:
    def __init__(self, engines: Engines) -> None:
        self._scoring = engines.scoring
        self._keeping = engines.keeping
        self._quota = engines.quota
        self._trajectory = engines.trajectory

    async def analyse(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Stateless, or in the context that the path names. Raises Failure."""
        context_id = parameters[0] if parameters else None
        asked = read_analysis(read_body(exchange), context_id)
        exchange.model = _MODEL
        if exchange.once is not None and (known := await exchange.once.take(stream=False)) is not None:
            return known
        found = await self._analyse(exchange, [message.text for message in asked.messages])
        told = [
            emotion_object(emotion, message.text)
            for emotion, message in zip(found.emotions, asked.messages, strict=True)
        ]
        answer: dict[str, Any] = {
            "object": "emotions.analysis",
            "model": asked.model,
            # Of each role the last one.
            "emotions": {
                message.role: emotion for message, emotion in zip(asked.messages, told, strict=True)
            },
            "messages": [
                {
                    "index": message.index,
                    "externalId": message.external_id,
                    "role": message.role,
                    "emotions": emotion,
                }
                for message, emotion in zip(asked.messages, told, strict=True)
            ],
        }
        if context_id is None:
            return self._answer(exchange, dialect, answer, found.tokens)
        answer["metadata"] = {"context_id": context_id.decode()}
        said = [
            (message.role, message.external_id, message.text, emotion)
            for message, emotion in zip(asked.messages, found.emotions, strict=True)
        ]

        kept: list[Response] = []

        def told_in(context: Context) -> Response:
            course = self._trajectory(context.user_messages)
            return _told(exchange, dialect, {**answer, "trajectory": course}, found.tokens)

        def keep_answer(connection: Any, context: Context) -> None:
            # With what it tells of: a repeated request must not store it again.
            if exchange.once is not None:
                kept.append(told_in(context))
                exchange.once.answered_in(connection, kept[-1])

        context = await self._keeping.append(exchange.principal, context_id, said, keep_answer)
        self._count(exchange, found.tokens)
        return kept[-1] if kept else told_in(context)

    async def analyse_batch(
        self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect
    ) -> Response:
        """Every text on its own; a bad one fails alone. Raises Failure."""
        asked = read_batch(read_body(exchange))
        exchange.model = _MODEL
        if exchange.once is not None and (known := await exchange.once.take(stream=False)) is not None:
            return known
        good = [item.message for item in asked.items if item.message is not None]
        found = await self._analyse(exchange, [message.text for message in good])
        emotions = iter(found.emotions)
        shown_id = request_id(exchange.id)
        results: list[dict[str, Any]] = []
        for item in asked.items:
            result: dict[str, Any] = {"index": item.index, "externalId": item.external_id}
            if item.message is not None:
                result |= {"status": "ok", "emotions": emotion_object(next(emotions), item.message.text)}
            elif item.failure is not None:
                result |= {"status": "error", "error": error_member(item.failure, shown_id)}
            results.append(result)
        answer = {"object": "emotions.batch_analysis", "model": asked.model, "results": results}
        return self._answer(exchange, dialect, answer, found.tokens)

    async def _analyse(self, exchange: Exchange, texts: list[str]) -> Analysed:
        self._quota.check(exchange)
        return await self._scoring.score(texts) if texts else Analysed([], 0)

    def _answer(self, exchange: Exchange, dialect: Dialect, answer: dict[str, Any], tokens: int) -> Response:
        self._count(exchange, tokens)
        return _told(exchange, dialect, answer, tokens)

    def _count(self, exchange: Exchange, tokens: int) -> None:
        """What is answered is counted; what failed is not."""
        self._quota.count(exchange, tokens)
        exchange.usage = analysed(tokens)


def _told(exchange: Exchange, dialect: Dialect, answer: dict[str, Any], tokens: int) -> Response:
    body = _encode({**answer, "usage": {"analyse_tokens": tokens}})
    return json_response(200, body, dialect.answer_headers(exchange))


def read_body(exchange: Exchange) -> bytes:
    """The body as it was meant. Raises Failure PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_BODY."""
    return inflate(exchange.body, exchange.content_encoding, MAX_BODY_BYTES)
