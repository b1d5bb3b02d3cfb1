"""The rows of the emotion contract's error table that limits and providers cause, each by its real cause."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator

import pytest

from tests.contract.emotion.world import (
    BUSY,
    CAPPED,
    GREEDY,
    KEEPING,
    LIMITED,
    LIVE_KEY,
    MONTHLY_QUOTA,
    TEST_KEY,
    World,
    analysis,
    completion,
    error,
    seen,
    world,
)
from tests.contract.inference.world import fault_model
from tests.contract.raw_client import RawClient, ask, request
from tests.devices.gateway import Gateway

pytestmark = pytest.mark.timeout(180)  # several gateways or processes, on a busy machine too
SERVER = "server_error"
CHAT = "/v2/chat/completions"
ANALYSIS = "/v2/emotions/analysis"
BATCH = "/v2/emotions/batch-analysis"
GONE = "The model's provider gave no answer. Retry later; /v2/status tells the state of the parts."


@pytest.fixture(scope="module")
def sides() -> Iterator[World]:
    with world() as made:
        yield made


def test_the_lowest_limit_of_requests_holds_and_says_when_to_return(sides: World) -> None:
    answers = [sides.ask("/v2/models", key=LIMITED) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [answer.header("x-ratelimit-remaining") for answer in answers] == ["1", "0", "0"]
    refused = answers[2]
    wait_s = int(refused.header("retry-after") or 0)
    sentence = f"Rate limit exceeded: 2 requests per minute for this key. Retry after {wait_s} s."
    assert seen(refused) == error(429, "rate_limit_error", "too_many_requests", sentence)
    assert 0 < wait_s <= 60
    assert abs(int(refused.header("x-ratelimit-reset") or 0) - time.time() - 60) <= 3
    # What is wrong with a request is not looked at before.
    assert sides.ask(ANALYSIS, b"x" * (2 << 20), key=LIMITED).status == 429


def test_the_eleventh_at_a_time_is_a_429(sides: World) -> None:
    slow = completion(fault_model("hang_before_head"))
    statuses: list[int] = []

    def hang() -> None:
        statuses.append(sides.ask(CHAT, slow, key=BUSY).status)

    hanging = [threading.Thread(target=hang) for _ in range(10)]
    before = len(sides.upstream.requests)
    for thread in hanging:
        thread.start()
    sides.upstream.wait_until(lambda: len(sides.upstream.requests) == before + 10, 10)
    answer = sides.ask("/v2/models", key=BUSY)
    sentence = (
        "Too many concurrent requests: 10 at the same time for this key. Retry when one of them has ended."
    )
    assert seen(answer) == error(429, "rate_limit_error", "concurrency_exceeded", sentence)
    assert answer.header("retry-after") == "1"
    for thread in hanging:
        thread.join(20)
    # The provider did not answer in time.
    assert statuses == [503] * 10
    assert sides.ask("/v2/models", key=BUSY).status == 200


def test_a_quota_that_is_used_up_is_a_429_until_the_next_month(sides: World) -> None:
    batch = analysis(*["word " * 210] * 100)
    while sides.ask(BATCH, batch, key=GREEDY).status == 200:
        pass
    answer = sides.ask(ANALYSIS, analysis("x"), key=GREEDY)
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["type"], told["code"]) == (429, "rate_limit_error", "quota_exceeded")
    assert told["message"].startswith(f"The monthly quota of {MONTHLY_QUOTA} analyse_tokens is used up.")
    assert 0 < int(answer.header("retry-after") or 0) <= 31 * 86_400
    assert sides.ask(CHAT, completion(), key=GREEDY).status == 429
    assert sides.ask("/v2/models", key=GREEDY).status == 200


def test_a_budget_that_is_used_up_is_a_429_too(sides: World) -> None:
    answer = sides.ask(CHAT, completion("mapped-model"), key=CAPPED)
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["code"]) == (429, "quota_exceeded")
    assert int(answer.header("retry-after") or 0) > 0


PROVIDERS = {
    "unreachable-model": "upstream_unreachable",
    fault_model("empty:500"): "upstream_empty_body",
    fault_model("empty"): "upstream_empty_body",
    fault_model("html:200"): "upstream_invalid_response",
    fault_model("error:529"): "upstream_error",
    fault_model("redirect"): "upstream_invalid_response",
    fault_model("reset"): "upstream_unreachable",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "kind"), PROVIDERS.items())
def test_a_provider_that_fails_is_a_503_that_points_to_the_status(
    sides: World, model: str, kind: str, stream: bool
) -> None:
    answer = sides.ask(CHAT, completion(model, stream=stream))
    assert seen(answer) == error(503, SERVER, "service_unavailable", GONE)
    row = sides.row(answer)
    assert (row["failure_kind"], row["ending"], row["status"]) == (kind, "failed", 503)


def test_a_provider_that_is_busy_says_for_how_long(sides: World) -> None:
    answer = sides.ask(CHAT, completion(fault_model("rate_limited:7")))
    assert seen(answer) == error(503, SERVER, "service_unavailable", GONE)
    assert answer.header("retry-after") == "7"


def test_what_the_provider_says_of_the_request_is_a_422(sides: World) -> None:
    answer = sides.ask(CHAT, completion(fault_model("error:400")))
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["code"], "param" in told) == (422, "invalid_value", False)
    assert sides.row(answer)["failure_kind"] == "upstream_rejected"


@pytest.mark.parametrize("model", [fault_model("stream_error_event"), fault_model("stream_cut_at:400")])
def test_a_stream_that_breaks_ends_with_an_error_and_nothing_else(sides: World, model: str) -> None:
    answer = sides.ask(CHAT, completion(model, stream=True))
    frames = answer.body.decode().strip().split("\n\n")
    told = json.loads(frames[-1].removeprefix("data: "))
    assert (answer.status, set(told)) == (200, {"error"})
    assert told["error"]["code"] == "service_unavailable"
    assert told["error"]["request_id"] == answer.header("x-request-id")
    assert "user" in json.loads(frames[0].removeprefix("data: "))["emotions"]
    assert b"[DONE]" not in answer.body
    assert sides.row(answer)["ending"] == "failed"


def test_a_text_that_somebody_changed_is_a_500(sides: World) -> None:
    """Neither a state that passes by itself nor somebody else's text."""
    body = analysis({"externalId": "m1", "content": "Once upon a time."})
    sides.json("/v2/emotions/spoilt/analysis", body, key=KEEPING)
    connection = sqlite3.connect(sides.gateway.database, timeout=10)
    with connection:
        connection.execute("UPDATE emotion_messages SET text = x'00' WHERE text IS NOT NULL")
    connection.close()
    answer = sides.ask("/v2/emotions/spoilt/message/m1", key=KEEPING)
    status, told = seen(answer)
    told_error = json.loads(told)["error"]
    assert (status, told_error["type"], told_error["code"]) == (500, SERVER, "internal")
    assert sides.row(answer)["failure_kind"] == "internal_error"
    # What needs no text goes on.
    assert sides.ask("/v2/emotions/spoilt", key=KEEPING).status == 200


