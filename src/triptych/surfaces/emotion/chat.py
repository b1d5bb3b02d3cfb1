"""POST /v2/chat/completions: a model's answer, and the emotions of both sides.

The call itself is one of the governed path like any other, on OpenAI's chat wire: every configured model
can be asked, and every policy holds. What is analysed is added when the answer is good.
"""

import time
from typing import Any

import msgspec

from triptych.core.emotion import Emotion
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response
from triptych.core.usage import Usage, all_tokens
from triptych.pipeline import Carriage
from triptych.stages.settle import Settlement
from triptych.storage.contexts import Context, UserMessage
from triptych.surfaces.emotion.analysis import Engines, read_body
from triptych.surfaces.emotion.body import MAX_BODY_BYTES
from triptych.surfaces.emotion.chat_body import ChatAsked, in_own_names, read_chat
from triptych.surfaces.emotion.chat_stream import EmotionReply
from triptych.surfaces.emotion.keeping import Said
from triptych.surfaces.emotion.scoring import Analysed
from triptych.surfaces.governed import Operation
from triptych.wires import openai_chat as chat_wire
from triptych.wires.emotion_object import emotion_object

PLAIN_TIMEOUT_S = 30.0
_NOTHING = Analysed([], 0)
_DONE = b"data: [DONE]"
_SILENCE = Emotion((0.0,) * 6, 0.0, 0.0, 0.0)
_encode = msgspec.json.encode


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []


_ANSWER = msgspec.json.Decoder(_Answer)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class CompleteChat(Operation):
    """One completion with its emotions, plain or streamed; made for one request."""

    wire = "openai-chat"
    path = "/v1/chat/completions"
    plain_timeout_s: float | None = PLAIN_TIMEOUT_S
    relays_query = False

    def __init__(self, engines: Engines, reply: EmotionReply) -> None:
        super().__init__(MAX_BODY_BYTES)
        self._reply = reply
        self._scoring = engines.scoring
        self._keeping = engines.keeping
        self._quota = engines.quota
        self._trajectory = engines.trajectory
        self._mode_of = engines.mode_of
        self.recall = self._analyse_users
        self.conclude = self._conclude

    def parse(self, exchange: Exchange) -> ChatAsked:
        return read_chat(read_body(exchange))

    def with_body(self, parsed: ChatAsked, body: bytes) -> chat_wire.ChatRequest:
        return chat_wire.with_body(parsed, body)

    def rewrite(self, parsed: ChatAsked, upstream_model: str) -> bytes:
        return chat_wire.rewrite_request(parsed, upstream_model)

    def carry(self, exchange: Exchange, parsed: ChatAsked, wires: frozenset[str]) -> Carriage | Response:
        try:
            return super().carry(exchange, parsed, wires)
        except Failure as failure:
            raise in_own_names(failure) from None

    def stream_meter(self, parsed: ChatAsked, request_bytes: int) -> chat_wire.ChatStream:
        return chat_wire.ChatStream(include_usage=False, request_bytes=request_bytes)

    def read_answer(self, parsed: ChatAsked, body: bytes, request_bytes: int) -> tuple[bytes, Usage]:
        _answer_text(body)  # an answer that says nothing in any choice is none
        return body, chat_wire.read_answer(body, request_bytes=request_bytes)

    async def _analyse_users(self, exchange: Exchange, parsed: ChatAsked) -> ChatAsked:
        """Before the model is asked: a stream tells of the user's emotions first. Raises Failure
        QUOTA_EXCEEDED, SERVICE_UNAVAILABLE."""
        self._quota.check(exchange)
        users = await self._scoring.score(parsed.user_texts) if parsed.user_texts else _NOTHING
        parsed = msgspec.structs.replace(parsed, users=users)
        if parsed.stream:
            self._reply.first = b'"emotions":' + _encode({"user": _user(parsed)})
        return parsed

    async def _conclude(self, exchange: Exchange, parsed: ChatAsked, settlement: Settlement) -> None:
        """Raises Failure: SERVICE_UNAVAILABLE, UPSTREAM_INVALID_RESPONSE."""
        users = parsed.users or _NOTHING
        answer = settlement.answer
        if answer is None:
            # What the provider's last event became is more than the end, on some wires.
            settlement.last_piece = self._reply.with_emotions(settlement.last_piece)
        text = self._reply.text if answer is None else _answer_text(answer.body)
        spoken = await self._scoring.score([text]) if text and not text.isspace() else _NOTHING
        tokens = users.tokens + spoken.tokens
        assistant = emotion_object(spoken.emotions[0], text) if spoken.emotions else None

        def extras_in(context: Context | None) -> dict[str, Any]:
            course = (
                [UserMessage(emotion) for emotion in users.emotions]
                if context is None
                else context.user_messages
            )
            return {
                "emotion_model": parsed.emotion_model,
                "emotions": {"user": _user(parsed), "assistant": assistant},
                "conversationMode": self._mode(parsed, users, None if context is None else context.state),
                "trajectory": self._trajectory(course),
            }

        kept: list[bytes] = []

        def keep_answer(connection: Any, context: Context) -> None:
            # With what it tells of: a repeated request must not say it again.
            if exchange.once is not None and answer is not None:
                kept.append(_extended(answer.body, extras_in(context), tokens, exchange))
                exchange.once.answered_in(connection, Response(answer.status, answer.headers, kept[-1]))

        context = None
        said = _said(parsed, users, text, spoken)
        if parsed.context_id is not None and said:
            context = await self._keeping.append(exchange.principal, parsed.context_id, said, keep_answer)
        self._quota.count(exchange, tokens)
        if answer is None:
            last = _last_chunk(self._reply, extras_in(context), _usage(exchange, tokens))
            before, done, after = settlement.last_piece.rpartition(_DONE)
            settlement.last_piece = before + last + done + after
        else:
            answer.body = kept[-1] if kept else _extended(answer.body, extras_in(context), tokens, exchange)

    def _mode(self, parsed: ChatAsked, users: Analysed, state: Emotion | None) -> dict[str, Any]:
        text, emotion = (parsed.user_texts[-1], users.emotions[-1]) if users.emotions else ("", _SILENCE)
        mode = self._mode_of(text, emotion, state)
        return {"mode": mode.mode, "confidence": round(mode.confidence, 4), "strategy": mode.strategy}


