"""Each row of the emotion contract's error table, provoked by its real cause: status, bytes, headers, row."""

import json
from collections.abc import Iterator

import pytest

from tests.contract.emotion.world import (
    BLOCKING,
    LIVE_KEY,
    NARROW,
    NO_ACCESS,
    SCOPELESS,
    UNSIGNED,
    World,
    analysis,
    completion,
    error,
    seen,
    world,
)
from tests.contract.raw_client import RawClient, request

pytestmark = pytest.mark.timeout(180)  # several gateways or processes, on a busy machine too
INVALID = "invalid_request_error"
FORBIDDEN = "forbidden_error"
NOT_FOUND = "not_found_error"
CHAT = "/v2/chat/completions"
ANALYSIS = "/v2/emotions/analysis"
BATCH = "/v2/emotions/batch-analysis"
FRAMING = {"date", "content-length", "content-type", "connection"}
LIMITS = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


@pytest.fixture(scope="module")
def sides() -> Iterator[World]:
    with world() as made:
        yield made


def test_the_example_of_the_vendor_page_is_answered_word_for_word(sides: World) -> None:
    answer = sides.ask(ANALYSIS, b"{}")
    assert seen(answer) == error(
        400, INVALID, "missing_field", "The 'messages' field is required", "messages"
    )
    assert answer.names - FRAMING == {"x-request-id", *LIMITS}


MISSING = {
    "messages null": ({"model": "emotion-v2", "messages": None}, "messages"),
    "messages empty": ({"model": "emotion-v2", "messages": []}, "messages"),
    "no model": ({"messages": [{"content": "x"}]}, "model"),
    "an empty model": ({"model": "", "messages": [{"content": "x"}]}, "model"),
    "no content": ({"model": "emotion-v2", "messages": [{"content": "x"}, {}]}, "messages[1].content"),
    "no text": ({"model": "emotion-v2", "messages": [{"content": {}}]}, "messages[0].content.text"),
    "an empty text": (
        {"model": "emotion-v2", "messages": [{"content": {"text": ""}}]},
        "messages[0].content.text",
    ),
}


def test_an_assistant_that_calls_tools_may_say_nothing_but_not_begin_to(sides: World) -> None:
    said = {"role": "assistant", "content": {}, "tool_calls": [{}]}
    answer = sides.ask(CHAT, json.dumps({"model": "fault-ok", "messages": [said]}).encode())
    assert (answer.status, json.loads(answer.body)["error"]["param"]) == (400, "messages[0].content.text")


@pytest.mark.parametrize(("body", "param"), MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("target", [ANALYSIS, "/v2/emotions/c1/analysis", CHAT])
def test_a_missing_field_is_a_400_that_names_it(
    sides: World, target: str, body: dict[str, object], param: str
) -> None:
    answer = sides.ask(target, json.dumps(body).encode())
    assert seen(answer) == error(400, INVALID, "missing_field", f"The '{param}' field is required", param)
    row = sides.row(answer)
    assert (row["ending"], row["failure_kind"], row["surface"]) == ("refused", "missing_field", "emotion")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"messages=1",
        b'{"model":',
        b"[]",
        b"\xff{}",
        b'\xef\xbb\xbf{"model":1}',
        b'{"model":1,"model":2}',
        b'{"a":NaN}',
        b'{"model":"emotion-v2","messages":[{"content":"\\ud800"}]}',
        b'{"a":' + b"[" * 200 + b"]" * 200 + b"}",
    ],
)
@pytest.mark.parametrize("target", [ANALYSIS, BATCH, CHAT])
def test_what_is_no_json_is_a_400_without_a_param(sides: World, target: str, body: bytes) -> None:
    answer = sides.ask(target, body)
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["code"], told["type"]) == (400, "invalid_json", INVALID)
    assert "param" not in told


KEYS = {
    "none": (),
    "an unknown one": ("x-api-key: nobody",),
    "an empty one beside a good one": ("x-api-key:", f"authorization: Bearer {LIVE_KEY}"),
    "an unknown one beside a good one": ("x-api-key: nobody", f"authorization: Bearer {LIVE_KEY}"),
    "another scheme": ("authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l",),
    "two": (f"x-api-key: {LIVE_KEY}", f"x-api-key: {LIVE_KEY}"),
}


