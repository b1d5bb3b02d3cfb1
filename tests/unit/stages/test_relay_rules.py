"""When a call is tried again, and what of the provider's headers goes on."""

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from tests.devices.script import (
    MODEL,
    ListLedger,
    ListReply,
    ScriptedAnswer,
    ScriptedUpstream,
    exchange,
    pipeline,
)
from triptych.core.call import UpstreamCall
from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response
from triptych.core.usage import Usage
from triptych.pipeline import LARGE_REQUEST_BYTES
from triptych.stages.ask import RETRYABLE_STATUSES, Ask, RetryRule, retry_after_s
from triptych.stages.departure import Departure
from triptych.stages.relay import LARGE_ANSWER_BYTES, passed, provider_failure
from triptych.stages.route import Detours, Leg
from triptych.surfaces.inference.messages import MessagesDialect
from triptych.surfaces.messages import CreateMessage
from triptych.wires.anthropic_messages import MessagesRequest

BODY = json.dumps({"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}).encode()
ANSWER = b'{"id":"msg_1","type":"message","usage":{"input_tokens":5,"output_tokens":7}}'
JSON_TYPE = (b"content-type", b"application/json")


def status(code: int, *headers: tuple[bytes, bytes]) -> Callable[[], ScriptedAnswer]:
    body = ANSWER if code == 200 else b'{"type":"error","n":%d}' % code
    return lambda: ScriptedAnswer(code, [JSON_TYPE, *headers], [body])


def run(
    *answers: Callable[[], ScriptedAnswer] | Failure, attempts: int = 2, max_wait_s: float = 2.0
) -> tuple[ScriptedUpstream, ListReply, float]:
    upstream, reply = ScriptedUpstream(*answers), ListReply()

    async def govern() -> None:
        governed = pipeline(upstream, ListLedger(), attempts=attempts, max_wait_s=max_wait_s)
        await governed.govern(exchange(BODY), CreateMessage(1 << 20), MessagesDialect(), reply)

    began_s = time.monotonic()
    asyncio.run(govern())
    return upstream, reply, time.monotonic() - began_s


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.stages.ask.BACKOFF_BASE_S", 0.001)


def test_what_is_worth_another_try() -> None:
    assert sorted(RETRYABLE_STATUSES) == [429, 500, 502, 503, 529]


@pytest.mark.parametrize("code", sorted(RETRYABLE_STATUSES))
def test_a_passing_error_is_tried_again_and_the_last_one_is_what_is_seen(code: int) -> None:
    upstream, reply, _ = run(status(code), status(code), status(200))
    assert (len(upstream.calls), reply.status, reply.body) == (3, 200, ANSWER)
    upstream, reply, _ = run(status(500), status(502), status(code))
    assert (len(upstream.calls), reply.status, reply.body) == (3, code, b'{"type":"error","n":%d}' % code)
    assert all(answer.closed for answer in upstream.given)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 408, 409, 413, 422, 501, 504])
def test_any_other_error_is_the_clients_to_see_at_once(code: int) -> None:
    upstream, reply, _ = run(status(code))
    assert (len(upstream.calls), reply.status) == (1, code)


@pytest.mark.parametrize(
    ("kind", "calls", "code"),
    [
        (FailureKind.UPSTREAM_UNREACHABLE, 3, 502),
        (FailureKind.UPSTREAM_TIMEOUT, 1, 504),
        (FailureKind.UPSTREAM_INVALID_RESPONSE, 1, 502),
    ],
)
def test_only_what_never_reached_the_provider_is_sent_again(kind: FailureKind, calls: int, code: int) -> None:
    upstream, reply, _ = run(Failure(kind), Failure(kind), Failure(kind))
    assert (len(upstream.calls), reply.status) == (calls, code)


