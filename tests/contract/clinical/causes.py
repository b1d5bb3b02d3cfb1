"""Every way a request of the clinical surface comes to an error, as somebody could come to it, and what
its page says of it: code, status, whether to try again. Written from the page, not from the code.

``python -m tests.contract.clinical.causes`` writes the golden files anew: read the diff.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.contract.clinical.world import (
    CHAT,
    MAX_BODY_BYTES,
    MESSAGES,
    Clinic,
    clinic,
    events,
    fault_model,
    normalised,
    secret,
)
from tests.contract.raw_client import Answer, RawClient, request

GOLDEN = Path(__file__).parent / "golden"
FORMS = ("native_json", "native_stream", "messages_json", "messages_stream")
NATIVE, WIRE = FORMS[:2], FORMS[2:]
STREAMS = ("native_stream", "messages_stream")
PERSON = "Write to eleanor.rigby@example.com"
WEBHOOK_TOOL = {
    "name": "lookup",
    "description": "Such as eleanor.rigby@example.com",
    "input_schema": {"type": "object", "properties": {}},
}
WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search"}
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
}


class Cause(NamedTuple):
    status: int
    code: str
    retryable: bool = False
    model: str = "mapped-model"
    org: str = "acme"
    text: str = "hello there"
    fields: Mapping[str, Any] = MappingProxyType({})
    """More of the body."""
    headers: tuple[str, ...] = ()
    """``{form}`` stands for the form that is asked."""
    method: str = "POST"
    paths: tuple[str, str] = (CHAT, MESSAGES)
    """On the native surface, and on Anthropic's wire."""
    body: bytes | None = None
    """Instead of a good one."""
    content: Any = None
    """Instead of ``text``, as the content of a message."""
    forms: tuple[str, ...] = FORMS
    """Where it can happen."""
    meanwhile: Callable[[Clinic], AbstractContextManager[dict[str, Any] | None]] = lambda _: nullcontext()
    """What is the case while it is asked; may give more of the body."""


def one_request_before(org: str) -> Callable[[Clinic], AbstractContextManager[None]]:
    """All that the org's key may ask for in a minute is used up."""

    @contextmanager
    def asked_before(clinic: Clinic) -> Iterator[None]:
        clinic.chat(org=org)
        yield

    return asked_before


@contextmanager
def another_under_way(clinic: Clinic) -> Iterator[None]:
    body = json.dumps({"model": fault_model("stream_stalls:1"), "message": "x"}).encode()
    with RawClient(clinic.port) as client:
        client.send(request("POST", CHAT, f"x-api-key: {secret('crowded')}", body=body))
        client._until(b"message.delta")
        yield


@contextmanager
def keys_of_other_requests(clinic: Clinic) -> Iterator[None]:
    for form in FORMS:
        body = asked(Cause(200, "", text="another"), form.replace("stream", "json"), None)
        path = MESSAGES if form in WIRE else CHAT
        assert clinic.ask(path, body, f"idempotency-key: {form}").status == 200
    yield


@contextmanager
def keys_of_requests_under_way(clinic: Clinic) -> Iterator[None]:
    """The very same requests, of which no answer has come yet."""
    seen = len(clinic.upstream.requests)
    cause = CAUSES["idempotency_in_progress"]
    connections = []
    for form in FORMS:
        connections.append(RawClient(clinic.port))
        path = MESSAGES if form in WIRE else CHAT
        fields = (f"x-api-key: {secret('acme')}", f"idempotency-key: running-{form}")
        body = json.dumps(asked(cause, form, None)).encode()
        connections[-1].send(request("POST", path, *fields, body=body))
    assert clinic.upstream.wait_until(lambda: len(clinic.upstream.requests) >= seen + len(FORMS), 10.0)
    yield
    for connection in connections:
        connection.socket.close()


@contextmanager
def spoilt_conversation(clinic: Clinic) -> Iterator[dict[str, Any]]:
    """Somebody changed what is stored: it does not open any more."""
    answer = json.loads(clinic.chat().body)
    conversation_id = answer["data"]["conversation_id"]
    connection = sqlite3.connect(clinic.gateway.database, timeout=10)
    with connection:
        connection.execute(
            "UPDATE chat_turns SET content = x'00' WHERE conversation_id = ?", (conversation_id,)
        )
    connection.close()
    yield {"conversation_id": conversation_id}


@contextmanager
def spoilt_answers(clinic: Clinic) -> Iterator[None]:
    """Somebody changed the answers that are kept for a repetition."""
    cause = CAUSES["kept_answer_spoilt"]
    for form in cause.forms:
        path = MESSAGES if form in WIRE else CHAT
        assert clinic.ask(path, asked(cause, form, None), f"idempotency-key: kept-{form}").status == 200
    connection = sqlite3.connect(clinic.gateway.database, timeout=10)
    with connection:
        connection.execute("UPDATE idempotency_keys SET answer = x'00' WHERE answer IS NOT NULL")
    connection.close()
    yield


