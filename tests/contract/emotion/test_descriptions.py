"""What ``/openapi.json`` says of the emotion surface is what it takes and what it answers."""

import json
from collections.abc import Iterator

import pytest

from tests.contract.emotion.world import World, analysis, completion, world
from tests.contract.schema import faults
from triptych.surfaces.emotion.described import EMOTION

pytestmark = pytest.mark.timeout(180)
ANALYSIS = "/v2/emotions/analysis"
BATCH = "/v2/emotions/batch-analysis"
CHAT = "/v2/chat/completions"
CONTEXT, MESSAGE = "/v2/emotions/{context_id}", "/v2/emotions/{context_id}/message/{external_id}"
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
DESCRIBED = {
    "an analysis": (ANALYSIS, ANALYSIS, analysis("x"), 200),
    "a context": (CONTEXT + "/analysis", "/v2/emotions/said/analysis", analysis("x"), 200),
    "a batch": (BATCH, BATCH, analysis("x", {"content": " "}), 200),
    "a state": (CONTEXT, "/v2/emotions/said", None, 200),
    "a chat": (CHAT, CHAT, completion(), 200),
    "a stream": (CHAT, CHAT, completion(stream=True), 200),
    "models": ("/v2/models", "/v2/models", None, 200),
    "the status": ("/v2/status", "/v2/status", None, 200),
    "an analysis with nulls": (
        ANALYSIS,
        ANALYSIS,
        analysis({"role": None, "externalId": None, "timestamp": None, "content": "x"}),
        200,
    ),
    "a chat with nulls": (
        CHAT,
        CHAT,
        completion(
            emotion_model=None,
            context_id=None,
            model_params={"temperature": None, "max_tokens": None},
            emotion_model_params=None,
            stream=None,
            tools=None,
        ),
        200,
    ),
    "a chat with an object as content": (
        CHAT,
        CHAT,
        completion(messages=[{"role": None, "content": {"text": "I won!"}}]),
        200,
    ),
    "a chat that goes on after calls of tools": (
        CHAT,
        CHAT,
        completion(
            messages=[
                {"role": "user", "content": "And the weather?"},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
                {"role": "assistant", "content": "Let me look again.", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": {"text": "rain"}},
            ],
            tools=[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
            tool_choice="auto",
        ),
        200,
    ),
    "a field that is missing": (ANALYSIS, ANALYSIS, b"{}", 400),
    "a value that is wrong": (CHAT, CHAT, completion(stream=7), 422),
    "a context that is gone": (CONTEXT, "/v2/emotions/nowhere", None, 404),
    "a message that is gone": (MESSAGE, "/v2/emotions/said/message/x", None, 404),
    "a word": (ANALYSIS, ANALYSIS, None, 422),
    "a provider that fails": (CHAT, CHAT, completion("unreachable-model"), 503),
}


@pytest.fixture(scope="module")
def sides() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.mark.parametrize(("path", "target", "body", "status"), DESCRIBED.values(), ids=DESCRIBED)
def test_what_is_answered_fits_what_is_described(
    sides: World, path: str, target: str, body: bytes | None, status: int
) -> None:
    document = sides.json("/openapi.json")
    sides.json("/v2/emotions/said/analysis", analysis("x"))
    answer = sides.ask(target, body)
    operation = document["paths"][path]["get" if body is None else "post"]
    assert answer.status == status
    content = operation["responses"][str(status)]["content"]
    content_type = (answer.header("content-type") or "").partition(";")[0]
    value = json.loads(answer.body) if content_type == "application/json" else answer.body.decode()
    # Of events only the type is described: there is no schema for a stream of them.
    assert faults(value, content[content_type].get("schema", {}), document) == []
    if body is not None and status == 200:
        asked = operation["requestBody"]["content"]["application/json"]["schema"]
        assert faults(json.loads(body), asked, document) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "error", "error": {}},
        {"status": "error"},
        {"status": "ok"},
        {
            "status": "error",
            "error": {"type": "x", "code": "x", "message": "x", "request_id": "req-0123456789"},
        },
    ],
)
def test_an_item_of_a_batch_that_tells_less_than_its_outcome_does_not_fit(wrong: dict[str, object]) -> None:
    root = {"components": {"schemas": EMOTION.schemas}}
    item = EMOTION.schemas["BatchAnalysis"]["properties"]["results"]["items"]
    error = {"type": "invalid_request_error", "code": "missing_field", "message": "m"}
    right = {"status": "error", "error": {**error, "param": "p", "request_id": "req-0123456789"}}
    assert faults({"index": 0, "externalId": None, **right}, item, root) == []
    assert faults({"index": 0, "externalId": None, **wrong}, item, root)