@pytest.mark.parametrize("large", [False, True])
def test_only_a_large_answer_is_read_where_others_do_not_wait_for_it(large: bool) -> None:
    text = "x" * (LARGE_ANSWER_BYTES if large else LARGE_ANSWER_BYTES - 200)
    body = b'{"id":"msg_1","type":"message","content":[{"type":"text","text":"%b"}]}' % text.encode()
    readers: list[threading.Thread] = []

    class Noting(CreateMessage):
        def read_answer(
            self, parsed: MessagesRequest, body: bytes, request_bytes: int
        ) -> tuple[bytes, Usage]:
            readers.append(threading.current_thread())
            return super().read_answer(parsed, body, request_bytes)

    async def govern() -> ListReply:
        upstream, reply = ScriptedUpstream(lambda: ScriptedAnswer(200, [JSON_TYPE], [body])), ListReply()
        await pipeline(upstream, ListLedger()).govern(
            exchange(BODY), Noting(1 << 20), MessagesDialect(), reply
        )
        return reply

    assert asyncio.run(govern()).body == body
    assert [reader is threading.main_thread() for reader in readers] == [not large]


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("large", [False, True])
def test_only_a_large_request_is_made_ready_where_nobody_waits_for_it(large: bool, targets: int) -> None:
    text = b"x" * (LARGE_REQUEST_BYTES if large else LARGE_REQUEST_BYTES - 200)
    body = BODY.replace(b"hi", text)
    editors: list[threading.Thread] = []

    class Noting(CreateMessage):
        def rewrite(self, parsed: MessagesRequest, upstream_model: str) -> bytes:
            editors.append(threading.current_thread())
            return super().rewrite(parsed, upstream_model)

    upstream = ScriptedUpstream(status(200))
    second = ScriptedUpstream(status(200)) if targets == 2 else None

    async def govern() -> None:
        governed = pipeline(upstream, ListLedger(), second=second)
        await governed.govern(exchange(body), Noting(1 << 20), MessagesDialect(), ListReply())

    asyncio.run(govern())
    assert upstream.calls[0].body.count(text) == 1
    assert [editor is threading.main_thread() for editor in editors] == [not large]


def test_an_error_the_provider_told_is_seen_also_when_the_next_try_reaches_nobody() -> None:
    gone = Failure(FailureKind.UPSTREAM_UNREACHABLE)
    asked = (b"retry-after", b"0")
    upstream, reply, _ = run(status(500), status(529, asked, (b"request-id", b"req_p")), gone)
    assert (len(upstream.calls), reply.status, reply.body) == (3, 529, b'{"type":"error","n":529}')
    assert asked in reply.headers and (b"x-upstream-request-id", b"req_p") in reply.headers
    assert all(answer.closed for answer in upstream.given)

    upstream, reply, _ = run(status(500), gone, gone)
    assert (len(upstream.calls), reply.status, reply.body) == (3, 500, b'{"type":"error","n":500}')


def test_an_error_without_a_word_is_none_and_a_later_failure_of_another_kind_stands() -> None:
    gone = Failure(FailureKind.UPSTREAM_UNREACHABLE)
    silent = ScriptedAnswer(503, [JSON_TYPE], [b" \n"])
    _, reply, _ = run(status(500), lambda: silent, gone)
    assert (reply.status, b"could not be reached" in reply.body) == (502, True)
    _, reply, _ = run(status(500), Failure(FailureKind.UPSTREAM_TIMEOUT))
    assert reply.status == 504


@pytest.mark.parametrize("spare", [False, True], ids=["nobody else", "another target"])
def test_an_error_event_before_the_first_word_is_told_only_where_nobody_else_can_be_asked(
    spare: bool,
) -> None:
    began = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{}}}\n\n'
    broke = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n'
    events = [(b"content-type", b"text/event-stream")]
    upstream = ScriptedUpstream(lambda: ScriptedAnswer(200, events, [began, broke]))
    ended = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    second, reply = ScriptedUpstream(lambda: ScriptedAnswer(200, events, [began, ended])), ListReply()

    async def govern() -> None:
        governed = pipeline(upstream, ListLedger(), second=second)
        if not spare:
            # What left the configuration is kept for one more, for calls that are under way.
            for _ in range(2):
                governed.replace_upstreams({"p": upstream})
        asked = exchange(BODY.replace(b'"m"', b'"m","stream":true', 1))
        await governed.govern(asked, CreateMessage(1 << 20), MessagesDialect(), reply)

    asyncio.run(govern())
    assert (reply.status, reply.body) == (200, began + (ended if spare else broke))
    assert (len(upstream.calls), len(second.calls)) == (1, int(spare))


def test_retry_after_is_waited_for_when_there_is_time_and_answered_when_not() -> None:
    upstream, reply, took_s = run(status(429, (b"retry-after", b"0.2")), status(200))
    assert (len(upstream.calls), reply.status) == (2, 200) and took_s >= 0.2
    upstream, reply, took_s = run(status(429, (b"retry-after", b"3")), status(200))
    assert (len(upstream.calls), reply.status) == (1, 429) and took_s < 2.5
    assert (b"retry-after", b"3") in reply.headers


def test_the_waits_together_stay_below_their_bound() -> None:
    asked = (b"retry-after", b"0.15")
    upstream, _, took_s = run(*[status(503, asked)] * 4, attempts=9, max_wait_s=0.4)
    assert len(upstream.calls) == 3 and took_s < 10