@pytest.mark.parametrize("fields", KEYS.values(), ids=KEYS)
def test_a_bad_key_is_a_401(sides: World, fields: tuple[str, ...]) -> None:
    answer = sides.ask(ANALYSIS, b"{}", *fields, key=None)
    sentence = "Missing or invalid API key. Check the x-api-key header."
    assert seen(answer) == error(401, "authentication_error", "invalid_api_key", sentence)
    assert answer.names - FRAMING == {"x-request-id"}


def test_an_expired_key_is_a_401_and_a_revoked_one_a_403(sides: World) -> None:
    assert sides.ask(ANALYSIS, b"{}", key=sides.expired).status == 401
    sentence = "The API key was revoked. Generate a new key in the console."
    expected = error(403, FORBIDDEN, "key_revoked", sentence)
    assert seen(sides.ask(ANALYSIS, b"{}", key=sides.revoked)) == expected
    # Elsewhere a revoked key is as good as unknown.
    assert sides.ask("/v1/models", key=sides.revoked).status == 401


def test_x_api_key_wins_over_authorization(sides: World) -> None:
    for fields in (
        (f"x-api-key: {LIVE_KEY}", "authorization: Bearer nobody"),
        (f"authorization: Bearer {LIVE_KEY}",),
        (f"x-api-key: {LIVE_KEY}",),
    ):
        assert sides.ask("/v2/models", None, *fields, key=None).status == 200


FORBIDDEN_ROWS = {
    "a scope": (SCOPELESS, "mapped-model", "insufficient_scope", None),
    "API access": (NO_ACCESS, "mapped-model", "insufficient_scope", None),
    "an agreement": (UNSIGNED, "mapped-model", "baa_required", None),
    "a group that grants it": (NARROW, "premium-model", "model_not_enabled", "model"),
    "a premium model's leave": (LIVE_KEY, "premium-model", "model_not_enabled", "model"),
}


@pytest.mark.parametrize(("key", "model", "code", "param"), FORBIDDEN_ROWS.values(), ids=FORBIDDEN_ROWS)
def test_what_policy_forbids_is_a_403_and_goes_nowhere(
    sides: World, key: str, model: str, code: str, param: str | None
) -> None:
    before = len(sides.upstream.requests)
    answer = sides.ask(CHAT, completion(model), key=key)
    message = json.loads(answer.body)["error"]["message"]
    assert seen(answer) == error(403, FORBIDDEN, code, message, param)
    assert len(sides.upstream.requests) == before
    if param is None:
        assert sides.ask(ANALYSIS, analysis("x"), key=key).status == 403


def test_protected_information_is_blocked_where_the_org_says_so(sides: World) -> None:
    before = len(sides.upstream.requests)
    answer = sides.ask(CHAT, completion("mapped-model", "My SSN is 536-90-4399."), key=BLOCKING)
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["code"], told["type"]) == (403, "policy_blocked", FORBIDDEN)
    assert told["param"] == "messages[1].content" and "536-90" not in answer.body.decode()
    assert len(sides.upstream.requests) == before


def test_what_is_not_there_is_a_404(sides: World) -> None:
    gone = "The context does not exist or has expired."
    for answer in (
        sides.ask("/v2/emotions/never-seen"),
        sides.ask("/v2/emotions/never-seen/message/m1"),
        sides.ask("/v2/emotions/never-seen", method="DELETE"),
    ):
        assert seen(answer) == error(404, NOT_FOUND, "context_not_found", gone, "context_id")
    sides.json("/v2/emotions/seen/analysis", analysis("Hello."))
    answer = sides.ask("/v2/emotions/seen/message/m1")
    sentence = "The message does not exist in this context."
    assert seen(answer) == error(404, NOT_FOUND, "message_not_found", sentence, "external_id")


@pytest.mark.parametrize("target", [ANALYSIS, BATCH, "/v2/emotions/c2/analysis"])
def test_an_unknown_emotion_model_is_a_404(sides: World, target: str) -> None:
    answer = sides.ask(target, analysis("x", model="emotion-v9"))
    sentence = "Model 'emotion-v9' not found."
    assert seen(answer) == error(404, NOT_FOUND, "model_not_found", sentence, "model")


@pytest.mark.parametrize("model", ["no-such-model", "retired-model"])
def test_an_unknown_or_retired_chat_model_is_a_404(sides: World, model: str) -> None:
    answer = sides.ask(CHAT, completion(model))
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["code"], told["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize(
    "target", ["/v2", "/v2/", "/v2/emotions", "/v2/nope", "/v2/emotions/a/b", "/v2/emotions/"]
)
def test_an_unknown_path_is_a_404_before_the_key(sides: World, target: str) -> None:
    answer = sides.ask(target, key=None)
    sentence = f"Unknown request URL: GET {target}"
    assert seen(answer) == error(404, NOT_FOUND, "route_not_found", sentence)


