"""Every kind of failure x every form it can take on the inference surface."""

import json

import pytest

from tests.contract.inference.rendering import GOLDEN, RENDERINGS, failure_of, golden
from tests.contract.inference.table import CONTRACT, Promise
from triptych.core.failure import FACTS, Failure, FailureKind
from triptych.surfaces.inference.failures import ROWS, messages_error, messages_stream_error, openai_error

K = FailureKind
UNAUTHORIZED = (K.INVALID_API_KEY, K.KEY_REVOKED)
BILLING = (K.CREDITS_EXHAUSTED, K.BUDGET_EXCEEDED, K.QUOTA_EXCEEDED)


def test_every_kind_has_a_row_and_facts() -> None:
    assert set(ROWS) == set(FailureKind) == set(FACTS)


def test_every_golden_file_belongs_to_a_kind_and_a_rendering() -> None:
    found = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file()}
    assert found == {f"{kind.value}/{rendering}" for kind in FailureKind for rendering in RENDERINGS}


@pytest.mark.parametrize("rendering", RENDERINGS)
@pytest.mark.parametrize("kind", FailureKind)
def test_a_kind_is_rendered_to_the_very_bytes_of_its_golden_file(kind: FailureKind, rendering: str) -> None:
    assert RENDERINGS[rendering](failure_of(kind)) == golden(rendering, kind).read_bytes()


@pytest.mark.parametrize(("kind", "promise"), CONTRACT.items())
def test_a_kind_of_the_contract_looks_as_its_page_says(kind: FailureKind, promise: Promise) -> None:
    failure = Failure(kind, "What was wrong.", param="messages[0]")
    on_messages, on_openai = messages_error(failure, "req_1"), openai_error(failure, "req_1")
    assert (on_messages.status, json.loads(on_messages.body)) == (
        promise.messages[0],
        {
            "type": "error",
            "error": {"type": promise.messages[1], "message": "What was wrong."},
            "request_id": "req_1",
        },
    )
    status, type_, code = promise.openai
    assert (on_openai.status, json.loads(on_openai.body)) == (
        status,
        {"error": {"message": "What was wrong.", "type": type_, "code": code, "param": "messages[0]"}},
    )


@pytest.mark.parametrize("kind", UNAUTHORIZED)
def test_every_bad_key_looks_the_same_whatever_is_known_about_it(kind: FailureKind) -> None:
    failure = Failure(kind, "Something only we may know.", param="x", details={"revoked": True})
    assert openai_error(failure, "req_1").body == b'{"error":"Unauthorized"}'
    assert json.loads(messages_error(failure, "req_1").body) == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "Unauthorized"},
        "request_id": "req_1",
    }


def test_an_oversized_body_is_refused_in_the_flat_form_on_every_wire() -> None:
    failure = Failure(K.PAYLOAD_TOO_LARGE, "Request body too large. Maximum size is 50 MB.")
    for render in (messages_error, openai_error):
        response = render(failure, "req_1")
        assert response.status == 413
        assert response.body == b'{"message":"Request body too large. Maximum size is 50 MB."}'


@pytest.mark.parametrize("kind", FailureKind)
def test_only_a_kind_about_money_forbids_the_stock_clients_to_retry(kind: FailureKind) -> None:
    for render in (messages_error, openai_error):
        told = dict(render(Failure(kind), "req_1").headers).get(b"x-should-retry")
        assert told == (b"false" if kind in BILLING else None)


@pytest.mark.parametrize("kind", FailureKind)
def test_a_failure_says_how_long_to_wait_only_when_it_knows(kind: FailureKind) -> None:
    for render in (messages_error, openai_error):
        assert b"retry-after" not in dict(render(Failure(kind), "req_1").headers)
        if render(Failure(kind), "req_1").status == 402:
            assert b"retry-after" not in dict(render(Failure(kind, retry_after_s=61), "req_1").headers)
            continue
        assert dict(render(Failure(kind, retry_after_s=0), "req_1").headers)[b"retry-after"] == b"1"
        assert dict(render(Failure(kind, retry_after_s=61), "req_1").headers)[b"retry-after"] == b"61"


@pytest.mark.parametrize("kind", FailureKind)
def test_the_messages_envelopes_have_no_code_and_no_details(kind: FailureKind) -> None:
    failure = failure_of(kind)
    assert b'"code"' not in messages_error(failure, "req_1").body
    frame = messages_stream_error(failure)
    head, data, end = frame.split(b"\n", 2)
    assert (head, end) == (b"event: error", b"\n")
    assert set(json.loads(data.removeprefix(b"data: "))) == {"type", "error"}
    for text in (messages_error(failure, "req_1").body, openai_error(failure, "req_1").body, frame):
        assert b"detail" not in text


@pytest.mark.parametrize(
    "text", ['"', "\\", "\r\n\r\n", "\x00", "\u2028", "\U0001f600", "data: x\n\nevent: y"]
)
def test_no_text_of_a_message_breaks_its_frame(text: str) -> None:
    failure = Failure(K.MODEL_NOT_FOUND, f"Model '{text}' not found.")
    frame = messages_stream_error(failure)
    assert frame.count(b"\n") == 3 and b"\r" not in frame
    for body in (messages_error(failure, "r").body, openai_error(failure, "r").body):
        assert json.loads(body)["error"]["message"] == failure.message
