"""Agreement, coverage, features, premium models: the checks before a model is asked, on every surface, and
how soon a change of them holds."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.clinical.control_world import (
    CHAT,
    CONTROL,
    MESSAGES,
    Side,
    data,
    error,
    org,
    secret,
    world,
)
from tests.contract.raw_client import Answer, RawClient, request
from triptych.storage.admin_actions import CLI, Actor
from triptych.storage.agreements import sign
from triptych.storage.database import open_database

ELSEWHERE_S = 1.0
"""By when other processes know of a change; a busy machine gets five times as long."""
SIGNED = 'compliance = "hipaa"\nbaa = "active"'
ORGS = "".join(
    (
        org("acme", SIGNED),
        org("zeta", SIGNED),
        org("fresh", 'compliance = "hipaa"'),
        org("other", 'compliance = "hipaa"'),
        org("expired", 'compliance = "hipaa"\nbaa = "expired"'),
        org("tried", 'compliance = "hipaa"', plan="evaluation"),
        org("open"),
        org("allowed", f'{SIGNED}\nfeatures = ["web_search", "uninspectable_content"]'),
    )
)
SIGN = ("--name", "Ana Abreu", "--title", "CEO", "--email", "ana@example.org")


@pytest.fixture(scope="module")
def side() -> Iterator[Side]:
    with world(ORGS) as found:
        yield found


def message(model: str = "good", **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "hello there"}],
        **more,
    }


@pytest.mark.parametrize(("slug", "state"), [("fresh", "none"), ("expired", "expired")])
def test_without_an_agreement_no_surface_asks_a_model(side: Side, slug: str, state: str) -> None:
    sent = side.sent()
    for target, body in ((CHAT, {"message": "hello", "stream": False}), (MESSAGES, message()), (CHAT, {})):
        details = {"baa_url": "/clinical/v1/compliance/baa", "baa_status": state}
        assert error(side.ask(target, body, org=slug)) == (402, "BAA_REQUIRED", details)
    refused = side.ask("/v1/messages", message(), org=slug)
    assert (refused.status, json.loads(refused.body)["error"]["type"]) == (403, "permission_error")
    refused = side.ask("/v1/chat/completions", {"model": "good", "messages": []}, org=slug)
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (403, "baa_required")
    assert side.sent() == sent
    # What leads out of it needs none.
    for target in ("usage", "usage/budget", "api_keys", "compliance/baa", "provider-status"):
        assert side.ask(f"{CONTROL}/{target}", org=slug).status == 200
    assert data(side.ask(f"{CONTROL}/compliance/baa", org=slug))["status"] == state


def test_an_evaluation_passes_without_an_agreement_and_with_nothing_protected(side: Side) -> None:
    assert side.chat(org="tried").status == 200
    refused = side.chat(org="tried", message="His SSN is 536-90-4399.")
    assert error(refused)[:2] == (403, "PHI_BLOCKED")
    told = data(side.ask(f"{CONTROL}/compliance/baa", org="tried"))
    assert (told["status"], told["required"]) == ("none", False)


def test_signing_opens_the_gate_for_one_org_and_ending_closes_it(side: Side) -> None:
    def status(slug: str) -> int:
        return side.chat(org=slug).status

    side.command("baa", "sign", "--org", "fresh", *SIGN)
    side.until(lambda: status("fresh") == 200, 5 * ELSEWHERE_S)
    assert status("other") == 402
    assert data(side.ask(f"{CONTROL}/compliance/baa", org="fresh"))["status"] == "active"
    assert data(side.ask(f"{CONTROL}/compliance/baa", org="other"))["status"] == "none"
    # A stream that runs while the gate closes runs to its end.
    body = json.dumps({"model": "long", "message": "hello"}).encode()
    with RawClient(side.gateway.port, timeout_s=20.0) as client:
        client.send(request("POST", CHAT, f"x-api-key: {secret('fresh')}", body=body))
        seen = b""
        while b"message.delta" not in seen:
            seen += client.socket.recv(65536)
        side.command("baa", "expire", "--org", "fresh")
        side.until(lambda: status("fresh") == 402, 5 * ELSEWHERE_S)
        while b"\r\n0\r\n\r\n" not in seen:
            seen += client.socket.recv(65536)
    assert b"event: run.completed" in seen
    assert error(side.chat(org="fresh"))[2]["baa_status"] == "expired"


def test_an_agreement_ends_at_its_moment_and_not_a_poll_later(side: Side) -> None:
    database = open_database(f"sqlite:///{side.gateway.database}", durability="process")
    ends_s = time.time() + 8
    names = {"name": "Ana", "title": "CEO", "email": "ana@example.org"}
    sign(database, Actor(CLI), "other", expires_us=int(ends_s * 1e6), **names)
    database.close()
    side.until(lambda: side.chat(org="other").status == 200, 5.0)
    while True:
        asked_s = time.time()
        if side.chat(org="other").status == 402:
            break
        # Nothing that is asked after the moment passes.
        assert asked_s < ends_s
        time.sleep(0.1)
    assert time.time() >= ends_s
    assert error(side.chat(org="other"))[2]["baa_status"] == "expired"


def test_a_running_stream_outlives_its_key_and_its_cap_and_the_next_request_does_not(side: Side) -> None:
    keys, budget = f"{CONTROL}/api_keys", f"{CONTROL}/usage/budget"
    made = data(side.ask(keys, {"name": "short-lived", "scopes": ["ai:chat"]}, org="zeta"), 201)
    key = made["plaintext"]
    body = json.dumps(message("long", stream=True)).encode()
    with RawClient(side.gateway.port, timeout_s=20.0) as client:
        client.send(request("POST", MESSAGES, f"x-api-key: {key}", body=body))
        seen = b""
        while b"content_block_delta" not in seen:
            seen += client.socket.recv(65536)
        data(side.ask(f"{keys}/{made['id']}", method="DELETE", org="zeta"))
        assert side.ask(MESSAGES, message(), key=key).status == 401
        data(side.ask(budget, {"spend_cap_usd": 0}, method="PUT", org="zeta"))
        assert error(side.ask(MESSAGES, message(), org="zeta"))[:2] == (429, "BUDGET_EXCEEDED")
        assert side.ask(MESSAGES, message(), org="acme").status == 200
        while b"\r\n0\r\n\r\n" not in seen:
            seen += client.socket.recv(65536)
    assert b"message_stop" in seen
    data(side.ask(budget, {"spend_cap_usd": None}, method="PUT", org="zeta"))
    assert side.ask(MESSAGES, message(), org="zeta").status == 200


def test_a_model_without_a_covered_provider_is_not_asked(side: Side) -> None:
    status, code, details = error(side.chat("uncovered"))
    assert (status, code, details["baa_status"]) == (402, "BAA_REQUIRED", "active")
    assert side.chat("uncovered", org="open").status == 200
    # Nor is it offered where it cannot be asked.
    for slug, offered in (("acme", False), ("open", True)):
        listed = json.loads(side.ask("/v2/models", org=slug).body)["data"]
        assert ("uncovered" in {model["id"] for model in listed}) is offered


def test_the_default_model_is_one_that_the_agreement_covers() -> None:
    """Though another stands before it in the catalogue."""
    late = '[[models]]\nid = "late"\nupstream_id = "fault-ok"\nprovider = "mock"\n'
    orgs = (org("acme", SIGNED) + org("open")).replace('models = ["*"]', 'models = ["uncovered", "late"]')
    with world(late + orgs) as found:
        for slug, model in (("acme", "late"), ("open", "uncovered")):
            answer = found.ask(CHAT, {"message": "hello", "stream": False}, org=slug)
            assert answer.status == 200
            assert json.loads(answer.body)["meta"]["usage"]["model"] == model


SEARCH = {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}
PICTURE = {
    "role": "user",
    "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}],
}


def test_a_feature_must_be_allowed_on_every_surface(side: Side) -> None:
    sent = side.sent()
    for target in (CHAT, MESSAGES, f"{MESSAGES}/count_tokens"):
        body = message(**SEARCH)
        if target.endswith("count_tokens"):
            del body["max_tokens"]
        if target == CHAT:
            body = {**SEARCH, "model": "good", "message": "x", "stream": False}
        status, code, details = error(side.ask(target, body))
        assert (status, code, details) == (403, "FEATURE_NOT_HIPAA_ELIGIBLE", {"feature": "web_search"})
    refused = side.ask("/v1/messages", message(**SEARCH))
    assert (refused.status, json.loads(refused.body)["error"]["type"]) == (403, "permission_error")
    completion = {"model": "good", "messages": [{"role": "user", "content": "x"}]}
    refused = side.ask("/v1/chat/completions", {**completion, "web_search_options": {"user_location": None}})
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (403, "feature_not_allowed")
    item = {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}
    refused = side.ask("/v1/responses", {"model": "good", "input": [item]})
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (400, "dlp_blocked")
    assert side.sent() == sent
    for slug in ("allowed", "open"):
        assert side.ask(MESSAGES, message(**SEARCH), org=slug).status == 200


def test_what_cannot_be_inspected_is_refused_unless_allowed(side: Side) -> None:
    body = {**message(), "messages": [PICTURE]}
    status, code, details = error(side.ask(MESSAGES, body))
    assert (status, code, details) == (
        403,
        "FEATURE_NOT_HIPAA_ELIGIBLE",
        {"feature": "uninspectable_content"},
    )
    chat = {"model": "good", "messages": [PICTURE], "stream": False}
    found = json.loads(side.ask(CHAT, chat).body)["error"]
    assert found["param"].startswith("messages[0].content")
    refused = side.ask("/v1/messages", body)
    assert (refused.status, json.loads(refused.body)["error"]["type"]) == (400, "invalid_request_error")
    assert side.ask(MESSAGES, body, org="allowed").status == 200
    assert side.ask(MESSAGES, body, org="open").status == 200


def text_document(data: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    source = {"type": "base64", "media_type": "text/plain", "data": encoded}
    return {"role": "user", "content": [{"type": "document", "source": source}]}


def test_a_text_in_base64_is_read_like_any_text_and_needs_no_feature(side: Side) -> None:
    body = {**message(), "messages": [text_document(b"Her SSN is 536-90-4399.")]}
    for target, wished in ((MESSAGES, body), (CHAT, {**body, "stream": False})):
        if target == CHAT:
            del wished["max_tokens"]
        assert side.ask(target, wished).status == 200
        asked = json.loads(side.upstream.requests[-1].body)
        read = base64.b64decode(asked["messages"][0]["content"][0]["source"]["data"])
        assert read == b"Her SSN is [US_SSN_1]."
        assert error(side.ask(target, wished, org="tried"))[:2] == (403, "PHI_BLOCKED")
    sent = side.sent()
    # What calls itself a text and is none, and a picture of that type, are not read.
    for content in (text_document(b"\xff\xff\xff"), {**PICTURE, "content": [masked_picture()]}):
        refused = side.ask(MESSAGES, {**message(), "messages": [content]})
        assert error(refused)[1:] == ("FEATURE_NOT_HIPAA_ELIGIBLE", {"feature": "uninspectable_content"})
    assert side.sent() == sent


def masked_picture() -> dict[str, Any]:
    (block,) = text_document(b"no picture")["content"]
    return {**block, "type": "image"}


def test_changes_hold_while_many_ask(side: Side) -> None:
    """A cap of zero and back, under load: what is asked after the answer meets what was put."""
    budget = f"{CONTROL}/usage/budget"
    stop = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        while not stop.is_set():
            statuses.append(side.ask(MESSAGES, message(), org="zeta").status)
            time.sleep(0.005)  # the plan's 5,000 a minute are not what is tried here

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for cap, status in ((0, 429), (None, 200), (0, 429), (None, 200)):
            data(side.ask(budget, {"spend_cap_usd": cap}, method="PUT", org="zeta"))
            answers: list[Answer] = [side.ask(MESSAGES, message(), org="zeta") for _ in range(3)]
            assert [answer.status for answer in answers] == [status] * 3, answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(statuses) <= {200, 429}
