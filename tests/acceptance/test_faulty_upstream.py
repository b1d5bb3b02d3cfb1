"""Whatever a provider does, the client gets the answer the contract promises and the ledger the truth.

Every case goes through the real program, over real sockets, plain and streamed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.caller import Answer, Caller, ask, error_frame, facts, rss_bytes, settled_row
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import (
    BEHAVIOURS,
    Exchange,
    begin_stream,
    chunk,
    end_stream,
    whole_stream,
)
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.devices.gateway import ORG, Gateway, message, provider

COST_NUSD = 12 * 3_000 + 7 * 15_000
"""Of the 12 and 7 tokens that the device reports, at 3 and 15 USD a million."""

INTERRUPTED = error_frame("api_error", "upstream stream interrupted")
NO_TOKENS = {"input_tokens": 0, "output_tokens": 0, "usage_source": "none", "cost_nusd": 0}
BILLED = {"input_tokens": 12, "output_tokens": 7, "usage_source": "provider", "cost_nusd": COST_NUSD}


@dataclass(frozen=True)
class Refused:
    """An answer in the gateway's own envelope."""

    script: str
    status: int
    type: str
    sentence: str
    failure_kind: str
    upstream_status: int | None = None
    retries: int = 0


_UNREACHABLE = (502, "api_error", "upstream could not be reached", "upstream_unreachable")
_TIMEOUT = (504, "timeout_error", "upstream did not answer in time", "upstream_timeout")
_INVALID = (502, "api_error", "upstream returned an invalid response", "upstream_invalid_response")
_NO_STREAM = (
    502,
    "api_error",
    "upstream did not answer a streamed request with a stream",
    "upstream_invalid_response",
)
_INTERRUPTED = (502, "api_error", "upstream stream interrupted", "upstream_interrupted")
_EMPTY = (502, "upstream_empty_body", "upstream returned an empty body", "upstream_empty_body")


def _empty_error(status: int, retries: int) -> Refused:
    sentence = f"upstream returned status {status} with an empty body"
    return Refused(
        f"empty:{status}", 502, "upstream_empty_body", sentence, "upstream_empty_body", status, retries
    )


REFUSED_EITHER_WAY = (
    Refused("reset", *_UNREACHABLE, retries=2),
    Refused("close", *_UNREACHABLE, retries=2),
    Refused("hang_before_head", *_TIMEOUT),
    Refused("hang_inside_head", *_TIMEOUT),
    Refused("hang_after_head", *_TIMEOUT, upstream_status=200),
    Refused("empty", *_EMPTY, upstream_status=200),
    _empty_error(500, retries=2),
    _empty_error(400, retries=0),
    Refused(
        "redirect",
        502,
        "api_error",
        "upstream answered with status 302, which is never followed",
        "upstream_invalid_response",
        302,
    ),
    Refused("json_short", *_INTERRUPTED, upstream_status=200),
)
REFUSED_PLAIN = (
    *REFUSED_EITHER_WAY,
    Refused("html:200", *_INVALID, upstream_status=200),
    Refused("json_cut", *_INVALID, upstream_status=200),
)
REFUSED_STREAMED = (
    *REFUSED_EITHER_WAY,
    Refused("html:200", *_NO_STREAM, upstream_status=200),
    Refused("json_cut", *_NO_STREAM, upstream_status=200),
    Refused("json_for_a_stream", *_NO_STREAM, upstream_status=200),
    Refused("wrong_content_type", *_NO_STREAM, upstream_status=200),
    Refused("stream_ends_at:0", *_EMPTY, upstream_status=200),
    Refused("stream_ends_at:20", *_INTERRUPTED, upstream_status=200),
    Refused("stream_cut_at:0", *_INTERRUPTED, upstream_status=200),
    Refused("stream_cut_at:20", *_INTERRUPTED, upstream_status=200),
    Refused("stream_reset_at:20", *_INTERRUPTED, upstream_status=200),
)
PROVIDER_ERRORS = {
    "html": (502, "text/html", 2),
    "error:400": (400, "application/json", 0),
    "error:401": (401, "application/json", 0),
    "error:404": (404, "application/json", 0),
    "error:500": (500, "application/json", 2),
    "error:503": (503, "application/json", 2),
    "error:529": (529, "application/json", 2),
    "rate_limited": (429, "application/json", 2),
    "rate_limited:0": (429, "application/json", 2),
    "rate_limited:30": (429, "application/json", 0),
    "rate_limited:soon": (429, "application/json", 2),
    "rate_limited:date:60": (429, "application/json", 0),
}
GOOD_PLAIN = ("ok", "wrong_content_type", "slow_drip", "close_after_answer", "gzip_answer", "slow_first_byte")
GOOD_STREAMED = (
    ("ok", 4),
    ("slow_drip", 2),
    ("close_after_answer", 4),
    ("gzip_answer", 4),
    ("slow_first_byte", 4),
    ("ok_stream:6:150", 6),
)
STREAM_FAULTS = ("stream_without_stop", "stream_stalls", "stream_error_event", "stream_garbage_event")

