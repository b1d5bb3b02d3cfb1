"""Each error row of the messages wire, provoked by its real cause: status, bytes, headers, row."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.contract.inference.world import (
    CAPPED,
    LIMITED,
    NARROW,
    NO_ACCESS,
    OTHER_LIMITED,
    SCOPELESS,
    UNSIGNED,
    TwoSides,
    fault_model,
    world,
)
from tests.contract.raw_client import LIVE, TEST, Answer, RawClient, request
from tests.devices.gateway import LIVE_KEY, Gateway, message

FRAMING = {"date", "content-length", "content-type", "connection"}
IDENTITY = {"request-id", "x-request-id"}
LIMIT_HEADERS = {f"anthropic-ratelimit-requests-{name}" for name in ("limit", "remaining", "reset")}


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with world() as both:
        yield both


def envelope(type_: str, sentence: str) -> bytes:
    body = {"type": "error", "error": {"type": type_, "message": sentence}, "request_id": "req_X"}
    return json.dumps(body, separators=(",", ":")).encode()


def check(answer: Answer, status: int, type_: str, sentence: str, *further_headers: str) -> None:
    assert (answer.status, answer.normalised) == (status, envelope(type_, sentence))
    assert answer.header("content-type") == "application/json"
    request_id = answer.header("request-id")
    assert request_id == answer.header("x-request-id") == json.loads(answer.body)["request_id"]
    assert answer.names - FRAMING == IDENTITY | set(further_headers)


def check_row(sides: TwoSides, answer: Answer, kind: str, ending: str = "refused", **facts: object) -> None:
    row = sides.row(answer)
    assert row is not None
    assert (row["status"], row["failure_kind"], row["ending"]) == (answer.status, kind, ending)
    assert row["cost_nusd"] == 0
    assert {name: row[name] for name in facts} == facts


BAD_KEYS = {
    "no credentials": (),
    "an empty x-api-key": ("x-api-key:",),
    "an unknown x-api-key": ("x-api-key: acme-live-key-0000000000000001",),
    "an unknown bearer": ("authorization: Bearer nobody",),
    "an empty bearer": ("authorization: Bearer ",),
    "the basic scheme": ("authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l",),
    "a good key without a scheme": (f"authorization: {LIVE_KEY}",),
    "a good key and more": (f"x-api-key: {LIVE_KEY}x",),
    "a good key in capitals": (f"x-api-key: {LIVE_KEY.upper()}",),
    "a key of 100 kB less the limit": ("x-api-key: " + "k" * 60_000,),
    "bytes that are no text": ("x-api-key: \xff\xfe",),
    "the provider's own key": ("x-api-key: upstream-secret-key",),
}


@pytest.mark.parametrize("fields", BAD_KEYS.values(), ids=BAD_KEYS)
def test_every_bad_credential_is_the_same_401(sides: TwoSides, fields: tuple[str, ...]) -> None:
    check(sides.ask(*fields), 401, "authentication_error", "Unauthorized")


def test_strangers_leave_no_row(sides: TwoSides) -> None:
    refused = {sides.ask(*fields).header("request-id") for fields in BAD_KEYS.values()}
    # Rows are written in order: once a later one is there, an earlier one would be too.
    assert sides.row(sides.ask(LIVE, body=b"{}")) is not None
    assert refused.isdisjoint("req_" + row["id"] for row in sides.gateway.rows())


BAD_BODIES = {
    "no model": (b'{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}', "model is required"),
    "no messages": (b'{"model":"mapped-model","max_tokens":1}', "messages is required"),
    "no max_tokens": (
        b'{"model":"mapped-model","messages":[{"role":"user","content":"x"}]}',
        "max_tokens is required",
    ),
    "a system role": (
        message("mapped-model", messages=[{"role": "system", "content": "x"}]),
        'messages[0].role must be "user" or "assistant": role "system" is not supported, use field "system"',
    ),
    "not JSON": (b"max_tokens=1", "The request body is not valid JSON: invalid character (byte 0)."),
    "an unknown model": (message("no-such-model"), "Model 'no-such-model' not found."),
    "a retired model": (message("retired-model"), "Model 'retired-model' not found."),
    "a sandbox model under a live key of an org that is no demo": (
        message("sandbox-echo"),
        "Model 'sandbox-echo' not found.",
    ),
}


@pytest.mark.parametrize(("body", "sentence"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_cannot_be_served_is_a_400_that_says_why(
    sides: TwoSides, body: bytes, sentence: str
) -> None:
    answer = sides.ask(LIVE, body=body)
    check(answer, 400, "invalid_request_error", sentence)
    kind = {"an": "model_not_found", "re": "model_retired", "sa": "model_not_found"}
    found = re.match(r"Model '(..)", sentence)
    expected = "invalid_body" if found is None else kind.get(found[1], "model_not_found")
    check_row(sides, answer, expected, model=None, provider=None)


FORBIDDEN = {
    "a key without the scope": (
        SCOPELESS,
        "mapped-model",
        "insufficient_scope",
        "The API key lacks the scope 'ai:chat'.",
    ),
    "a group without API access": (NO_ACCESS, "mapped-model", "api_key_access_denied", None),
    "a model the group does not grant": (
        NARROW,
        "premium-model",
        "model_access_denied",
        "Your groups do not grant access to the model 'premium-model'.",
    ),
    "a premium model": (
        LIVE_KEY,
        "premium-model",
        "premium_not_enabled",
        "The premium model 'premium-model' is not enabled for this org.",
    ),
    "a hipaa org without an agreement": (
        UNSIGNED,
        "mapped-model",
        "baa_required",
        (
            "No active Business Associate Agreement on the org. An administrator signs one at Settings > "
            "Compliance, or with `triptych baa sign`."
        ),
    ),
}


@pytest.mark.parametrize(("key", "model", "kind", "sentence"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_policy_forbids_is_a_403_and_goes_nowhere(
    sides: TwoSides, key: str, model: str, kind: str, sentence: str | None
) -> None:
    before = len(sides.upstream.requests)
    answer = sides.ask(f"x-api-key: {key}", body=message(model))
    sentence = sentence or json.loads(answer.body)["error"]["message"]
    check(answer, 403, "permission_error", sentence)
    check_row(sides, answer, kind)
    assert len(sides.upstream.requests) == before


def test_a_group_that_grants_a_model_is_enough_for_it(sides: TwoSides) -> None:
    assert sides.ask(f"x-api-key: {NARROW}", body=message("mapped-model")).status == 200


def test_a_budget_that_is_used_up_refuses_and_says_not_to_try_again(sides: TwoSides) -> None:
    before = len(sides.upstream.requests)
    answer = sides.ask(f"x-api-key: {CAPPED}")
    sentence = json.loads(answer.body)["error"]["message"]
    check(answer, 402, "billing_error", sentence, "x-should-retry")
    assert sentence.startswith("The spend cap of the org is reached: 0 of 0 USD in this cycle.")
    assert answer.header("x-should-retry") == "false"
    check_row(sides, answer, "budget_exceeded")
    assert len(sides.upstream.requests) == before


def test_a_path_under_messages_that_is_none_is_a_404_in_the_same_envelope(sides: TwoSides) -> None:
    answer = sides.ask(LIVE, target="/v1/messages/batches")
    check(answer, 404, "not_found_error", "Unknown request URL: POST /v1/messages/batches")


@pytest.mark.parametrize("target", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_a_405_that_names_the_right_one(sides: TwoSides, method: str, target: str) -> None:
    answer = sides.ask(LIVE, method=method, target=target)
    check(answer, 405, "not_found_error", f"{method} is not allowed here; use POST.", "allow")
    assert answer.header("allow") == "POST"


def test_a_body_over_the_limit_is_refused_flat_and_before_the_key_is_looked_at(sides: TwoSides) -> None:
    head = request("POST", "/v1/messages", "content-length: 52428801")
    with RawClient(sides.port) as client:
        client.send(head)
        answer = client.answer()
    assert (answer.status, answer.body) == (
        413,
        b'{"message":"Request body too large. Maximum size is 50 MB."}',
    )
    assert answer.names - FRAMING == IDENTITY
    assert answer.header("connection") == "close"


def test_an_encoding_that_is_not_spoken_is_a_415(sides: TwoSides) -> None:
    answer = sides.ask(LIVE, "content-encoding: br")
    sentence = "Content-Encoding is not supported. Send the body as it is, or with gzip and zstd."
    check(answer, 415, "invalid_request_error", sentence)
    check_row(sides, answer, "unsupported_media_type")


def test_headers_over_the_limit_are_a_431_in_the_envelope_of_the_path(sides: TwoSides) -> None:
    sentence = "The request's headers are too large. The limits are 65536 bytes and 128 fields."
    for fields in ([f"x-{number}: 1" for number in range(130)], ["x-one: " + "a" * 70_000]):
        check(sides.ask(LIVE, *fields), 431, "invalid_request_error", sentence)


def test_a_limited_key_is_told_when_to_come_back(sides: TwoSides) -> None:
    key = f"authorization: Bearer {LIMITED}"
    first, second, third = (sides.ask(key) for _ in range(3))
    assert [answer.status for answer in (first, second, third)] == [200, 200, 429]
    assert [answer.header("anthropic-ratelimit-requests-limit") for answer in (first, second, third)] == [
        "2"
    ] * 3
    remaining = [answer.header("anthropic-ratelimit-requests-remaining") for answer in (first, second, third)]
    assert remaining == ["1", "0", "0"]
    reset = third.header("anthropic-ratelimit-requests-reset")
    assert reset is not None and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", reset)
    retry_after = third.header("retry-after")
    assert retry_after is not None and 1 <= int(retry_after) <= 60
    sentence = f"Rate limit exceeded: 2 requests per minute for this key. Retry after {retry_after} s."
    check(third, 429, "rate_limit_error", sentence, "retry-after", *LIMIT_HEADERS)
    check_row(sides, third, "rate_limited")


def test_refusals_of_a_valid_key_carry_its_limits_too(sides: TwoSides) -> None:
    answer = sides.ask(f"x-api-key: {OTHER_LIMITED}", body=b"{}")
    check(answer, 400, "invalid_request_error", "model is required", *LIMIT_HEADERS)
    assert answer.header("anthropic-ratelimit-requests-remaining") == "0"


def test_a_provider_that_cannot_be_reached_is_a_502(sides: TwoSides) -> None:
    answer = sides.ask(LIVE, body=message("unreachable-model"))
    check(answer, 502, "api_error", json.loads(answer.body)["error"]["message"])
    check_row(sides, answer, "upstream_unreachable", "failed", model="unreachable-model", provider="nobody")


EMPTY = {
    "an empty 200": ("empty", "upstream returned an empty body", 200),
    "an empty 500": ("empty:500", "upstream returned status 500 with an empty body", 500),
    "an empty 400": ("empty:400", "upstream returned status 400 with an empty body", 400),
}


@pytest.mark.parametrize(("fault", "sentence", "upstream_status"), EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_without_a_body_is_a_502_with_a_type_of_its_own(
    sides: TwoSides, fault: str, sentence: str, upstream_status: int, stream: bool
) -> None:
    answer = sides.ask(LIVE, body=message(fault_model(fault), stream=stream))
    check(answer, 502, "upstream_empty_body", sentence)
    check_row(sides, answer, "upstream_empty_body", "failed", upstream_status=upstream_status)


UNUSABLE = {
    "HTML under 200": ("html:200", False),
    "JSON cut in half": ("json_cut", False),
    "a redirect": ("redirect", False),
    "JSON for a stream": ("json_for_a_stream", True),
    "HTML for a stream": ("html:200", True),
}


@pytest.mark.parametrize(("fault", "stream"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_answer_that_is_none_is_a_502(sides: TwoSides, fault: str, stream: bool) -> None:
    answer = sides.ask(LIVE, body=message(fault_model(fault), stream=stream))
    check(answer, 502, "api_error", json.loads(answer.body)["error"]["message"])
    check_row(sides, answer, "upstream_invalid_response", "failed")


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_does_not_answer_in_time_is_a_504(sides: TwoSides, stream: bool) -> None:
    answer = sides.ask(LIVE, body=message(fault_model("hang_before_head"), stream=stream))
    check(answer, 504, "timeout_error", "upstream did not answer in time")
    check_row(sides, answer, "upstream_timeout", "failed")


def test_a_provider_kind_not_built_yet_is_a_503(sides: TwoSides) -> None:
    answer = sides.ask(LIVE, body=message("unbuilt-model"))
    check(answer, 503, "overloaded_error", "The provider 'later' is not available on this gateway.")
    check_row(sides, answer, "service_unavailable", "failed")


PASSED_ON = {
    "400": (
        "error:400",
        400,
        b'{"type":"error","error":{"type":"api_error","message":"Failed."}}',
        "application/json",
    ),
    "529": (
        "error:529",
        529,
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded."}}',
        "application/json",
    ),
    "429": (
        "rate_limited:7",
        429,
        b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}',
        "application/json",
    ),
    "HTML": ("html", 502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html"),
}


@pytest.mark.parametrize(("fault", "status", "body", "content_type"), PASSED_ON.values(), ids=PASSED_ON)
@pytest.mark.parametrize("stream", [False, True])
def test_a_providers_own_error_passes_verbatim(
    sides: TwoSides, fault: str, status: int, body: bytes, content_type: str, stream: bool
) -> None:
    answer = sides.ask(LIVE, body=message(fault_model(fault), stream=stream))
    assert (answer.status, answer.body, answer.header("content-type")) == (status, body, content_type)
    assert answer.header("x-upstream-request-id") == "req_fault"
    assert (answer.header("retry-after") == "7") == (fault == "rate_limited:7")
    assert "set-cookie" not in answer.names
    check_row(
        sides, answer, "upstream_error", "failed", upstream_status=status, upstream_request_id="req_fault"
    )


def test_a_providers_error_event_passes_verbatim_and_ends_the_stream(sides: TwoSides) -> None:
    answer = sides.ask(LIVE, body=message(fault_model("stream_error_event"), stream=True))
    event = (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    )
    assert answer.status == 200 and answer.body.endswith(event)
    assert b"message_stop" not in answer.body
    row = sides.row(answer)
    assert row is not None and (row["status"], row["failure_kind"], row["ending"]) == (
        200,
        "upstream_stream_error",
        "failed",
    )


def test_a_stream_that_breaks_ends_with_an_error_event_and_never_in_silence(sides: TwoSides) -> None:
    answer = sides.ask(LIVE, body=message(fault_model("stream_cut_at:400"), stream=True))
    error = b'{"type":"api_error","message":"upstream stream interrupted"}'
    frame = b'event: error\ndata: {"type":"error","error":%b}\n\n' % error
    assert answer.status == 200 and answer.body.endswith(frame)
    assert b"message_stop" not in answer.body
    row = sides.row(answer)
    assert row is not None and (row["status"], row["failure_kind"], row["ending"]) == (
        200,
        "upstream_interrupted",
        "failed",
    )


def test_the_sandbox_makes_each_row_that_no_real_cause_can_make_yet(sides: TwoSides) -> None:
    rows = {
        "credits_exhausted": (
            402,
            "billing_error",
            "The credits of this cycle are used up.",
            "x-should-retry",
        ),
        "budget_exceeded": (402, "billing_error", "The spend cap is reached.", "x-should-retry"),
        "dlp_blocked": (400, "invalid_request_error", None),
        "feature_not_allowed": (403, "permission_error", None),
        "concurrency_exceeded": (429, "rate_limit_error", "Too many concurrent requests.", "retry-after"),
        "internal_error": (500, "api_error", "Internal error."),
    }
    for kind, (status, type_, sentence, *headers) in rows.items():
        answer = sides.ask(TEST, body=message(f"sandbox-error-{kind}"))
        expected = sentence or json.loads(answer.body)["error"]["message"]
        check(answer, status, type_, expected, "x-triptych-environment", *headers)
        assert answer.header("x-should-retry") == ("false" if status == 402 else None)
    flat = sides.ask(TEST, body=message("sandbox-error-payload_too_large"))
    assert (flat.status, flat.body) == (
        413,
        b'{"message":"Request body too large. Maximum size is 50 MB."}',
    )


CRASHING = """
from triptych.stages.resolve import Resolve

