"""Native chat as its page tells it: JSON and events, conversations, tools, records, two orgs."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.clinical.world import CHAT, Clinic, clinic, events, fault_model, secret
from tests.contract.raw_client import Answer, RawClient, request

RECORDS = "/clinical/v1/ai/messages/"
ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def running() -> Iterator[Clinic]:
    with clinic() as one:
        yield one


def data(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    found: dict[str, Any] = json.loads(answer.body)
    return found


def sandbox(running: Clinic, **body: Any) -> Answer:
    return running.ask(CHAT, {"model": "sandbox-echo", "stream": False, **body}, org="boxed")


def record(running: Clinic, name: str, org: str = "acme") -> Answer:
    return running.ask(RECORDS + name, method="GET", org=org)


def test_a_plain_answer_has_the_shape_of_the_page(running: Clinic) -> None:
    answer = running.chat(message="hello there")
    found = data(answer)
    request_id = answer.header("request-id")
    assert request_id is not None
    ulid = request_id.removeprefix("req_")
    message = found["data"]["message"]
    assert found["success"] is True
    assert (message["id"], message["role"]) == (f"msg_{ulid}", "assistant")
    assert [block["type"] for block in message["content"]] == ["text"]
    assert re.fullmatch(f"conv_{ULID}", found["data"]["conversation_id"])
    assert set(found["meta"]) == {"request_id", "usage"} and found["meta"]["request_id"] == request_id
    usage = found["meta"]["usage"]
    row = running.row(answer)
    assert usage == {
        "model": "mapped-model",
        "input_tokens": row["input_tokens"] + row["cache_read_tokens"] + row["cache_write_tokens"],
        "output_tokens": row["output_tokens"],
        "sonnet_equivalent_tokens": row["credits"],
        "cost_usd": row["cost_nusd"] / 1e9,
    }
    assert row["cost_nusd"] > 0 and row["surface"] == "clinical"


def test_a_stream_is_the_default_and_keeps_the_order_of_the_page(running: Clinic) -> None:
    answer = running.ask(CHAT, {"model": "mapped-model", "message": "hello"})
    told = events(answer.body)
    types = [type_ for type_, _ in told]
    deltas = types.count("message.delta")
    assert deltas > 1
    assert types == [
        "run.created",
        "run.started",
        "message.created",
        *["message.delta"] * deltas,
        "message.completed",
        "usage.updated",
        "run.completed",
    ]
    ids = [event["id"] for _, event in told]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(f"evt_{ULID}", id_) for id_ in ids)
    for block in filter(None, answer.body.decode().split("\n\n")):
        lines = [line for line in block.splitlines() if not line.startswith(":")]
        assert not lines or [line.partition(":")[0] for line in lines] == ["event", "id", "data"]
    for type_, event in told:
        assert (event["object"], event["type"], event["api_version"]) == ("event", type_, "2026-04-01")
        assert abs(event["created"] - time.time()) < 60
    by_type = {type_: event["data"] for type_, event in told}
    text = "".join(event["data"]["delta"]["text"] for type_, event in told if type_ == "message.delta")
    ulid = (answer.header("request-id") or "").removeprefix("req_")
    assert by_type["run.created"]["object"]["id"] == f"run_{ulid}"
    assert by_type["message.delta"]["message_id"] == f"msg_{ulid}"
    assert by_type["message.completed"]["object"]["content"] == [{"type": "text", "text": text}]
    assert by_type["run.completed"]["object"]["usage"] == by_type["usage.updated"]["usage"]
    assert by_type["run.completed"]["object"]["status"] == "completed"
    assert answer.header("content-type") == "text/event-stream; charset=utf-8"


def test_there_is_one_delta_for_each_of_the_provider(running: Clinic) -> None:
    answer = running.ask(CHAT, {"model": "mapped-model", "message": "hello"})
    wire = running.ask(
        "/clinical/v1/messages",
        {
            "model": "mapped-model",
            "max_tokens": 64,
            "stream": True,
            "messages": [{"role": "user", "content": "x"}],
        },
    )
    assert answer.body.count(b"event: message.delta\n") == wire.body.count(b'"type":"text_delta"')


def test_the_run_is_told_before_the_provider_answers_and_recorded_before_it_starts(running: Clinic) -> None:
    seen = len(running.upstream.requests)
    body = json.dumps({"model": fault_model("hang_before_head"), "message": "x"}).encode()
    with RawClient(running.port, 20.0) as client:
        client.send(request("POST", CHAT, f"x-api-key: {secret('acme')}", body=body))
        head = client._until(b"\r\n\r\n")
        client._until(b"event: run.started")
        match = re.search(rb"request-id: req_(" + ULID.encode() + rb")", head)
        assert match is not None
        open_rows = running.gateway.rows(f"id = '{match[1].decode()}'")
        assert len(open_rows) == 1
        client._until(b"event: run.failed")
    assert running.upstream.wait_until(lambda: len(running.upstream.requests) > seen, 5.0)


def test_a_conversation_goes_on_by_its_id(running: Clinic) -> None:
    first = data(running.chat(message="one", system="Be brief."))
    conversation_id = first["data"]["conversation_id"]
    running.chat(message="two", conversation_id=conversation_id)
    running.chat(messages=[{"role": "user", "content": "three"}], conversation_id=conversation_id)
    said = running.upstream.requests[-1].json["messages"]
    assert isinstance(said, list)
    assert [message["role"] for message in said] == ["user", "assistant"] * 2 + ["user"]
    assert [message["content"] for message in said[::2]] == ["one", "two", "three"]
    assert said[1]["content"] == first["data"]["message"]["content"]
    # What an instruction asks for is asked of each turn anew.
    assert "system" not in running.upstream.requests[-1].json


def test_a_turn_that_failed_is_not_gone_on_from(running: Clinic) -> None:
    conversation_id = data(running.chat(message="one"))["data"]["conversation_id"]
    failed = running.chat(
        fault_model("error:529"), message="lost", conversation_id=conversation_id, stream=True
    )
    assert events(failed.body)[-1][0] == "run.failed"
    running.chat(message="two", conversation_id=conversation_id)
    said = running.upstream.requests[-1].json["messages"]
    assert isinstance(said, list) and [m["content"] for m in said[::2]] == ["one", "two"]


def test_what_is_not_stored_keeps_its_record_and_its_usage_but_no_word(running: Clinic) -> None:
    answer = running.chat(message="a word for nobody", store=False)
    found = data(answer)
    assert found["data"]["conversation_id"] is None
    kept = data(record(running, found["data"]["message"]["id"]))["data"]
    assert (kept["stored"], kept["input"], kept["message"]["content"]) == (False, None, None)
    assert kept["usage"] == found["meta"]["usage"]
    assert kept["run"]["status"] == "completed"
    connection = sqlite3.connect(f"file:{running.gateway.database}?mode=ro", uri=True)
    ulid = found["data"]["message"]["id"].removeprefix("msg_")
    assert not connection.execute("SELECT 1 FROM chat_turns WHERE exchange_id = ?", (ulid,)).fetchall()
    connection.close()


def test_what_is_stored_is_encrypted(running: Clinic) -> None:
    found = data(running.chat(message="a very secret word"))
    connection = sqlite3.connect(f"file:{running.gateway.database}?mode=ro", uri=True)
    ulid = found["data"]["message"]["id"].removeprefix("msg_")
    (content,) = connection.execute(
        "SELECT content FROM chat_turns WHERE exchange_id = ?", (ulid,)
    ).fetchone()
    connection.close()
    assert len(content) > 50 and b"secret" not in content
    assert b"secret" not in running.gateway.database.read_bytes()


def test_a_record_has_three_names(running: Clinic) -> None:
    found = data(running.chat(message="find me"))
    ulid = found["data"]["message"]["id"].removeprefix("msg_")
    by_name = [data(record(running, name))["data"] for name in (ulid, f"msg_{ulid}", f"req_{ulid}")]
    assert by_name[0] == by_name[1] == by_name[2]
    kept = by_name[0]
    assert kept["message"]["content"] == found["data"]["message"]["content"]
    assert kept["input"] == [{"role": "user", "content": "find me"}]
    assert kept["conversation_id"] == found["data"]["conversation_id"]
    assert kept["usage"] == found["meta"]["usage"]
    for name in (f"run_{ulid}", ulid.lower(), ulid[:-1], "msg_", "msg_msg_" + ulid, "%FF"):
        assert record(running, name).status == 404, name


def test_a_failed_run_is_in_its_record_with_what_was_said(running: Clinic) -> None:
    answer = running.ask(CHAT, {"model": fault_model("stream_cut_at:900"), "message": "x"})
    told = events(answer.body)
    text = "".join(event["data"]["delta"]["text"] for type_, event in told if type_ == "message.delta")
    assert told[-1][0] == "run.failed" and text
    kept = data(record(running, (answer.header("request-id") or "")))["data"]
    assert kept["run"]["status"] == "failed"
    assert kept["run"]["error"]["code"] == "INFERENCE_UPSTREAM_FAILURE"
    assert kept["message"]["status"] == "incomplete"
    assert kept["message"]["content"] == [{"type": "text", "text": text}]


def test_a_client_that_leaves_stops_the_provider_and_is_in_the_record(running: Clinic) -> None:
    body = json.dumps({"model": fault_model("endless"), "message": "x"}).encode()
    with RawClient(running.port) as client:
        client.send(request("POST", CHAT, f"x-api-key: {secret('acme')}", body=body))
        head = client._until(b"\r\n\r\n").decode()
        client._until(b"message.delta")
    left_s = time.monotonic()
    connection = running.upstream.connections[-1]
    assert running.upstream.wait_until(lambda: connection.closed_by is not None, 5.0)
    assert connection.closed_mono_s is not None and connection.closed_mono_s - left_s < 1.0
    request_id = re.search(r"request-id: (req_\S+)", head)
    assert request_id is not None
    kept: dict[str, Any] = {}

    def cancelled() -> bool:
        kept.update(data(record(running, request_id[1]))["data"])
        return bool(kept["run"]["ended"])

    assert running.upstream.wait_until(cancelled, 5.0)
    assert kept["run"]["status"] == "cancelled"
    assert [event["type"] for event in kept["run"]["events"]] == [
        "run.created",
        "run.started",
        "run.cancel_requested",
        "run.cancelled",
    ]
    assert kept["message"]["content"][0]["text"]


def test_an_org_sees_nothing_of_another(running: Clinic) -> None:
    found = data(running.chat(message="mine"))
    message_id, conversation_id = found["data"]["message"]["id"], found["data"]["conversation_id"]
    theirs = record(running, message_id, org="other")
    nobodys = record(running, "msg_00000000000000000000000000", org="other")
    assert theirs.status == nobodys.status == 404

    def said(answer: Answer) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(answer.body)["error"]
        return {name: value for name, value in error.items() if name != "request_id"}

    assert said(theirs) == said(nobodys)
    continued = running.chat(org="other", message="x", conversation_id=conversation_id)
    unknown = running.chat(org="other", message="x", conversation_id="conv_00000000000000000000000000")
    assert continued.status == unknown.status == 404
    assert said(continued) == said(unknown)
    assert data(record(running, message_id))["data"]["message"]["id"] == message_id


def test_live_and_test_keys_do_not_see_each_others_conversations(running: Clinic) -> None:
    found = data(sandbox(running, message="in the box"))
    assert record(running, found["data"]["message"]["id"], org="boxed").status == 200
    assert record(running, found["data"]["message"]["id"], org="acme").status == 404


def test_a_tool_of_the_client_is_called_and_its_result_goes_on(running: Clinic) -> None:
    answer = running.ask(CHAT, {"model": "sandbox-tool", "message": "look!", "tools": [TOOL]}, org="boxed")
    told = events(answer.body)
    calls = [(type_, event["data"]) for type_, event in told if type_.startswith("tool_call.")]
    assert calls[0][0] == "tool_call.created"
    assert calls[-1][0] == "tool_call.completed"
    assert all(type_ == "tool_call.delta" for type_, _ in calls[1:-1])
    written = "".join(found["delta"]["partial_json"] for type_, found in calls if type_ == "tool_call.delta")
    done = calls[-1][1]["object"]
    assert json.loads(written or "{}") == done["input"]
    completed = dict(told)["message.completed"]["data"]["object"]
    assert completed["stop_reason"] == "tool_use"
    assert completed["content"][-1] == {
        "type": "tool_use",
        "id": done["id"],
        "name": "look",
        "input": done["input"],
    }
    conversation_id = told[0][1]["data"]["object"]["conversation_id"]
    result = {"type": "tool_result", "tool_use_id": done["id"], "content": "seen"}
    again = sandbox(
        running,
        messages=[{"role": "user", "content": [result]}],
        conversation_id=conversation_id,
        tools=[TOOL],
    )
    assert data(again)["data"]["conversation_id"] == conversation_id


def test_what_was_redacted_is_told_and_comes_back_along_a_conversation(running: Clinic) -> None:
    address = "eleanor.rigby@example.com"
    first = running.ask(
        CHAT, {"model": "mapped-model", "stream": False, "message": f"Write to {address}"}, org="guarded"
    )
    found = data(first)
    assert found["meta"]["phi"] == {
        "mode": "redact",
        "entity_types": ["EMAIL_ADDRESS"],
        "redaction_count": 1,
    }
    sent = json.dumps(running.upstream.requests[-1].json)
    assert address not in sent and "[EMAIL_ADDRESS_1]" in sent
    conversation_id = found["data"]["conversation_id"]
    second = running.ask(
        CHAT,
        {
            "model": "mapped-model",
            "message": f"And {address} or paul@example.org",
            "conversation_id": conversation_id,
        },
        org="guarded",
    )
    sent = json.dumps(running.upstream.requests[-1].json)
    assert "And [EMAIL_ADDRESS_1] or [EMAIL_ADDRESS_2]" in sent and "@" not in sent
    done = events(second.body)[-1][1]["data"]["object"]
    assert done["phi"]["entity_types"] == ["EMAIL_ADDRESS"]
    kept = data(record(running, found["data"]["message"]["id"], org="guarded"))["data"]
    assert kept["input"] == [{"role": "user", "content": f"Write to {address}"}]


def test_the_answer_brings_the_callers_own_values_back(running: Clinic) -> None:
    address = "eleanor.rigby@example.com"
    body = {"model": "sandbox-echo", "message": f"Write to {address}"}
    with_guard = {"org": "guarded-box"}
    plain = data(running.ask(CHAT, {**body, "stream": False}, **with_guard))  # type: ignore[arg-type]
    assert plain["data"]["message"]["content"] == [{"type": "text", "text": f"Write to {address}"}]
    told = events(running.ask(CHAT, body, **with_guard).body)  # type: ignore[arg-type]
    text = "".join(event["data"]["delta"]["text"] for type_, event in told if type_ == "message.delta")
    assert text == f"Write to {address}"
    assert dict(told)["message.completed"]["data"]["object"]["content"][0]["text"] == text


@pytest.mark.parametrize(
    ("model", "tokens"), [("mapped-model", 4096), ("small-model", 1000)], ids=["unsaid", "of the model"]
)
def test_the_bound_of_an_answer_is_the_models_own_by_default(
    running: Clinic, model: str, tokens: int
) -> None:
    running.chat(model)
    assert running.upstream.requests[-1].json["max_tokens"] == tokens
    running.chat(model, max_tokens=7)
    assert running.upstream.requests[-1].json["max_tokens"] == 7


def test_a_query_string_is_no_word_for_the_provider(running: Clinic) -> None:
    """The endpoint is ours; the provider's own has another meaning for it, or none."""
    assert (
        running.ask(f"{CHAT}?note=seen&beta=true", {"message": "hello there", "stream": False}).status == 200
    )
    assert running.upstream.requests[-1].target == "/v1/messages"