SCRIPTS = {
    "close_on_reuse",
    "stream_gigantic_line",
    *(case.script for case in (*REFUSED_PLAIN, *REFUSED_STREAMED)),
    *PROVIDER_ERRORS,
    *GOOD_PLAIN,
    *(script for script, _ in GOOD_STREAMED),
    *STREAM_FAULTS,
}
LIMITS = "first_byte_timeout_s = 0.7\nidle_stream_timeout_s = 0.7\n"


@pytest.fixture(scope="module")
def gateway(upstream: FaultyUpstream) -> Iterator[Gateway]:
    models = [f"fault-{script}" for script in sorted(SCRIPTS)]
    toml = ORG + provider(upstream.base_url, "m", *models)
    with (
        refused_port() as closed,
        FaultyUpstream(on_accept="reset") as resetting,
        FaultyUpstream(on_accept="hang") as hanging,
    ):
        toml += provider(f"http://127.0.0.1:{closed}", "refuses", name="refuses")
        toml += provider(resetting.base_url, "resets", name="resets")
        toml += provider(hanging.base_url, "hangs", name="hangs")
        with Gateway(toml, server=LIMITS) as running:
            yield running


def send(gateway: Gateway, script: str, *, stream: bool) -> Answer:
    answer = ask(gateway, message(f"fault-{script}", stream=stream))
    assert answer.whole, "the answer's framing was cut"
    assert answer.header("set-cookie") is None
    return answer


def check_refused(gateway: Gateway, answer: Answer, case: Refused, *, stream: bool) -> None:
    assert answer.status == case.status
    assert answer.header("content-type") == "application/json"
    assert answer.json == {
        "type": "error",
        "error": {"type": case.type, "message": case.sentence},
        "request_id": answer.request_id,
    }
    row = settled_row(gateway, answer.request_id)
    expected = {
        "ending": "failed",
        "status": case.status,
        "failure_kind": case.failure_kind,
        "upstream_status": case.upstream_status,
        "retries": case.retries,
        "stream": stream,
        "bytes_out": len(answer.body),
        **NO_TOKENS,
    }
    assert facts(row, *expected) == expected


@pytest.mark.parametrize("case", REFUSED_PLAIN, ids=lambda case: case.script)
def test_a_plain_call_that_got_no_answer_is_refused_in_the_envelope(gateway: Gateway, case: Refused) -> None:
    check_refused(gateway, send(gateway, case.script, stream=False), case, stream=False)


@pytest.mark.parametrize("case", REFUSED_STREAMED, ids=lambda case: case.script)
def test_a_stream_that_never_began_is_a_plain_http_error(gateway: Gateway, case: Refused) -> None:
    check_refused(gateway, send(gateway, case.script, stream=True), case, stream=True)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "case",
    [
        Refused("refuses", *_UNREACHABLE, retries=2),
        Refused("resets", *_UNREACHABLE, retries=2),
        Refused("hangs", *_TIMEOUT),
    ],
    ids=lambda case: case.script,
)
def test_a_provider_that_takes_no_request_is_unreachable(
    gateway: Gateway, case: Refused, stream: bool
) -> None:
    answer = ask(gateway, message(case.script, stream=stream))
    check_refused(gateway, answer, case, stream=stream)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("script", PROVIDER_ERRORS)