def test_another_method_is_a_405(sides: World) -> None:
    answer = sides.ask("/v2/models", method="PUT")
    sentence = "PUT is not allowed here; use GET, HEAD."
    assert seen(answer) == error(405, INVALID, "method_not_allowed", sentence)
    assert answer.header("allow") == "GET, HEAD"


def test_an_id_twice_is_a_409_and_stores_nothing(sides: World) -> None:
    target = "/v2/emotions/doubled/analysis"
    first = {"externalId": "m1", "content": "One."}
    sides.json(target, analysis(first))
    sentence = "The id of a message is already used in this context. Nothing of the request was stored."
    for body, index in (
        (analysis("Two.", {"external_id": "m1", "content": "Three."}), 1),
        (analysis({"messageId": "m2", "content": "Two."}, {"externalId": "m2", "content": "Three."}), 1),
    ):
        answer = sides.ask(target, body)
        assert seen(answer) == error(
            409, "conflict_error", "duplicate_id", sentence, f"messages[{index}].externalId"
        )
        assert sides.json("/v2/emotions/doubled")["metadata"]["message_count"] == 1
    assert sides.ask("/v2/emotions/doubled/message/m2").status == 404


def test_a_key_for_another_request_is_a_409(sides: World) -> None:
    field = "idempotency-key: once-0123"
    first = sides.ask(ANALYSIS, analysis("One."), field)
    again = sides.ask(ANALYSIS, analysis("One."), field)
    assert (again.status, again.body, again.header("idempotent-replayed")) == (200, first.body, "true")
    assert again.header("x-request-id") != first.header("x-request-id")
    answer = sides.ask(ANALYSIS, analysis("Two."), field)
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["type"], told["code"]) == (409, "conflict_error", "idempotency_mismatch")


def test_too_much_is_a_413(sides: World) -> None:
    body = analysis("x") + b" " * (1 << 20)
    for target in (ANALYSIS, BATCH, CHAT, "/v2/emotions/c3/analysis"):
        answer = sides.ask(target, body)
        sentence = "Request body too large. Maximum size is 1 MB."
        assert seen(answer) == error(413, INVALID, "payload_too_large", sentence)
        assert answer.names > LIMITS
        assert sides.row(answer)["failure_kind"] == "payload_too_large"
    assert sides.ask(ANALYSIS, analysis("x").ljust(1 << 20)).status == 200
    for target in (ANALYSIS, BATCH, CHAT):
        answer = sides.ask(target, analysis(*["x"] * 101))
        sentence = "messages has 101 entries; the limit is 100. Split the request."
        assert seen(answer) == error(413, INVALID, "payload_too_large", sentence, "messages")


def test_the_gateways_own_limit_comes_first_and_looks_the_same(sides: World) -> None:
    with RawClient(sides.gateway.port) as client:
        client.send(request("POST", ANALYSIS, "content-length: 52428801"))
        answer = client.answer()
    sentence = "Request body too large. Maximum size is 50 MB."
    assert seen(answer) == error(413, INVALID, "payload_too_large", sentence)


def test_an_unknown_encoding_is_a_415(sides: World) -> None:
    for target in (ANALYSIS, BATCH, CHAT):
        answer = sides.ask(target, analysis("x"), "content-encoding: br")
        told = json.loads(answer.body)["error"]
        assert (answer.status, told["code"]) == (415, "unsupported_media_type")


