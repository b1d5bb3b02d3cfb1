"""What the messages endpoints add to answers, and what of a request they let through."""

import gzip

import pytest

from tests.devices.script import exchange
from triptych.core.admission import Admission, Reservation
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import NO_USAGE
from triptych.surfaces.inference.messages import MessagesDialect
from triptych.surfaces.inference.openai import ChatDialect
from triptych.surfaces.messages import CountTokens, CreateMessage

BODY = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
ANSWER = b'{"id":"msg_1","type":"message","usage":{"input_tokens":5,"output_tokens":7}}'


def admission_of(limit: int | None, **tokens: int) -> Admission:
    return Admission(True, limit, 3, 30_000, None, "key", "minute", **tokens)  # type: ignore[arg-type]


def test_answers_of_a_limited_key_say_what_is_left() -> None:
    asked = exchange(b"{}")
    asked.admission = admission_of(7)
    headers = dict(MessagesDialect().answer_headers(asked))
    assert headers[b"request-id"] == headers[b"x-request-id"] == asked.request_id.encode()
    assert headers[b"anthropic-ratelimit-requests-limit"] == b"7"
    assert headers[b"anthropic-ratelimit-requests-remaining"] == b"3"
    assert headers[b"anthropic-ratelimit-requests-reset"].endswith(b"Z")
    assert b"x-triptych-environment" not in headers


@pytest.mark.parametrize("admission", [None, admission_of(None)])
def test_answers_without_a_limit_say_nothing_of_one(admission: Admission | None) -> None:
    asked = exchange(b"{}", environment="test")
    asked.admission = admission
    headers = dict(MessagesDialect().answer_headers(asked))
    assert set(headers) == {b"request-id", b"x-request-id", b"x-triptych-environment"}


def test_a_limit_of_tokens_is_told_as_the_reservation_left_it() -> None:
    asked = exchange(b"{}")
    asked.admission = admission_of(None, tokens_limit=900, tokens_remaining=800, tokens_reset_ms=1_000)
    told = dict(MessagesDialect().answer_headers(asked))
    assert told[b"anthropic-ratelimit-tokens-remaining"] == b"800"
    asked.reservation = Reservation(True, tokens_limit=900, tokens_remaining=650, tokens_reset_ms=60_000)
    told = dict(MessagesDialect().answer_headers(asked))
    assert told[b"anthropic-ratelimit-tokens-limit"] == b"900"
    assert told[b"anthropic-ratelimit-tokens-remaining"] == b"650"
    assert told[b"anthropic-ratelimit-tokens-reset"].endswith(b"Z")
    assert b"anthropic-ratelimit-requests-limit" not in told
    assert dict(ChatDialect().answer_headers(asked)) == {
        b"request-id": asked.request_id.encode(),
        b"x-request-id": asked.request_id.encode(),
        b"x-ratelimit-limit-tokens": b"900",
        b"x-ratelimit-remaining-tokens": b"650",
        b"x-ratelimit-reset-tokens": b"1m0s",
    }


def test_a_refusal_carries_the_same_headers() -> None:
    asked = exchange(b"{}")
    asked.admission = admission_of(7)
    response = MessagesDialect().refusal(asked, Failure(FailureKind.RATE_LIMITED, retry_after_s=4))
    names = [name for name, _ in response.headers]
    assert response.status == 429 and len(names) == len(set(names))
    assert {b"request-id", b"anthropic-ratelimit-requests-limit", b"retry-after", b"content-type"} <= set(
        names
    )


def test_only_listed_headers_of_a_client_are_forwarded() -> None:
    headers = [
        (b"anthropic-version", b"1"),
        (b"anthropic-beta", b"a"),
        (b"anthropic-beta", b"b"),
        (b"x-claude-code-session-id", b"s"),
        (b"openai-beta", b"o"),
        (b"traceparent", b"t"),
        (b"tracestate", b"u"),
        (b"x-api-key", b"secret"),
        (b"authorization", b"secret"),
        (b"cookie", b"secret"),
        (b"x-forwarded-for", b"secret"),
        (b"anthropic-dangerous-direct-browser-access", b"secret"),
    ]
    assert CreateMessage(100).forwarded(headers) == headers[:7]


def test_a_body_over_the_limit_after_inflation_names_the_limit() -> None:
    asked = exchange(gzip.compress(bytes(2_000_000)))
    asked.content_encoding = b"gzip"
    with pytest.raises(Failure) as caught:
        CreateMessage(1 << 20).parse(asked)
    assert caught.value.message == "Request body too large. Maximum size is 1 MB."


def test_counting_is_no_money() -> None:
    parsed = CreateMessage(1000).parse(exchange(BODY))
    body, usage = CreateMessage(100).read_answer(parsed, ANSWER, 10)
    assert body is ANSWER and usage.output_tokens == 7
    counted = b'{"input_tokens":12}'
    assert CountTokens(100, MessagesDialect()).read_answer(parsed, counted, 10) == (counted, NO_USAGE)
    with pytest.raises(Failure):
        CountTokens(100, MessagesDialect()).read_answer(parsed, b'{"input_tok', 10)