def test_a_providers_error_is_passed_on_verbatim(
    gateway: Gateway, upstream: FaultyUpstream, script: str, stream: bool
) -> None:
    status, content_type, retries = PROVIDER_ERRORS[script]
    before = len(upstream.requests)
    answer = send(gateway, script, stream=stream)
    assert answer.status == status
    assert answer.body == _error_body(script, status)
    assert answer.header("content-type") == content_type
    assert answer.header("x-upstream-request-id") == "req_fault"
    assert answer.header("anthropic-organization-id") == "org_fault"
    asked = script.removeprefix("rate_limited").removeprefix(":")
    if not script.startswith("rate_limited") or not asked:
        assert answer.header("retry-after") is None
    elif asked.startswith("date"):
        assert (answer.header("retry-after") or "").endswith(" GMT")
    else:
        assert answer.header("retry-after") == asked
    assert len(upstream.requests) - before == retries + 1
    row = settled_row(gateway, answer.request_id)
    expected = {
        "ending": "failed",
        "status": status,
        "failure_kind": "upstream_error",
        "upstream_status": status,
        "upstream_request_id": "req_fault",
        "retries": retries,
        "bytes_out": len(answer.body),
        **NO_TOKENS,
    }
    assert facts(row, *expected) == expected


def _error_body(script: str, status: int) -> bytes:
    if script == "html":
        return b"<html><body><h1>502 Bad Gateway</h1></body></html>"
    kind, sentence = {
        429: ("rate_limit_error", "Slow down."),
        500: ("api_error", "Internal server error."),
        503: ("api_error", "Unavailable."),
        529: ("overloaded_error", "Overloaded."),
    }.get(status, ("api_error", "Failed."))
    return wire.error(kind, sentence)


def check_completed(gateway: Gateway, answer: Answer, *, retries: int = 0) -> None:
    row = settled_row(gateway, answer.request_id)
    expected = {
        "ending": "completed",
        "status": 200,
        "failure_kind": None,
        "upstream_status": 200,
        "retries": retries,
        "bytes_out": len(answer.body),
        **BILLED,
    }
    assert facts(row, *expected) == expected
    assert 0 < row["first_byte_us"] <= row["total_us"]


@pytest.mark.parametrize("script", GOOD_PLAIN)
def test_an_odd_but_whole_answer_is_passed_on_verbatim(gateway: Gateway, script: str) -> None:
    answer = send(gateway, script, stream=False)
    assert (answer.status, answer.body) == (200, wire.message(f"fault-{script}"))
    odd = script == "wrong_content_type"
    assert answer.header("content-type") == ("text/plain" if odd else "application/json")
    assert answer.header("content-encoding") is None
    check_completed(gateway, answer)


@pytest.mark.parametrize(("script", "deltas"), GOOD_STREAMED)
def test_an_odd_but_whole_stream_is_passed_on_verbatim(gateway: Gateway, script: str, deltas: int) -> None:
    answer = send(gateway, script, stream=True)
    assert (answer.status, answer.body) == (200, wire.stream(deltas, f"fault-{script}"))
    assert answer.header("content-type") == "text/event-stream"
    assert answer.header("content-encoding") is None
    assert answer.events[-1][0] == "message_stop"
    check_completed(gateway, answer)


def check_stream_failed(
    gateway: Gateway, answer: Answer, failure_kind: str, tokens: tuple[int, int] | None
) -> None:
    """``tokens`` of input and output, as far as they were known: labelled an estimate."""
    events = answer.events
    assert events[-1][0] == "error"
    assert not {"error", "message_stop"} & {name for name, _ in events[:-1]}
    row = settled_row(gateway, answer.request_id)
    expected = {
        "ending": "failed",
        "status": 200,
        "failure_kind": failure_kind,
        "upstream_status": 200,
        "retries": 0,
        "bytes_out": len(answer.body),
    }
    if tokens is not None:
        expected |= {
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "usage_source": "estimate",
            "cost_nusd": tokens[0] * 3_000 + tokens[1] * 15_000,
        }
    assert facts(row, *expected) == expected