def crash(self, principal, model_id, now_us):
    raise RuntimeError("the text of a bug, with " + model_id)

Resolve.__call__ = crash
from triptych.cli import main
main()
"""


def test_a_bug_of_ours_is_a_500_that_shows_no_internals_and_leaves_its_row() -> None:
    with Gateway(preload=CRASHING) as gateway:
        both = TwoSides(gateway, upstream=None)  # type: ignore[arg-type]
        answer = both.ask(LIVE, body=message("canary-model"))
        (row,) = gateway.settled_rows(1)
        sentence = f"Internal error. Report it with the request id {answer.header('request-id')}."
        assert json.loads(answer.body)["error"] == {"type": "api_error", "message": sentence}
        assert (answer.status, row["status"], row["failure_kind"], row["ending"]) == (
            500,
            500,
            "internal_error",
            "failed",
        )
        gateway.stop()  # the log is written beside the answers
        assert "canary-model" not in gateway.log and "text of a bug" not in gateway.log
        assert "RuntimeError" in gateway.log and str(answer.header("request-id")) in gateway.log


def test_a_gateway_that_drains_refuses_new_requests_and_finishes_running_ones() -> None:
    with Gateway(server="drain_timeout_s = 10") as gateway, RawClient(gateway.port) as running:
        body = message(
            "sandbox-lorem", max_tokens=4000, stream=True, messages=[{"role": "user", "content": "60"}]
        )
        running.send(request("POST", "/v1/messages", TEST, body=body))
        with RawClient(gateway.port) as waiting:
            waiting.send(request("GET", "/healthz"))
            assert waiting.answer().status == 200
            assert gateway.process is not None
            gateway.process.terminate()
            for _ in range(200):
                waiting.send(request("GET", "/readyz"))
                if waiting.answer().status == 503:
                    break
            waiting.send(request("POST", "/v1/messages", TEST, body=message()))
            refused = waiting.answer()
            sentence = "The gateway is shutting down. Retry: another node, or this one soon, will answer."
            check(refused, 503, "overloaded_error", sentence, "retry-after")
            assert (refused.header("connection"), refused.header("retry-after")) == ("close", "1")
        assert running.answer().body.rstrip().endswith(b'{"type":"message_stop"}')
        assert gateway.process.wait(10) == 0