def test_the_default_model_is_the_first_of_the_catalogue_that_the_caller_may_use(running: Clinic) -> None:
    answer = running.ask(CHAT, {"message": "x", "stream": False})
    assert data(answer)["meta"]["usage"]["model"] == "mapped-model"


def test_every_answer_to_a_valid_key_tells_of_its_limits(running: Clinic) -> None:
    for answer in (
        running.chat(org="counted"),
        running.ask(CHAT, b"{", org="counted"),
        record(running, "msg_0", org="counted"),
        running.ask("/clinical/v1/ai/models", method="GET", org="counted"),
    ):
        assert answer.header("x-ratelimit-limit-requests") == "100000"
        assert int(answer.header("x-ratelimit-remaining-requests") or "") < 100_000
        assert abs(int(answer.header("x-ratelimit-reset-requests") or "") - time.time()) < 120
    tokens = running.chat(org="counted")
    assert tokens.header("x-ratelimit-limit-tokens") == "100000000"
    assert abs(int(tokens.header("x-ratelimit-reset-tokens") or "") - time.time()) < 120


def test_a_model_that_is_leaving_says_so(running: Clinic) -> None:
    answer = running.chat("leaving-model")
    assert answer.header("sunset") == "Fri, 01 Jan 2100 00:00:00 GMT"
    deprecated = answer.header("deprecation") or ""
    assert re.fullmatch(r"@\d+", deprecated)
    assert running.chat().header("sunset") is None


