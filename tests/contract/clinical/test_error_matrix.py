"""Each row of the error table, provoked by its cause in the real process, in every cell where it exists:
{native JSON, native stream before the run, native stream after it, Anthropic JSON, Anthropic stream}."""

import json
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.contract.clinical.causes import (
    CAUSES,
    FORMS,
    GOLDEN,
    WIRE,
    Cause,
    asked,
    cell,
    error_of,
    provoke,
    written,
)
from tests.contract.clinical.world import CHAT, MESSAGES, SERVER, Clinic, clinic, events, fault_model
from tests.contract.raw_client import Answer
from triptych.surfaces.clinical.failures import ROWS

DOCUMENTS = {"UNSUPPORTED_DOCUMENT_TYPE", "DOCUMENT_STILL_PROCESSING"}
WIRE_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    410: "not_found_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
}
"""From the page."""
DETAILS = {
    "AI_CREDITS_EXHAUSTED": {"cycle_reset_at", "credits_used", "credits_allotment"},
    "BAA_REQUIRED": {"baa_url", "baa_status"},
    "BUDGET_EXCEEDED": {"cycle_reset_at", "current_spend_usd", "cap_usd"},
    "FEATURE_NOT_HIPAA_ELIGIBLE": {"feature"},
    "INFERENCE_UPSTREAM_FAILURE": {"upstream_status", "provider"},
    "MISSING_SCOPE": {"required_scope"},
    "MODEL_RETIRED": {"retired_at", "recommended_replacement", "docs_url"},
    "OPUS_NOT_ENABLED": {"model"},
    "PAYLOAD_TOO_LARGE": {"limit_bytes"},
    "PHI_BLOCKED": {"entity_types"},
    "PHI_IN_TOOL_SCHEMA": {"entity_types", "tool", "path"},
    "RATE_LIMITED": {"retry_after_seconds", "limit", "scope"},
    "UNSUPPORTED_DOCUMENT_TYPE": {"content_type", "supported"},
    "DOCUMENT_STILL_PROCESSING": {"document_id", "status"},
}
"""From the page: what a code promises, beside which more may stand."""


@pytest.fixture(scope="module")
def running() -> Iterator[Clinic]:
    with clinic() as one:
        yield one


def check(form: str, cause: Cause, answer: Answer) -> None:
    """What the page says of it, whatever its words."""
    error = error_of(form, answer)
    in_stream = answer.status == 200
    assert in_stream or answer.status == cause.status
    assert (error["code"], error["retryable"]) == (cause.code, cause.retryable)
    assert DETAILS.get(cause.code, set()) <= set(error.get("details", {}))
    assert error["request_id"] == answer.header("request-id") == answer.header("x-request-id")
    if not in_stream:
        assert answer.header("x-should-retry") == ("true" if cause.retryable else "false")
        envelope = json.loads(answer.body)
        assert (envelope["success"], envelope["meta"]) == (False, {"request_id": error["request_id"]})
    if form in WIRE:
        assert (error["type"], error["hasp_code"]) == (WIRE_TYPES[cause.status], cause.code)
        assert error.get("hasp_details") == error.get("details")


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_has_its_error_in_every_cell_where_it_exists(running: Clinic, name: str) -> None:
    cause = CAUSES[name]
    answers = provoke(running, cause)
    cells = {cell(form, answer): (form, answer) for form, answer in answers.items()}
    assert set(cells) == {path.name for path in (GOLDEN / name).iterdir()}
    for file, (form, answer) in cells.items():
        check(form, cause, answer)
        assert written(answer) == (GOLDEN / name / file).read_text(), file