def test_a_stream_that_ends_without_message_stop_ends_with_an_error(gateway: Gateway) -> None:
    answer = send(gateway, "stream_without_stop", stream=True)
    events = wire.stream_events(4, "fault-stream_without_stop", stop=False)
    assert (answer.status, answer.body) == (200, b"".join(events) + INTERRUPTED)
    check_stream_failed(gateway, answer, "upstream_interrupted", (12, 7))


def test_a_stream_that_stalls_ends_with_a_timeout_error(gateway: Gateway) -> None:
    answer = send(gateway, "stream_stalls", stream=True)
    events = wire.stream_events(2, "fault-stream_stalls")[:5]
    frame = error_frame("timeout_error", "upstream did not answer in time")
    assert (answer.status, answer.body) == (200, b"".join(events) + frame)
    # The device said 1 output token at the start; the two words that came make about 3.
    check_stream_failed(gateway, answer, "upstream_timeout", (12, 3))


def test_a_providers_error_event_is_passed_on_verbatim_and_is_the_last(gateway: Gateway) -> None:
    answer = send(gateway, "stream_error_event", stream=True)
    events = wire.stream_events(2, "fault-stream_error_event")[:5]
    error = wire.event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert (answer.status, answer.body) == (200, b"".join(events) + error)
    check_stream_failed(gateway, answer, "upstream_stream_error", (12, 3))


def test_nothing_follows_an_error_event_even_if_the_provider_goes_on(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    error = wire.event("error", {"error": {"type": "api_error", "message": "Broken"}})
    events = wire.stream_events(1, "m")

    async def goes_on(exchange: Exchange) -> None:
        await begin_stream(exchange)
        for event in (*events[:2], error):
            await chunk(exchange, event)
        await exchange.hang()

    upstream.enqueue(goes_on)
    answer = ask(gateway, message("m", stream=True))
    assert answer.whole
    assert answer.body == b"".join(events[:2]) + error
    check_stream_failed(gateway, answer, "upstream_stream_error", (12, 1))


def test_an_error_as_first_event_is_passed_on_as_a_stream(gateway: Gateway, upstream: FaultyUpstream) -> None:
    error = wire.event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})

    async def only_error(exchange: Exchange) -> None:
        await whole_stream(exchange, [error])

    upstream.enqueue(only_error)
    answer = ask(gateway, message("m", stream=True))
    assert (answer.status, answer.body) == (200, error)
    assert answer.header("content-type") == "text/event-stream"
    row = settled_row(gateway, answer.request_id)
    expected = {"ending": "failed", "failure_kind": "upstream_stream_error", "retries": 0, **NO_TOKENS}
    assert facts(row, *expected) == expected


def test_garbage_inside_a_stream_is_the_clients_to_judge(gateway: Gateway) -> None:
    answer = send(gateway, "stream_garbage_event", stream=True)
    events = wire.stream_events(2, "fault-stream_garbage_event")
    garbage = b"event: content_block_delta\ndata: {not json\n\n\xff\xfe no field at all\n\n"
    assert (answer.status, answer.body) == (200, b"".join([*events[:4], garbage, *events[4:]]))
    check_completed(gateway, answer)


def test_a_gigantic_line_is_an_error_and_takes_no_memory_to_keep(gateway: Gateway) -> None:
    send(gateway, "ok", stream=True)
    before = rss_bytes(gateway)
    for _ in range(3):
        answer = send(gateway, "stream_gigantic_line", stream=True)
        start = wire.stream_events(0, "fault-stream_gigantic_line")[0]
        frame = error_frame("api_error", "upstream sent a stream event longer than 16777216 bytes")
        assert (answer.status, answer.body) == (200, start + frame)
        check_stream_failed(gateway, answer, "upstream_invalid_response", (12, 1))
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    assert peak - before < 64 << 20
    assert rss_bytes(gateway) - before < 32 << 20


