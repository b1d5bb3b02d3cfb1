"""What may pass by itself is tried again before the first byte, within two seconds; nothing else is.

Seen by the provider's own log of requests, by the client, and by the ledger.
"""

import itertools
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.caller import Answer, ask, facts, settled_row
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import Exchange, answer, head
from tests.devices.faulty_upstream import FaultyUpstream, SeenRequest
from tests.devices.gateway import ORG, Gateway, message, provider


@pytest.fixture(scope="module")
def gateway(upstream: FaultyUpstream) -> Iterator[Gateway]:
    """With the default rule: 2 retries, 2 s of waiting in all."""
    with Gateway(ORG + provider(upstream.base_url, "m")) as running:
        yield running


def play(
    gateway: Gateway, upstream: FaultyUpstream, *scripts: object, stream: bool = False
) -> tuple[Answer, list[SeenRequest], float]:
    """The answer when the provider does these things in turn, what it saw, and the seconds it took.

    On fresh connections: one that was used before and closes is replaced at once, without a pause.
    """
    upstream.drop_connections()
    assert upstream.wait_until(lambda: not upstream.live)
    time.sleep(0.02)
    upstream.queue.clear()
    upstream.enqueue(*scripts)  # type: ignore[arg-type]
    before = len(upstream.requests)
    started_s = time.monotonic()
    got = ask(gateway, message("m", stream=stream))
    took_s = time.monotonic() - started_s
    assert got.whole
    return got, upstream.requests[before:], took_s


def check_row(gateway: Gateway, got: Answer, ending: str, retries: int) -> None:
    row = settled_row(gateway, got.request_id)
    expected = {"ending": ending, "status": got.status, "retries": retries}
    assert facts(row, *expected) == expected


def gaps_s(seen: list[SeenRequest]) -> list[float]:
    return [after.at_mono_s - before.at_mono_s for before, after in itertools.pairwise(seen)]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "script",
    ["rate_limited", "error:500", "html:502", "error:503", "error:529", "empty:500", "reset", "close"],
)
def test_what_may_pass_is_tried_again(
    gateway: Gateway, upstream: FaultyUpstream, script: str, stream: bool
) -> None:
    got, seen, _ = play(gateway, upstream, script, stream=stream)
    assert (got.status, len(seen)) == (200, 2)
    assert got.body == (wire.stream(4, "m") if stream else wire.message("m"))
    first, second = seen
    assert (second.target, second.headers, second.body) == (first.target, first.headers, first.body)
    check_row(gateway, got, "completed", 1)


def test_two_failures_cost_two_retries(gateway: Gateway, upstream: FaultyUpstream) -> None:
    got, seen, took_s = play(gateway, upstream, "reset", "error:529", "ok")
    assert (got.status, len(seen)) == (200, 3)
    assert took_s < 10
    check_row(gateway, got, "completed", 2)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_last_error_is_what_the_client_sees(
    gateway: Gateway, upstream: FaultyUpstream, stream: bool
) -> None:
    async def last(exchange: Exchange) -> None:
        fields = (
            "x-secret: internal",
            "x-ratelimit-remaining: 0",
            "server: nginx",
            "openai-processing-ms: 7",
        )
        await answer(exchange, 503, "text/plain; charset=latin-1", b"  not now \xe9\n", *fields)

    got, seen, _ = play(gateway, upstream, "error:500", "rate_limited", last, "ok", stream=stream)
    assert len(seen) == 3
    assert (got.status, got.body) == (503, b"  not now \xe9\n")
    assert got.header("content-type") == "text/plain; charset=latin-1"
    assert {name for name, _ in got.headers} == {
        "date",
        "content-type",
        "content-length",
        "request-id",
        "x-request-id",
        "x-upstream-request-id",
        "anthropic-organization-id",
        "openai-processing-ms",
    }
    check_row(gateway, got, "failed", 2)


def test_the_last_error_may_be_that_nobody_answers(gateway: Gateway, upstream: FaultyUpstream) -> None:
    got, seen, _ = play(gateway, upstream, "reset", "close", "reset", "ok")
    assert (got.status, len(seen)) == (502, 3)
    assert got.json["error"] == {"type": "api_error", "message": "upstream could not be reached"}
    check_row(gateway, got, "failed", 2)


def test_what_the_provider_said_last_is_seen_also_when_it_is_gone_after_it(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    got, seen, _ = play(gateway, upstream, "reset", "error:529", "reset", "ok")
    assert (got.status, len(seen)) == (529, 3)
    assert got.body == wire.error("overloaded_error", "Overloaded.")
    check_row(gateway, got, "failed", 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422, 501, 504])
