"""Whatever a provider does, the client gets the answer the contract promises and the ledger the truth.

Every case goes through the real program, over real sockets, plain and streamed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.acceptance.caller import Answer, Caller, ask, facts, settled_row
from tests.acceptance.expected import NO_TOKENS, check_completed
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import BEHAVIOURS
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.devices.gateway import ORG, Gateway, message, provider


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

SCRIPTS = {
    "close_on_reuse",
    *(case.script for case in (*REFUSED_PLAIN, *REFUSED_STREAMED)),
    *PROVIDER_ERRORS,
    *GOOD_PLAIN,
    *(script for script, _ in GOOD_STREAMED),
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


def test_a_provider_that_closes_reused_connections_is_asked_on_a_fresh_one(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    again = 0
    for stream in (False, True) * 3:
        before = len(upstream.requests)
        answer = send(gateway, "close_on_reuse", stream=stream)
        assert answer.status == 200
        # The row knows of every time the provider was asked.
        asked = len(upstream.requests) - before
        check_completed(gateway, answer, retries=asked - 1)
        again += asked - 1
    assert again >= 3, "connections were hardly reused: nothing was tested"


def test_connections_closed_while_idle_cost_no_answer(gateway: Gateway, upstream: FaultyUpstream) -> None:
    with Caller(gateway) as caller:
        for _ in range(10):
            upstream.drop_connections()
            answer = caller.ask(message("m"))
            assert (answer.status, answer.body) == (200, wire.message("m"))
            # The close may be told while the request is on its way: then it is sent once more.
            retries = facts(settled_row(gateway, answer.request_id), "retries")["retries"]
            assert retries <= 1
            check_completed(gateway, answer, retries=retries)


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
    elsewhere = {
        "endless",
        "stream_error_event",
        "stream_garbage_event",
        "stream_gigantic_line",
        "stream_stalls",
        "stream_without_stop",
        "usage",
    }
    used = {script.partition(":")[0] for script in SCRIPTS} | elsewhere
    assert set(BEHAVIOURS) <= used


def test_the_gateway_lived_through_all_of_it_without_an_unexpected_error(gateway: Gateway) -> None:
    assert ask(gateway, message("m")).status == 200
    assert "unexpected" not in gateway.log
    assert "Traceback" not in gateway.log