@contextmanager
def spoilt_data_key(clinic: Clinic) -> Iterator[None]:
    """The key that an org's content is encrypted with does not open any more."""
    connection = sqlite3.connect(clinic.gateway.database, timeout=10)
    with connection:
        connection.execute(
            "INSERT OR REPLACE INTO org_data_keys (org_id, wrapped, created_us) "
            "SELECT id, x'00', 0 FROM orgs WHERE slug = 'spoilt'"
        )
    connection.close()
    yield


@contextmanager
def every_circuit_open(clinic: Clinic) -> Iterator[None]:
    """All providers of the model have failed so often that none of them is asked for a while."""
    for _ in range(100):
        if clinic.chat("failing-model").status == 503:
            break
    yield


@contextmanager
def unwritable_store(clinic: Clinic) -> Iterator[None]:
    """Another process holds the database, and does not let go."""
    connection = sqlite3.connect(clinic.gateway.database, timeout=10, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


UPSTREAM = "INFERENCE_UPSTREAM_FAILURE"
INVALID = "VALIDATION_FAILED"
FEATURE = "FEATURE_NOT_HIPAA_ELIGIBLE"
CAUSES: dict[str, Cause] = {
    "not_json": Cause(400, INVALID, body=b'{"message": '),
    "wrong_type": Cause(400, INVALID, fields={"max_tokens": "many"}),
    "unknown_field": Cause(400, INVALID, fields={"temperature": 0.5}, forms=NATIVE),
    "unknown_model": Cause(400, INVALID, model="no-such-model"),
    "model_not_granted": Cause(400, INVALID, model="unreachable-model", org="narrow"),
    "unsupported_parameter": Cause(400, "UNSUPPORTED_PARAMETER", fields={"store": True}, forms=WIRE),
    "phi_in_tool_schema": Cause(400, "PHI_IN_TOOL_SCHEMA", org="guarded", fields={"tools": [WEBHOOK_TOOL]}),
    "provider_rejects_the_body": Cause(400, INVALID, model=fault_model("error:400")),
    "no_key": Cause(401, "INVALID_API_KEY", headers=("x-api-key:",)),
    "unknown_key": Cause(401, "INVALID_API_KEY", headers=("authorization: Bearer nobody",)),
    "no_agreement": Cause(402, "BAA_REQUIRED", org="unsigned"),
    "credits_used_up": Cause(402, "AI_CREDITS_EXHAUSTED", org="exhausted"),
    "missing_scope": Cause(403, "MISSING_SCOPE", org="scopeless"),
    "phi_blocked": Cause(403, "PHI_BLOCKED", org="blocking", text=PERSON),
    "uninspectable_content": Cause(403, FEATURE, org="guarded", content=[IMAGE]),
    "feature_not_allowed": Cause(403, FEATURE, org="guarded", fields={"tools": [WEB_SEARCH]}),
    "premium_not_enabled": Cause(403, "OPUS_NOT_ENABLED", model="premium-model"),
    "unknown_path": Cause(404, "RESOURCE_NOT_FOUND", paths=(CHAT + "/x", MESSAGES + "/x")),
    "unknown_conversation": Cause(
        404, "RESOURCE_NOT_FOUND", fields={"conversation_id": "conv_0"}, forms=NATIVE
    ),
    "unknown_document": Cause(404, "RESOURCE_NOT_FOUND", fields={"document_ids": ["doc_0"]}, forms=NATIVE),
    "method_not_allowed": Cause(405, "METHOD_NOT_ALLOWED", method="PUT"),
    "idempotency_key_reused": Cause(
        409,
        "IDEMPOTENCY_KEY_REUSED",
        headers=("idempotency-key: {form}",),
        meanwhile=keys_of_other_requests,
    ),
    "idempotency_in_progress": Cause(
        409,
        "IDEMPOTENCY_IN_PROGRESS",
        True,
        model=fault_model("hang_before_head"),
        headers=("idempotency-key: running-{form}",),
        meanwhile=keys_of_requests_under_way,
    ),
    "model_retired": Cause(410, "MODEL_RETIRED", model="retired-model"),
    "payload_too_large": Cause(413, "PAYLOAD_TOO_LARGE", text="x" * MAX_BODY_BYTES),
    "unsupported_encoding": Cause(415, "UNSUPPORTED_MEDIA_TYPE", headers=("content-encoding: br",)),
    "requests_limited": Cause(
        429, "RATE_LIMITED", True, org="limited", meanwhile=one_request_before("limited")
    ),
    "tokens_limited": Cause(429, "RATE_LIMITED", True, org="chatty", meanwhile=one_request_before("chatty")),
    "too_many_at_once": Cause(429, "RATE_LIMITED", True, org="crowded", meanwhile=another_under_way),
    "spend_cap_reached": Cause(429, "BUDGET_EXCEEDED", org="capped"),
    "stored_content_spoilt": Cause(500, "INTERNAL_ERROR", True, forms=NATIVE, meanwhile=spoilt_conversation),
    "kept_answer_spoilt": Cause(
        500,
        "INTERNAL_ERROR",
        True,
        headers=("idempotency-key: kept-{form}",),
        forms=("native_json", "messages_json"),  # of a stream no answer is kept
        meanwhile=spoilt_answers,
    ),
    "data_key_spoilt": Cause(
        500,
        "INTERNAL_ERROR",
        True,
        org="spoilt",
        headers=("idempotency-key: sealed-{form}",),
        meanwhile=spoilt_data_key,
    ),
    "provider_overloaded": Cause(502, UPSTREAM, True, model=fault_model("error:529")),
    "provider_limits_us": Cause(502, UPSTREAM, True, model=fault_model("rate_limited:7")),
    "provider_refuses_our_key": Cause(502, UPSTREAM, True, model=fault_model("error:401")),
    "provider_answers_nothing": Cause(502, UPSTREAM, True, model=fault_model("empty:500")),
    "provider_answers_html": Cause(502, UPSTREAM, True, model=fault_model("html:200")),
    "provider_unreachable": Cause(502, UPSTREAM, True, model="unreachable-model"),
    "provider_silent": Cause(502, UPSTREAM, True, model=fault_model("hang_before_head")),
    "provider_cuts_the_stream": Cause(
        502, UPSTREAM, True, model=fault_model("stream_cut_at:400"), forms=STREAMS
    ),
    "provider_fails_in_the_stream": Cause(
        502, UPSTREAM, True, model=fault_model("stream_error_event"), forms=STREAMS
    ),
    "provider_stalls_in_the_stream": Cause(
        502, UPSTREAM, True, model=fault_model("stream_stalls:1"), forms=STREAMS
    ),
    "every_circuit_open": Cause(
        503, "INFERENCE_UNAVAILABLE", True, model="failing-model", meanwhile=every_circuit_open
    ),
    "store_unwritable": Cause(503, "INFERENCE_UNAVAILABLE", True, meanwhile=unwritable_store),
}


def asked(cause: Cause, form: str, more: dict[str, Any] | None) -> Any:
    """The body of one form of a cause."""
    if cause.body is not None:
        return cause.body
    body: dict[str, Any] = {"model": cause.model, "stream": form in STREAMS}
    content = cause.text if cause.content is None else cause.content
    if form in WIRE:
        body["max_tokens"] = 64
    if form in NATIVE and cause.content is None:
        body["message"] = content
    else:
        body["messages"] = [{"role": "user", "content": content}]
    return {**body, **cause.fields, **(more or {})}


def provoke(clinic: Clinic, cause: Cause) -> dict[str, Answer]:
    """What each form of a cause is answered with, all asked at once."""
    answers: dict[str, Answer] = {}
    with cause.meanwhile(clinic) as more:

        def ask(form: str) -> None:
            path = cause.paths[form in WIRE]
            body = asked(cause, form, more)
            headers = [header.replace("{form}", form) for header in cause.headers]
            answers[form] = clinic.ask(path, body, *headers, org=cause.org, method=cause.method)

        threads = [threading.Thread(target=ask, args=(form,)) for form in cause.forms]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return {form: answers[form] for form in cause.forms}


def cell(form: str, answer: Answer) -> str:
    """Which cell of the matrix an answer belongs to."""
    if answer.status != 200:
        return {"native_stream": "native_stream_before"}.get(form, form) + ".http"
    return {"native_stream": "native_stream_after"}.get(form, form) + ".sse"


def written(answer: Answer) -> str:
    """An answer as its golden file has it: of a stream, the event that ends it."""
    if answer.status == 200:
        return normalised(answer.body.decode().rstrip("\n").rpartition("\n\n")[2]) + "\n"
    lines = [f"HTTP {answer.status}"]
    shown = ("allow", "content-type", "retry-after", "x-should-retry")
    lines += [f"{name}: {value}" for name, value in answer.headers if name in shown]
    return normalised("\n".join((*lines, "", answer.body.decode(), "")))


def error_of(form: str, answer: Answer) -> dict[str, Any]:
    """The error object, wherever it stands."""
    if answer.status != 200:
        error: dict[str, Any] = json.loads(answer.body)["error"]
        return error
    _, data = events(answer.body)[-1]
    found: dict[str, Any] = data["data"] if form in NATIVE else data
    return dict(found["error"])


def main() -> None:
    with clinic() as running:
        for name, cause in CAUSES.items():
            for form, answer in provoke(running, cause).items():
                path = GOLDEN / name / cell(form, answer)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(written(answer))
                print(name, path.name, answer.status)


if __name__ == "__main__":
    main()