def test_the_waits_for_all_targets_of_an_exchange_stay_below_the_bound_together() -> None:
    upstream = ScriptedUpstream(*[status(503, (b"retry-after", b"0.15"))] * 9)
    leg = Leg(MODEL, MODEL.targets[0], None)
    call = UpstreamCall("anthropic-messages", "/v1/messages", b"", (), BODY, "m", False, math.inf)
    departure = Departure(leg, upstream, call, CreateMessage(1 << 20))
    detours: Detours[Departure | Response] = Detours([leg], lambda _: departure, math.inf)
    detours.begin(0.0)
    detours.waited_s = 0.2  # for targets that were asked before
    asyncio.run(Ask(RetryRule(attempts=9, max_wait_s=0.4)).call(exchange(BODY), departure, detours))
    assert len(upstream.calls) == 2
    assert detours.waited_s == pytest.approx(0.35)


def test_of_all_calls_under_way_only_some_may_be_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.stages.ask.FEWEST_RETRIES", 2)
    monkeypatch.setattr("triptych.stages.ask.BACKOFF_BASE_S", 0.05)
    upstream, replies = ScriptedUpstream(*[status(529)] * 100), [ListReply() for _ in range(20)]

    async def govern() -> None:
        governed = pipeline(upstream, ListLedger(), attempts=2)
        asked = [exchange(BODY) for _ in replies]
        for number, one in enumerate(asked):
            one.id = f"01TESTEXCHANGE{number:012}"
        work = zip(asked, replies, strict=True)
        await asyncio.gather(
            *(governed.govern(one, CreateMessage(1 << 20), MessagesDialect(), reply) for one, reply in work)
        )

    asyncio.run(govern())
    assert {reply.status for reply in replies} == {529}
    assert len(upstream.calls) == 20 + 4 * 2, "a fifth of 20, each twice"


def test_what_was_tried_again_makes_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.stages.ask.FEWEST_RETRIES", 1)
    upstream = ScriptedUpstream(*[status(529)] * 100)

    async def govern() -> None:
        governed = pipeline(upstream, ListLedger(), attempts=1)
        for number in range(3):
            one = exchange(BODY)
            one.id = f"01TESTEXCHANGE{number:012}"
            await governed.govern(one, CreateMessage(1 << 20), MessagesDialect(), ListReply())

    asyncio.run(govern())
    assert len(upstream.calls) == 3 * 2


@pytest.mark.parametrize(("attempts", "resent"), [(0, 1), (1, 1), (2, 2)])
def test_a_dead_connection_is_replaced_as_often_as_is_tried_again_and_once_at_least(
    attempts: int, resent: int
) -> None:
    ask, one = Ask(RetryRule(attempts=attempts)), exchange(BODY)
    assert [ask.may_resend(one) for _ in range(4)].count(True) == resent
    assert one.retries == resent


def test_no_attempts_means_one_call() -> None:
    upstream, reply, _ = run(status(529), attempts=0)
    assert (len(upstream.calls), reply.status) == (1, 529)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"", None),
        (b"soon", None),
        (b"7", 7.0),
        (b" 0.5 ", 0.5),
        (b"-3", 0.0),
        (b"nan", None),
        (b"inf", None),
        (b"1e400", None),
        (b"9" * 400, None),
        (b"\xff", None),
        (b"Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        (b"Fri, 99 Dec 1999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(value: bytes | None, seconds: float | None) -> None:
    assert retry_after_s(value) == seconds


@pytest.mark.parametrize("value", [b"inf", b"1e400", b"9" * 400, b"soon"])
def test_a_provider_that_asks_for_a_time_that_is_none_is_a_provider_that_failed(value: bytes) -> None:
    answer = ScriptedAnswer(429, [(b"retry-after", value)], [b'{"error":{"message":"slow"}}'])
    failure = asyncio.run(provider_failure(answer))
    assert (failure.kind, failure.retry_after_s) == (FailureKind.UPSTREAM_ERROR, None)


def test_a_date_to_come_is_seconds_from_now() -> None:
    asked = retry_after_s(formatdate(time.time() + 30, usegmt=True).encode())
    assert asked is not None and 28 <= asked <= 30


def test_only_listed_headers_of_a_provider_go_on() -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"retry-after", b"1"),
        (b"request-id", b"req_p"),
        (b"anthropic-organization-id", b"o"),
        (b"openai-processing-ms", b"5"),
        (b"set-cookie", b"a=b"),
        (b"server", b"x"),
        (b"x-request-id", b"theirs"),
        (b"content-length", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"x-should-retry", b"true"),
    ]
    assert passed(headers) == [
        (b"content-type", b"application/json"),
        (b"retry-after", b"1"),
        (b"x-upstream-request-id", b"req_p"),
        (b"anthropic-organization-id", b"o"),
        (b"openai-processing-ms", b"5"),
    ]
