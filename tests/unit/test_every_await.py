"""Exactly one outcome: the governed path is broken at every place where it can be suspended."""

import asyncio
import json

import pytest

from tests.devices.script import (
    ListLedger,
    ListReply,
    ScriptedAnswer,
    ScriptedUpstream,
    ThrowAt,
    exchange,
    pipeline,
)
from triptych.core.call import Headers
from triptych.core.failure import Failure, FailureKind
from triptych.surfaces.inference.messages import MessagesDialect
from triptych.surfaces.messages import CreateMessage

BODY = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}
JSON_HEADERS: Headers = [(b"content-type", b"application/json")]
SSE_HEADERS: Headers = [(b"content-type", b"text/event-stream")]


def plain() -> ScriptedAnswer:
    body = {"id": "msg_1", "type": "message", "usage": {"input_tokens": 5, "output_tokens": 7}}
    return ScriptedAnswer(200, JSON_HEADERS, [json.dumps(body).encode()])


def busy() -> ScriptedAnswer:
    return ScriptedAnswer(529, JSON_HEADERS, [b'{"type":"error"}'])


def event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def stream() -> ScriptedAnswer:
    usage = {"input_tokens": 5, "output_tokens": 1}
    pieces: list[bytes | Failure] = [
        event("message_start", message={"id": "msg_1", "usage": usage}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hello"}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": " you"}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7}),
        event("message_stop"),
    ]
    return ScriptedAnswer(200, SSE_HEADERS, pieces)


def overloaded() -> ScriptedAnswer:
    """A stream that is given up before the first word."""
    pieces: list[bytes | Failure] = [
        event("message_start", message={"id": "msg_0", "usage": {"input_tokens": 5, "output_tokens": 1}}),
        event("error", error={"type": "overloaded_error", "message": "Busy."}),
    ]
    return ScriptedAnswer(200, SSE_HEADERS, pieces)


SCRIPTS = {
    "plain": (False, lambda: (ScriptedUpstream(plain), None)),
    "plain after two retries": (
        False,
        lambda: (ScriptedUpstream(busy, Failure(FailureKind.UPSTREAM_UNREACHABLE), plain), None),
    ),
    "stream": (True, lambda: (ScriptedUpstream(stream), None)),
    "provider error": (False, lambda: (ScriptedUpstream(busy, busy, busy), None)),
    "plain of the second target": (False, lambda: (ScriptedUpstream(busy), ScriptedUpstream(plain))),
    "stream of the second target": (True, lambda: (ScriptedUpstream(overloaded), ScriptedUpstream(stream))),
    "error of the second target": (
        False,
        lambda: (ScriptedUpstream(busy), ScriptedUpstream(busy, busy, busy)),
    ),
}
ERRORS = {
    "crash": RuntimeError("secret text of a bug"),
    "cancelled by the client": asyncio.CancelledError(),
    "cancelled by shutdown": asyncio.CancelledError(),
}


async def run_once(
    script: str, n: int | None, error_name: str | None
) -> tuple[ThrowAt, ListLedger, ListReply, ScriptedUpstream]:
    streamed, make = SCRIPTS[script]
    upstream, second = make()
    ledger, reply = ListLedger(), ListReply()
    governed = pipeline(upstream, ledger, second=second, attempts=2, max_wait_s=2.0)
    body = json.dumps({**BODY, "stream": streamed}).encode()
    work = governed.govern(exchange(body), CreateMessage(1 << 20), MessagesDialect(), reply)
    error = ERRORS[error_name] if error_name else None
    reply.disconnected = error_name == "cancelled by the client"
    breaker = ThrowAt(work, n, error)
    try:
        await breaker
    except asyncio.CancelledError:
        assert isinstance(error, asyncio.CancelledError)
    await asyncio.sleep(0)
    if second is not None:
        upstream.given += second.given
    return breaker, ledger, reply, upstream


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.stages.ask.BACKOFF_BASE_S", 0.0)
    # A machine that stands still for a moment must not take another way than the run that was counted.
    monkeypatch.setattr("triptych.stages.ask.DISCARD_S", 60.0)
    monkeypatch.setattr("triptych.stages.relay.TRAILING_S", 60.0)


@pytest.mark.parametrize("error_name", ERRORS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_breaking_any_await_leaves_exactly_one_outcome(script: str, error_name: str) -> None:
    untouched, ledger, reply, _ = asyncio.run(run_once(script, None, None))
    assert reply.complete and [len(ends) for ends in ledger.ended.values()] == [1]
    assert untouched.suspensions >= 4
    for n in range(1, untouched.suspensions + 1):
        breaker, ledger, reply, upstream = asyncio.run(run_once(script, n, error_name))
        where = f"{script}, {error_name} at suspension {n}"
        assert breaker.thrown, where
        assert len(ledger.started) == 1, where
        assert [len(ends) for ends in ledger.ended.values()] == [1], where
        assert all(answer.closed for answer in upstream.given), where
        if error_name == "crash":
            assert reply.complete, where
            assert b"secret text" not in reply.body, where
        if error_name == "cancelled by the client":
            (ends,) = ledger.ended.values()
            assert ends[0].ending in ("cancelled", "completed", "failed"), where


@pytest.mark.parametrize("error_name", ["crash", "cancelled by shutdown"])
def test_a_stream_that_is_broken_by_the_gateway_ends_with_an_error_event(error_name: str) -> None:
    untouched, *_ = asyncio.run(run_once("stream", None, None))
    after_start = 0
    for n in range(1, untouched.suspensions + 1):
        _, _, reply, _ = asyncio.run(run_once("stream", n, error_name))
        if b"message_start" in reply.body:
            after_start += 1
            # Past the end row the answer was whole already: then its own terminal event is there.
            last_event = reply.body.rstrip().rpartition(b"\n\n")[2]
            assert last_event.startswith((b"event: error", b"event: message_stop")), n
    assert after_start >= 3


def test_a_ledger_that_cannot_open_refuses_before_anything_leaves() -> None:
    async def run() -> None:
        upstream, ledger, reply = ScriptedUpstream(plain), ListLedger(fail_open=True), ListReply()
        body = json.dumps(BODY).encode()
        await pipeline(upstream, ledger).govern(
            exchange(body), CreateMessage(1 << 20), MessagesDialect(), reply
        )
        assert reply.status == 503
        assert upstream.calls == []

    asyncio.run(run())


def test_an_answer_whose_outcome_cannot_be_recorded_is_not_given_as_finished() -> None:
    async def run(streamed: bool) -> ListReply:
        upstream = ScriptedUpstream(stream if streamed else plain)
        ledger, reply = ListLedger(fail_end=True), ListReply()
        body = json.dumps({**BODY, "stream": streamed}).encode()
        await pipeline(upstream, ledger).govern(
            exchange(body), CreateMessage(1 << 20), MessagesDialect(), reply
        )
        return reply

    assert asyncio.run(run(False)).status == 503
    streamed = asyncio.run(run(True))
    assert b"message_stop" not in streamed.body
    assert streamed.body.rstrip().rpartition(b"\n\n")[2].startswith(b"event: error")