def _said(parsed: ChatAsked, users: Analysed, text: str, spoken: Analysed) -> list[Said]:
    """What is new of both sides."""
    said: list[Said] = [
        ("user", None, user_text, emotion)
        for user_text, emotion in zip(parsed.user_texts, users.emotions, strict=True)
    ]
    return said + [("assistant", None, text, emotion) for emotion in spoken.emotions]


def _user(parsed: ChatAsked) -> dict[str, Any] | None:
    """Of the newest user message; None: there is none."""
    users = parsed.users
    if users is None or not users.emotions:
        return None
    return emotion_object(users.emotions[-1], parsed.user_texts[-1])


def _answer_text(body: bytes) -> str:
    try:
        choices = _ANSWER.decode(body).choices
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from None
    if not choices:
        raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)
    message = choices[0].message
    return (message.content or "") if message is not None else ""


def _usage(exchange: Exchange, tokens: int) -> dict[str, int]:
    usage = exchange.usage
    prompt_tokens = all_tokens(usage) - usage.output_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt_tokens + usage.output_tokens,
        "analyse_tokens": tokens,
    }


def _extended(body: bytes, extras: dict[str, Any], tokens: int, exchange: Exchange) -> bytes:
    """The completion with what is ours; its other members stay as they were written."""
    told: dict[str, Any] = dict(_MEMBERS.decode(body))
    usage: dict[str, Any] = {}
    if "usage" in told:
        try:
            usage = dict(_MEMBERS.decode(told["usage"]))
        except msgspec.DecodeError:
            usage = {}
    return _encode({**told, **extras, "usage": {**usage, **_usage(exchange, tokens)}})


def _last_chunk(reply: EmotionReply, extras: dict[str, Any], usage: dict[str, int]) -> bytes:
    head = reply.head
    emotions = extras["emotions"]
    if reply.first is None:
        emotions = {"assistant": emotions["assistant"]}
    chunk = {
        "id": head.id,
        "object": "chat.completion.chunk",
        "created": int(time.time()) if head.created is None else head.created,
        "model": head.model,
        "choices": [],
        **extras,
        "emotions": emotions,
        "usage": usage,
    }
    return b"data: " + _encode(chunk) + b"\n\n"