TEXT = "née ☃ 𝄞 \u2028"


def text_stream() -> list[bytes]:
    """A stream whose text has characters of one to four bytes, unescaped."""
    events = wire.stream_events(2, "m")
    deltas = [event.replace(b"word", TEXT.encode()) for event in events]
    assert any("𝄞".encode() in event for event in deltas)
    return deltas


def cut_positions() -> list[int]:
    """Around every boundary of events, inside the multibyte characters, and many between."""
    events = text_stream()
    whole = b"".join(events)
    boundaries = [sum(map(len, events[:count])) for count in range(len(events) + 1)]
    near = {edge + step for edge in boundaries for step in (-3, -2, -1, 0, 1, 2)}
    place = whole.index(TEXT.encode())
    near |= set(range(place, place + len(TEXT.encode())))
    return sorted(at for at in near | set(range(0, len(whole), 41)) if 0 <= at <= len(whole))


async def _cut(exchange: Exchange) -> None:
    exchange.close()


async def _end(exchange: Exchange) -> None:
    await end_stream(exchange)


@pytest.mark.parametrize("ends", [_cut, _end], ids=["cut", "ended"])
def test_a_stream_cut_anywhere_ends_with_whole_events_and_an_error(
    gateway: Gateway, upstream: FaultyUpstream, ends: object
) -> None:
    assert callable(ends)
    events = text_stream()
    whole = b"".join(events)
    started, rows = 0, {}
    with Caller(gateway) as caller:
        for at in cut_positions():

            async def broken(exchange: Exchange, at: int = at) -> None:
                await begin_stream(exchange)
                if at:
                    await chunk(exchange, whole[:at])
                await ends(exchange)

            upstream.enqueue(broken)
            answer = caller.ask(message("m", stream=True))
            assert answer.whole, at
            complete = b""
            for event in events:
                if len(complete) + len(event) > at:
                    break
                complete += event
            rows[answer.request_id] = at
            if not complete:
                empty = at == 0 and ends is _end
                assert answer.status == 502, at
                assert answer.json["error"]["type"] == ("upstream_empty_body" if empty else "api_error")
            elif complete == whole:
                assert (answer.status, answer.body) == (200, whole)
            else:
                started += 1
                assert (answer.status, answer.body) == (200, complete + INTERRUPTED), at
                assert answer.events[-1][0] == "error"
    assert started > 40
    for request_id, at in rows.items():
        row = settled_row(gateway, request_id)
        assert row["ending"] == ("completed" if at == len(whole) else "failed"), at
        if row["status"] == 200 and at < len(whole):
            assert row["failure_kind"] == "upstream_interrupted", at
            assert (row["input_tokens"], row["usage_source"]) == (12, "estimate"), at


@pytest.mark.parametrize("at", [150, 400, 700])
def test_a_reset_inside_a_stream_is_an_interruption(
    gateway: Gateway, upstream: FaultyUpstream, at: int
) -> None:
    upstream.enqueue(f"stream_reset_at:{at}")
    answer = ask(gateway, message("m", stream=True))
    sent = wire.stream(4, "m")[:at]
    complete = sent[: sent.rfind(b"\n\n") + 2]
    if sent.rfind(b"\n\n") < 0:
        assert answer.status == 502
    else:
        assert (answer.status, answer.body) == (200, complete + INTERRUPTED)
    row = settled_row(gateway, answer.request_id)
    assert facts(row, "ending", "failure_kind") == {
        "ending": "failed",
        "failure_kind": "upstream_interrupted",
    }