SHOWN_BY_THE_SANDBOX = {
    "AI_CREDITS_EXHAUSTED": ["credits_exhausted", "quota_exceeded"],
    "BAA_REQUIRED": ["baa_required"],
    "BUDGET_EXCEEDED": ["budget_exceeded"],
    "FEATURE_NOT_HIPAA_ELIGIBLE": ["feature_not_allowed", "uninspectable_content"],
    "INFERENCE_UPSTREAM_FAILURE": ["upstream_overloaded", "unreachable", "empty_answer", "upstream_timeout"],
    "MISSING_SCOPE": ["insufficient_scope", "api_key_access_denied"],
    "MODEL_RETIRED": ["model_retired"],
    "OPUS_NOT_ENABLED": ["premium_not_enabled"],
    "PAYLOAD_TOO_LARGE": ["payload_too_large"],
    "PHI_BLOCKED": ["phi_blocked", "dlp_blocked"],
    "PHI_IN_TOOL_SCHEMA": ["phi_in_tool_schema"],
    "RATE_LIMITED": ["rate_limited", "concurrency_exceeded"],
    "UNSUPPORTED_DOCUMENT_TYPE": ["unsupported_document_type"],
    "DOCUMENT_STILL_PROCESSING": ["document_still_processing"],
}


@pytest.mark.parametrize("code", DETAILS)
def test_a_failure_of_the_sandbox_has_the_details_that_its_row_promises(running: Clinic, code: str) -> None:
    for name in SHOWN_BY_THE_SANDBOX[code]:
        body = {"model": f"sandbox-error-{name}", "message": "hello there", "stream": False}
        answer = running.ask(CHAT, body, org="boxed")
        error = json.loads(answer.body)["error"]
        assert error["code"] == code, name
        assert set(error.get("details", {})) >= DETAILS[code], name
        assert answer.status != 429 or int(answer.header("retry-after") or 0) >= 1, name
        if code == "PHI_BLOCKED":
            assert error["param"] == "message"


def test_every_golden_file_belongs_to_a_cause() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(CAUSES)


def test_every_code_of_the_table_is_provoked() -> None:
    codes = {row.code for row in ROWS.values()} | {row.wire_code for row in ROWS.values() if row.wire_code}
    assert {cause.code for cause in CAUSES.values()} == codes - DOCUMENTS


def test_a_run_that_was_created_fails_as_a_run_unless_it_could_not_be_recorded(running: Clinic) -> None:
    body = asked(CAUSES["provider_overloaded"], "native_stream", None)
    told = events(running.ask(CHAT, body).body)
    assert [type_ for type_, _ in told] == ["run.created", "run.started", "run.failed"]
    _, failed = told[-1]
    assert failed["data"]["object"]["status"] == "failed"
    assert failed["data"]["object"]["id"] == told[0][1]["data"]["object"]["id"]
    unrecorded = (GOLDEN / "store_unwritable" / "native_stream_after.sse").read_text()
    assert unrecorded.startswith("event: error\n")


@pytest.mark.parametrize("name", ["no_key", "unknown_key"])
def test_a_stranger_learns_nothing_and_leaves_no_row(running: Clinic, name: str) -> None:
    before = len(running.gateway.rows())
    answers = provoke(running, CAUSES[name])
    assert all(answer.header("x-ratelimit-limit-requests") is None for answer in answers.values())
    assert running.row(running.chat()) is not None
    assert len(running.gateway.rows()) == before + 1


def test_a_draining_gateway_refuses_in_every_form_while_a_run_ends() -> None:
    cause = Cause(503, "INFERENCE_UNAVAILABLE", True)
    # The run outlives what is asked meanwhile, however slow the machine.
    with clinic(SERVER.replace("idle_stream_timeout_s = 0.5", "idle_stream_timeout_s = 4")) as one:
        stream: list[Answer] = []
        body = {"model": fault_model("stream_stalls:1"), "message": "x"}
        running = threading.Thread(target=lambda: stream.append(one.ask(CHAT, body)))
        running.start()
        assert one.upstream.wait_until(lambda: bool(one.upstream.requests), 10.0)
        assert one.gateway.process is not None
        one.gateway.process.send_signal(signal.SIGTERM)
        limit_s = time.monotonic() + 30
        while one.chat().status != 503:
            assert time.monotonic() < limit_s
        for form in FORMS:
            path = MESSAGES if form in WIRE else CHAT
            check(form, cause, one.ask(path, asked(cause, form, None)))
        running.join()
        assert events(stream[0].body)[-1][0] == "run.failed"