VALUES = {
    "a number as model": ({"model": 7}, "invalid_value", "model"),
    "messages that are none": ({"messages": "x"}, "invalid_value", "messages"),
    "a message that is none": ({"messages": [7]}, "invalid_value", "messages[0]"),
    "a role of nobody": (
        {"messages": [{"role": "robot", "content": "x"}]},
        "invalid_role",
        "messages[0].role",
    ),
    "a number as role": ({"messages": [{"role": 7, "content": "x"}]}, "invalid_value", "messages[0].role"),
    "a list as content": ({"messages": [{"content": ["x"]}]}, "invalid_value", "messages[0].content"),
    "a number as text": (
        {"messages": [{"content": {"text": 7}}]},
        "invalid_value",
        "messages[0].content.text",
    ),
    "a blank text": (
        {"messages": [{"content": {"text": " \n\u00a0"}}]},
        "invalid_value",
        "messages[0].content.text",
    ),
    "a long text": (
        {"messages": [{"content": {"text": "x" * 10_001}}]},
        "text_too_long",
        "messages[0].content.text",
    ),
}
OF_ANALYSIS = {
    "a number as id": (
        {"messages": [{"externalId": 7, "content": "x"}]},
        "invalid_value",
        "messages[0].externalId",
    ),
    "an empty id": (
        {"messages": [{"external_id": "", "content": "x"}]},
        "invalid_value",
        "messages[0].external_id",
    ),
    "a long id": (
        {"messages": [{"messageId": "ü" * 65, "content": "x"}]},
        "invalid_value",
        "messages[0].messageId",
    ),
    "no time": (
        {"messages": [{"timestamp": "soon", "content": "x"}]},
        "invalid_value",
        "messages[0].timestamp",
    ),
    "a number as time": (
        {"messages": [{"timestamp": 7, "content": "x"}]},
        "invalid_value",
        "messages[0].timestamp",
    ),
}
OF_CHAT = {
    "stream": ({"stream": "yes"}, "invalid_value", "stream"),
    "context_id": ({"context_id": 7}, "invalid_value", "context_id"),
    "an empty context_id": ({"context_id": ""}, "invalid_context_id", "context_id"),
    "a reserved context_id": ({"context_id": "analysis"}, "invalid_context_id", "context_id"),
    "model_params": ({"model_params": [1]}, "invalid_value", "model_params"),
    "temperature": ({"model_params": {"temperature": 3}}, "invalid_value", "model_params.temperature"),
    "max_tokens": ({"model_params": {"max_tokens": 0}}, "invalid_value", "model_params.max_tokens"),
    "a huge max_tokens": (
        {"model_params": {"max_tokens": 2**64}},
        "invalid_value",
        "model_params.max_tokens",
    ),
    "emotion_model": ({"emotion_model": 7}, "invalid_value", "emotion_model"),
    "emotion_model_params": ({"emotion_model_params": "x"}, "invalid_value", "emotion_model_params"),
    "tools": ({"tools": {"a": 1}}, "invalid_value", "tools"),
    "a tool's result without a call": (
        {"messages": [{"role": "tool", "content": "x"}]},
        "invalid_role",
        "messages[0].role",
    ),
}
CASES = [
    *((ANALYSIS, name, *case) for name, case in {**VALUES, **OF_ANALYSIS}.items()),
    *((CHAT, name, *case) for name, case in {**VALUES, **OF_CHAT}.items()),
]


@pytest.mark.parametrize(
    ("target", "name", "changes", "code", "param"), CASES, ids=[f"{case[0]} {case[1]}" for case in CASES]
)
def test_a_wrong_value_is_a_422_that_names_it(
    sides: World, target: str, name: str, changes: dict[str, object], code: str, param: str
) -> None:
    body = json.loads(completion() if target == CHAT else analysis("x"))
    answer = sides.ask(target, json.dumps(body | changes).encode())
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["code"], told["param"]) == (422, code, param)
    assert sides.row(answer)["status"] == 422


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model_params": {"frequency_penalty": 0.5}}, "model_params.frequency_penalty"),
        ({"tools": [{"type": "function"}]}, "tools[].function"),
    ],
)
def test_what_a_models_wire_cannot_carry_is_named_as_the_caller_wrote_it(
    sides: World, changes: dict[str, object], param: str
) -> None:
    body = json.loads(completion("mapped-model")) | changes
    answer = sides.ask(CHAT, json.dumps(body).encode())
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["code"], told["param"]) == (422, "invalid_value", param)
    assert told["message"].startswith(param)


@pytest.mark.parametrize("word", ["analysis", "batch-analysis", "%61nalysis"])
def test_a_reserved_word_is_no_context_and_never_a_405(sides: World, word: str) -> None:
    shown = "analysis" if word == "%61nalysis" else word
    sentence = f"'{shown}' is a reserved word and cannot be the id of a context."
    expected = error(422, INVALID, "invalid_context_id", sentence, "context_id")
    for answer in (
        sides.ask(f"/v2/emotions/{word}"),
        sides.ask(f"/v2/emotions/{word}", method="DELETE"),
        sides.ask(f"/v2/emotions/{word}/message/m1"),
        sides.ask(f"/v2/emotions/{word}/analysis", analysis("x")),
    ):
        assert seen(answer) == expected