def test_a_stream_of_comments_only_is_an_interruption(gateway: Gateway, upstream: FaultyUpstream) -> None:
    async def comments(exchange: Exchange) -> None:
        await whole_stream(exchange, [b": keep-alive\n\n", b": keep-alive\n\n"])

    upstream.enqueue(comments)
    answer = ask(gateway, message("m", stream=True))
    assert answer.whole
    assert answer.body == b": keep-alive\n\n" * 2 + INTERRUPTED
    row = settled_row(gateway, answer.request_id)
    assert facts(row, "ending", "failure_kind") == {
        "ending": "failed",
        "failure_kind": "upstream_interrupted",
    }


def test_a_provider_that_closes_reused_connections_is_asked_on_a_fresh_one(gateway: Gateway) -> None:
    for stream in (False, True) * 3:
        answer = send(gateway, "close_on_reuse", stream=stream)
        assert answer.status == 200
        check_completed(gateway, answer)


def test_connections_closed_while_idle_cost_no_answer(gateway: Gateway, upstream: FaultyUpstream) -> None:
    with Caller(gateway) as caller:
        for _ in range(10):
            upstream.drop_connections()
            answer = caller.ask(message("m"))
            assert (answer.status, answer.body) == (200, wire.message("m"))
            check_completed(gateway, answer)


def test_a_redirect_is_not_followed_anywhere(gateway: Gateway, upstream: FaultyUpstream) -> None:
    before = len(upstream.requests)
    answer = send(gateway, "redirect", stream=False)
    assert answer.header("location") is None
    assert [request.target for request in upstream.requests[before:]] == ["/v1/messages"]


def test_a_token_count_that_fails_is_answered_like_a_message(gateway: Gateway) -> None:
    for script, status in (("json_cut", 502), ("error:400", 400), ("empty", 502)):
        answer = ask(gateway, message(f"fault-{script}"), path="/v1/messages/count_tokens")
        assert answer.status == status
        row = settled_row(gateway, answer.request_id)
        assert facts(row, "endpoint", "ending", "cost_nusd") == {
            "endpoint": "count_tokens",
            "ending": "failed",
            "cost_nusd": 0,
        }


def test_a_token_count_is_plain_whatever_the_body_asks_for(gateway: Gateway) -> None:
    answer = ask(gateway, message("m", stream=True), path="/v1/messages/count_tokens")
    assert (answer.status, answer.body) == (200, b'{"input_tokens":12}')
    row = settled_row(gateway, answer.request_id)
    assert facts(row, "ending", "stream") == {"ending": "completed", "stream": False}


def test_no_exchange_lasts_longer_than_the_limit_of_all(upstream: FaultyUpstream) -> None:
    toml = ORG + provider(upstream.base_url, "fault-ok_stream:100:100", "fault-slow_drip:20")
    with Gateway(toml, server="request_timeout_s = 1\n") as gateway:
        answer = send(gateway, "ok_stream:100:100", stream=True)
        assert answer.status == 200
        sentence = "upstream did not answer in time"
        assert answer.events[-1] == (
            "error",
            {"type": "error", "error": {"type": "timeout_error", "message": sentence}},
        )
        row = settled_row(gateway, answer.request_id)
        assert facts(row, "ending", "failure_kind") == {
            "ending": "failed",
            "failure_kind": "upstream_timeout",
        }
        assert 900_000 < row["total_us"] < 2_500_000
        # The same for a plain answer that drips.
        refused = Refused("", *_TIMEOUT, upstream_status=None)
        check_refused(gateway, send(gateway, "slow_drip:20", stream=False), refused, stream=False)


def test_every_behaviour_of_the_device_is_used_by_some_test() -> None:
    """So that a new behaviour comes with its expectations. What is not here has a module of its own."""
    elsewhere = {"usage", "endless", "stream_reset_at", "stream_cut_at", "error"}
    used = {script.partition(":")[0] for script in SCRIPTS} | elsewhere
    assert set(BEHAVIOURS) <= used


def test_the_gateway_lived_through_all_of_it_without_an_unexpected_error(gateway: Gateway) -> None:
    assert ask(gateway, message("m")).status == 200
    assert "unexpected" not in gateway.log
    assert "Traceback" not in gateway.log