def test_the_catalogue_tells_what_a_compliance_officer_asks(running: Clinic) -> None:
    found = data(running.ask("/clinical/v1/ai/models?limit=200", method="GET"))
    models = {model["id"]: model for model in found["data"]}
    assert models["mapped-model"]["baa"] == {"covered": True, "agreement": "acme_mock_2026"}
    assert models["unreachable-model"]["baa"] == {"covered": False, "agreement": None}
    assert (models["premium-model"]["tier"], models["premium-model"]["enabled"]) == ("premium", False)
    assert models["leaving-model"]["retires_at"] == "2100-01-01T00:00:00Z"
    assert "retired-model" not in models
    narrow = data(running.ask("/clinical/v1/ai/models", method="GET", org="narrow"))
    assert [model["id"] for model in narrow["data"]] == ["mapped-model"]


def test_the_catalogue_comes_in_pages(running: Clinic) -> None:
    whole = data(running.ask("/clinical/v1/ai/models?limit=200", method="GET"))
    assert (whole["meta"]["has_more"], whole["meta"]["next_cursor"]) == (False, None)
    found, cursor = [], ""
    while True:
        page = data(running.ask(f"/clinical/v1/ai/models?limit=4{cursor}", method="GET"))
        found += page["data"]
        if not page["meta"]["has_more"]:
            break
        cursor = "&cursor=" + page["meta"]["next_cursor"]
    assert found == whole["data"]
    for query in ("limit=", "limit=0", "limit=201", "limit=x", "cursor=nobody"):
        assert running.ask(f"/clinical/v1/ai/models?{query}", method="GET").status == 400