def test_an_environment_that_is_not_served_knows_no_key_of_it() -> None:
    refused = error(
        401,
        "authentication_error",
        "invalid_api_key",
        "Missing or invalid API key. Check the x-api-key header.",
    )
    with Gateway(server='environments = ["live"]') as gateway:
        for target in ("/v2/models", "/v2/emotions/chat-1"):
            answer = ask(gateway.port, "GET", target, f"x-api-key: {TEST_KEY}")
            assert seen(answer) == refused
            assert answer.header("x-ratelimit-limit") is None
        assert ask(gateway.port, "GET", "/v2/models", f"x-api-key: {LIVE_KEY}").status == 200
        # The other surfaces have no such environments.
        assert ask(gateway.port, "GET", "/v1/models", f"x-api-key: {TEST_KEY}").status == 200


def test_a_test_key_reaches_the_sandbox_only_and_says_so(sides: World) -> None:
    before = len(sides.upstream.requests)
    answer = sides.ask(CHAT, completion("mapped-model"), key=TEST_KEY)
    assert (answer.status, answer.header("x-triptych-environment")) == (200, "test")
    assert len(sides.upstream.requests) == before


@pytest.mark.slow
def test_a_plain_chat_is_given_up_after_thirty_seconds() -> None:
    with world(server="") as patient, RawClient(patient.gateway.port, timeout_s=60) as client:
        began_s = time.monotonic()
        body = completion(fault_model("hang_before_head"))
        client.send(request("POST", CHAT, f"x-api-key: {LIVE_KEY}", body=body))
        answer = client.answer()
        assert seen(answer) == error(503, SERVER, "service_unavailable", GONE)
        assert 29 <= time.monotonic() - began_s < 45
        assert patient.row(answer)["failure_kind"] == "upstream_timeout"