def test_other_errors_are_not_tried_again(gateway: Gateway, upstream: FaultyUpstream, status: int) -> None:
    got, seen, _ = play(gateway, upstream, f"error:{status}", "ok")
    assert (got.status, len(seen)) == (status, 1)
    assert got.body == wire.error("api_error", "Failed.")
    check_row(gateway, got, "failed", 0)


@pytest.mark.parametrize("asked", ["1", "date:2"])
def test_a_provider_that_asks_for_a_little_time_gets_it(
    gateway: Gateway, upstream: FaultyUpstream, asked: str
) -> None:
    got, seen, _ = play(gateway, upstream, f"rate_limited:{asked}")
    assert got.status == 200
    # A date has whole seconds: in 2 s means more than one from now.
    assert 0.95 <= gaps_s(seen)[0] < 10
    check_row(gateway, got, "completed", 1)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("asked", ["3", "30", "1e9", "date:60"])
def test_a_provider_that_asks_for_more_is_answered_at_once(
    gateway: Gateway, upstream: FaultyUpstream, asked: str, stream: bool
) -> None:
    got, seen, took_s = play(gateway, upstream, f"rate_limited:{asked}", "ok", stream=stream)
    assert (got.status, len(seen)) == (429, 1)
    assert got.body == wire.error("rate_limit_error", "Slow down.")
    assert took_s < 2.8
    if not asked.startswith("date"):
        assert got.header("retry-after") == asked
    check_row(gateway, got, "failed", 0)


def test_all_waiting_together_is_bounded(gateway: Gateway, upstream: FaultyUpstream) -> None:
    got, seen, took_s = play(gateway, upstream, "rate_limited:1", "rate_limited:2", "ok")
    assert (got.status, len(seen)) == (429, 2)
    assert got.header("retry-after") == "2"
    assert 0.95 <= took_s < 2.9
    check_row(gateway, got, "failed", 1)


@pytest.mark.parametrize("asked", ["-5", "nan", "soon", ""])
def test_a_retry_after_that_says_nothing_is_not_obeyed(
    gateway: Gateway, upstream: FaultyUpstream, asked: str
) -> None:
    got, _, took_s = play(gateway, upstream, f"rate_limited:{asked}")
    assert got.status == 200
    assert took_s < 10
    check_row(gateway, got, "completed", 1)


@pytest.mark.parametrize("script", ["stream_cut_at:700", "stream_without_stop", "stream_error_event"])
def test_nothing_is_tried_again_after_the_first_byte(
    gateway: Gateway, upstream: FaultyUpstream, script: str
) -> None:
    got, seen, _ = play(gateway, upstream, script, "ok", stream=True)
    assert (got.status, len(seen)) == (200, 1)
    assert got.events[-1][0] == "error"
    check_row(gateway, got, "failed", 0)


@pytest.mark.parametrize("script", ["json_short", "json_cut", "html:200", "redirect", "empty:200"])
def test_an_answer_that_makes_no_sense_is_not_asked_for_again(
    gateway: Gateway, upstream: FaultyUpstream, script: str
) -> None:
    """The provider has worked, and will be paid: only what the contract names is repeated."""
    got, seen, _ = play(gateway, upstream, script, "ok")
    assert (got.status, len(seen)) == (502, 1)
    check_row(gateway, got, "failed", 0)


def test_an_error_whose_body_never_ends_does_not_hold_up_the_retry(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    async def endless_error(exchange: Exchange) -> None:
        await exchange.send(head(503, "content-type: application/json", "content-length: 500") + b"{")
        await exchange.hang()

    got, _, took_s = play(gateway, upstream, endless_error)
    assert got.status == 200
    assert took_s < 10
    check_row(gateway, got, "completed", 1)


def test_the_rule_can_be_configured(upstream: FaultyUpstream) -> None:
    toml = ORG + provider(upstream.base_url, "m") + "\n[retries]\nattempts = 1\nmax_wait_s = 0.5\n"
    with Gateway(toml) as gateway:
        got, seen, _ = play(gateway, upstream, "error:500", "error:529", "ok")
        assert (got.status, len(seen)) == (529, 2)
        check_row(gateway, got, "failed", 1)
        got, seen, took_s = play(gateway, upstream, "rate_limited:1", "ok")
        assert (got.status, len(seen)) == (429, 1)
        assert took_s < 10
        check_row(gateway, got, "failed", 0)
