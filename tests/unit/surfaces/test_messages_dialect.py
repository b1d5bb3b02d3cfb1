"""What the messages endpoints add to answers, and what of a request they let through."""

import gzip
from dataclasses import dataclass

import pytest

from tests.devices.script import exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import NO_USAGE
from triptych.surfaces.inference.messages import CountTokens, CreateMessage, MessagesDialect

BODY = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
ANSWER = b'{"id":"msg_1","type":"message","usage":{"input_tokens":5,"output_tokens":7}}'


@dataclass
class Admission:
    limit: int | None
    remaining: int = 3
    reset_ms: int = 30_000
    admitted: bool = True
    retry_after_s: int | None = None
    scope: str = "key"
    window: str = "minute"


def test_answers_of_a_limited_key_say_what_is_left() -> None:
    asked = exchange(b"{}")
    asked.admission = Admission(limit=7)
    headers = dict(MessagesDialect().answer_headers(asked))
    assert headers[b"request-id"] == headers[b"x-request-id"] == asked.request_id.encode()
    assert headers[b"anthropic-ratelimit-requests-limit"] == b"7"
    assert headers[b"anthropic-ratelimit-requests-remaining"] == b"3"
    assert headers[b"anthropic-ratelimit-requests-reset"].endswith(b"Z")
    assert b"x-triptych-environment" not in headers


@pytest.mark.parametrize("admission", [None, Admission(limit=None)])
def test_answers_without_a_limit_say_nothing_of_one(admission: Admission | None) -> None:
    asked = exchange(b"{}", environment="test")
    asked.admission = admission
    headers = dict(MessagesDialect().answer_headers(asked))
    assert set(headers) == {b"request-id", b"x-request-id", b"x-triptych-environment"}


def test_a_refusal_carries_the_same_headers() -> None:
    asked = exchange(b"{}")
    asked.admission = Admission(limit=7)
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
    asked.headers = [(b"content-encoding", b"gzip")]
    with pytest.raises(Failure) as caught:
        CreateMessage(1 << 20).parse(asked)
    assert caught.value.message == "Request body too large. Maximum size is 1 MB."


def test_counting_is_no_money() -> None:
    parsed = CreateMessage(1000).parse(exchange(BODY))
    body, usage = CreateMessage(100).read_answer(parsed, ANSWER, 10)
    assert body is ANSWER and usage.output_tokens == 7
    counted = b'{"input_tokens":12}'
    assert CountTokens(100).read_answer(parsed, counted, 10) == (counted, NO_USAGE)
    with pytest.raises(Failure):
        CountTokens(100).read_answer(parsed, b'{"input_tok', 10)
