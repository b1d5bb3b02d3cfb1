"""Each error row of OpenAI's envelope, provoked by its real cause: status, bytes, headers, row."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.inference.world import (
    LIMITED,
    NARROW,
    NO_ACCESS,
    OTHER_LIMITED,
    SCOPELESS,
    UNSIGNED,
    WORLD,
    TwoSides,
)
from tests.contract.raw_client import LIVE, Answer, RawClient, request
from tests.devices import messages_wire
from tests.devices.faulty_behaviours import JSON, Exchange, answer, head
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.devices.gateway import LIVE_KEY, Gateway, message, provider

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
TARGETS = pytest.mark.parametrize("target", [CHAT, RESPONSES])
FRAMING = {"date", "content-length", "content-type", "connection"}
IDENTITY = {"request-id", "x-request-id"}
LIMIT_HEADERS = {f"x-ratelimit-{name}-requests" for name in ("limit", "remaining", "reset")}
WIRES_OF_OPENAI = "openai-chat, openai-responses"


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with FaultyUpstream() as upstream, refused_port() as nobody:
        toml = WORLD.format(upstream=upstream.base_url, nobody=nobody)
        toml += provider(upstream.base_url, "gpt", name="vendor", kind="openai")
        with Gateway(toml) as gateway:
            yield TwoSides(gateway, upstream)


def body_for(target: str, model: str = "gpt", /, **fields: Any) -> bytes:
    said = {"messages": [{"role": "user", "content": "x"}]} if target == CHAT else {"input": "x"}
    return json.dumps({"model": model, **said, **fields}).encode()


def check(
    got: Answer,
    status: int,
    type_: str,
    code: str | None,
    param: str | None,
    sentence: str | None,
    *more: str,
) -> None:
    said = sentence or json.loads(got.body)["error"]["message"]
    error = {"error": {"message": said, "type": type_, "code": code, "param": param}}
    assert said
    assert (got.status, got.body) == (status, json.dumps(error, separators=(",", ":")).encode())
    assert got.header("content-type") == "application/json"
    assert got.header("request-id") == got.header("x-request-id")
    assert got.names - FRAMING == IDENTITY | set(more)


def check_row(sides: TwoSides, got: Answer, kind: str) -> None:
    row = sides.row(got)
    assert row is not None
    assert (row["status"], row["failure_kind"], row["ending"]) == (got.status, kind, "refused")
    assert row["cost_nusd"] == 0


BAD_KEYS = {
    "no credentials": (),
    "an unknown bearer": ("authorization: Bearer nobody",),
    "an empty bearer beside a good key": ("authorization: Bearer ", LIVE),
    "the basic scheme": ("authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l",),
    "an unknown x-api-key": ("x-api-key: acme-live-key-0000000000000001",),
}


@TARGETS
@pytest.mark.parametrize("fields", BAD_KEYS.values(), ids=BAD_KEYS)
def test_every_bad_credential_is_the_same_flat_401(
    sides: TwoSides, target: str, fields: tuple[str, ...]
) -> None:
    got = sides.ask(*fields, target=target, body=body_for(target))
    assert (got.status, got.body) == (401, b'{"error":"Unauthorized"}')
    assert got.names - FRAMING == IDENTITY


# Endpoint and fields to change, then what is expected: the param and the sentence.
BAD_BODIES: dict[str, tuple[str, bytes, str | None, str | None]] = {
    "chat without a model": (
        CHAT,
        b'{"messages":[{"role":"user","content":"x"}]}',
        "model",
        "model is required",
    ),
    "chat without messages": (CHAT, b'{"model":"gpt"}', "messages", "messages is required"),
    "chat with no message": (
        CHAT,
        body_for(CHAT, messages=[]),
        "messages",
        "messages must be a non-empty array",
    ),
    "chat with an unknown role": (
        CHAT,
        body_for(CHAT, messages=[{"role": "robot", "content": "x"}]),
        "messages[0].role",
        None,
    ),
    "a tool message without its call": (
        CHAT,
        body_for(CHAT, messages=[{"role": "tool", "content": "x"}]),
        "messages[0].tool_call_id",
        "messages[0].tool_call_id is required",
    ),
    "chat with a stream of text": (
        CHAT,
        body_for(CHAT, stream="yes"),
        "stream",
        "stream must be true or false",
    ),
    "chat that is no JSON": (CHAT, b"model=gpt", None, None),
    "chat with a key twice": (CHAT, b'{"model":"gpt","model":"gpt","messages":[]}', "model", None),
    "a response without a model": (RESPONSES, b'{"input":"x"}', "model", "model is required"),
    "a response without input": (RESPONSES, b'{"model":"gpt"}', "input", "input is required"),
    "a response of a number": (RESPONSES, body_for(RESPONSES, input=1), "input", None),
    "a response of an unknown item": (
        RESPONSES,
        body_for(RESPONSES, input=[{"type": "dance"}]),
        "input[0].type",
        None,
    ),
    "a response that is no JSON": (RESPONSES, b"{", None, None),
}


@pytest.mark.parametrize(("target", "body", "param", "sentence"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_is_wrong_is_a_400_that_names_the_field(
    sides: TwoSides, target: str, body: bytes, param: str | None, sentence: str | None
) -> None:
    got = sides.ask(LIVE, target=target, body=body)
    check(got, 400, "invalid_request_error", "invalid_body", param, sentence)
    check_row(sides, got, "invalid_body")


@TARGETS
@pytest.mark.parametrize(
    ("model", "kind"), [("no-such-model", "model_not_found"), ("retired-model", "model_retired")]
)
def test_a_model_that_is_not_there_is_not_found(sides: TwoSides, target: str, model: str, kind: str) -> None:
    got = sides.ask(LIVE, target=target, body=body_for(target, model))
    check(got, 400, "invalid_request_error", "model_not_found", "model", f"Model '{model}' not found.")
    check_row(sides, got, kind)


FORBIDDEN = {
    "a key without the scope": (
        SCOPELESS,
        "gpt",
        "insufficient_scope",
        "insufficient_scope",
        None,
        "The API key lacks the scope 'ai:chat'.",
    ),
    "a group without API access": (
        NO_ACCESS,
        "gpt",
        "model_access_denied",
        "api_key_access_denied",
        None,
        None,
    ),
    "a model the group does not grant": (
        NARROW,
        "gpt",
        "model_access_denied",
        "model_access_denied",
        "model",
        "Your groups do not grant access to the model 'gpt'.",
    ),
    "a premium model": (
        LIVE_KEY,
        "premium-model",
        "model_access_denied",
        "premium_not_enabled",
        "model",
        "The premium model 'premium-model' is not enabled for this org.",
    ),
    "a hipaa org without an agreement": (UNSIGNED, "gpt", "baa_required", "baa_required", None, None),
}


@TARGETS
@pytest.mark.parametrize(
    ("key", "model", "code", "kind", "param", "sentence"), FORBIDDEN.values(), ids=FORBIDDEN
)
def test_what_policy_forbids_is_a_403_and_goes_nowhere(
    sides: TwoSides,
    target: str,
    key: str,
    model: str,
    code: str,
    kind: str,
    param: str | None,
    sentence: str | None,
) -> None:
    before = len(sides.upstream.requests)
    got = sides.ask(f"authorization: Bearer {key}", target=target, body=body_for(target, model))
    check(got, 403, "permission_error", code, param, sentence)
    check_row(sides, got, kind)
    assert len(sides.upstream.requests) == before


# What only the responses wire knows: fields, then status, type, code, param.
INVALID = "invalid_request_error"
STATE = {
    "an unknown previous response": (
        {"previous_response_id": "resp_1"},
        (404, INVALID, "previous_response_not_found", "previous_response_id"),
    ),
    "an unknown conversation": ({"conversation": {"id": "conv_1"}}, (404, "not_found", None, "conversation")),
    "both at once": (
        {"previous_response_id": "resp_1", "conversation": "conv_1"},
        (400, INVALID, "mutually_exclusive_parameters", "previous_response_id"),
    ),
    "background": ({"background": True}, (400, INVALID, "unsupported_parameter", "background")),
    "an unknown tool type": (
        {"tools": [{"type": "web_search"}]},
        (400, INVALID, "unsupported_tool_type", "tools[0].type"),
    ),
    "mcp without state": (
        {"tools": [{"type": "function", "name": "f"}, {"type": "mcp", "server_label": "x"}]},
        (400, INVALID, "unsupported_tool_type", "tools[1].type"),
    ),
}


@pytest.mark.parametrize(("fields", "expected"), STATE.values(), ids=STATE)
def test_what_a_response_cannot_be_asked_for_is_refused_by_name(
    sides: TwoSides, fields: dict[str, object], expected: tuple[int, str, str | None, str]
) -> None:
    before = len(sides.upstream.requests)
    got = sides.ask(LIVE, target=RESPONSES, body=body_for(RESPONSES, "gpt", **fields))
    status, type_, code, param = expected
    check(got, status, type_, code, param, None)
    check_row(sides, got, code or "resource_not_found")
    assert len(sides.upstream.requests) == before


@TARGETS
def test_a_body_over_the_limit_is_refused_flat_and_before_the_key_is_looked_at(
    sides: TwoSides, target: str
) -> None:
    with RawClient(sides.port) as client:
        client.send(request("POST", target, "content-length: 52428801"))
        got = client.answer()
    assert (got.status, got.body) == (413, b'{"message":"Request body too large. Maximum size is 50 MB."}')
    assert got.names - FRAMING == IDENTITY


@TARGETS
def test_another_method_is_a_405_and_another_path_a_404(sides: TwoSides, target: str) -> None:
    got = sides.ask(LIVE, method="PUT", target=target)
    check(got, 405, INVALID, "unknown_url", None, "PUT is not allowed here; use POST.", "allow")
    got = sides.ask(LIVE, target=target + "/x/y", body=b"{}")
    check(got, 404, INVALID, "unknown_url", None, f"Unknown request URL: POST {target}/x/y")


@TARGETS
def test_an_encoding_that_is_not_spoken_is_a_415(sides: TwoSides, target: str) -> None:
    got = sides.ask(LIVE, "content-encoding: br", target=target, body=body_for(target))
    check(got, 415, INVALID, "invalid_body", None, None)
    check_row(sides, got, "unsupported_media_type")


async def _completion(exchange: Exchange) -> None:
    await answer(exchange, 200, JSON, b'{"choices":[]}')


def test_a_limited_key_is_told_when_to_come_back_in_openais_words(sides: TwoSides) -> None:
    sides.upstream.enqueue(_completion, _completion)
    key = f"authorization: Bearer {LIMITED}"
    answers = [sides.ask(key, target=target, body=body_for(target)) for target in (CHAT, RESPONSES, CHAT)]
    assert [got.status for got in answers] == [200, 200, 429]
    assert [got.header("x-ratelimit-limit-requests") for got in answers] == ["2"] * 3
    assert [got.header("x-ratelimit-remaining-requests") for got in answers] == ["1", "0", "0"]
    for got in answers:
        reset = got.header("x-ratelimit-reset-requests")
        assert reset is not None and re.fullmatch(r"\d{1,3}ms|[1-5]?\ds|1m0s", reset)
    refused = answers[-1]
    retry_after = refused.header("retry-after")
    assert retry_after is not None and 1 <= int(retry_after) <= 60
    sentence = f"Rate limit exceeded: 2 requests per minute for this key. Retry after {retry_after} s."
    check(
        refused, 429, "rate_limit_error", "rate_limit_exceeded", None, sentence, "retry-after", *LIMIT_HEADERS
    )
    check_row(sides, refused, "rate_limited")


def test_refusals_of_a_valid_key_carry_its_limits_too(sides: TwoSides) -> None:
    got = sides.ask(f"x-api-key: {OTHER_LIMITED}", target=RESPONSES, body=b"{}")
    check(got, 400, INVALID, "invalid_body", "model", "model is required", *LIMIT_HEADERS)
    assert got.header("x-ratelimit-remaining-requests") == "0"


@pytest.mark.parametrize(("target", "field"), [(CHAT, "seed"), (RESPONSES, "prompt")])
def test_a_field_the_models_wire_has_nothing_for_is_refused_by_name(
    sides: TwoSides, target: str, field: str
) -> None:
    before = len(sides.upstream.requests)
    body = json.dumps({**json.loads(body_for(target, "mapped-model")), field: 7}).encode()
    got = sides.ask(LIVE, target=target, body=body)
    error = json.loads(got.body)["error"]
    assert (got.status, error["type"], error["code"], error["param"]) == (
        400,
        INVALID,
        "unsupported_parameter",
        field,
    )
    assert error["message"].startswith(f"{field} cannot be translated")
    check_row(sides, got, "unsupported_parameter")
    assert len(sides.upstream.requests) == before


UNREADABLE = {
    "file-id": ([{"type": "input_file", "file_id": "file-1"}], "input[].content[].file_id"),
    "bitmap": (
        [{"type": "input_image", "image_url": "data:image/bmp;base64,Qk0="}],
        "input[].content[].image_url",
    ),
    "nothing": ("", "input"),
}


@pytest.mark.parametrize(("content", "param"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_the_models_wire_cannot_read_is_refused_by_the_callers_name_of_it(
    sides: TwoSides, content: object, param: str
) -> None:
    said: object = [{"role": "user", "content": content}] if content else ""
    before = len(sides.upstream.requests)
    got = sides.ask(LIVE, target=RESPONSES, body=body_for(RESPONSES, "mapped-model", input=said))
    error = json.loads(got.body)["error"]
    assert (got.status, error["code"], error["param"]) == (400, "unsupported_parameter", param)
    assert error["message"].startswith(f"{param} (")
    assert len(sides.upstream.requests) == before


def test_a_field_no_wire_of_openai_has_is_refused_by_name_on_messages(sides: TwoSides) -> None:
    before = len(sides.upstream.requests)
    got = sides.ask(LIVE, body=message("gpt", top_k=5))
    error = json.loads(got.body)["error"]
    assert (got.status, error["type"]) == (400, INVALID)
    assert error["message"].startswith(f"top_k: Model 'gpt' is served on {WIRES_OF_OPENAI}, which")
    check_row(sides, got, "unsupported_parameter")
    assert len(sides.upstream.requests) == before


@pytest.mark.parametrize("told", [("content-type: text/html; charset=iso-8859-1",), ()])
@pytest.mark.parametrize("stream", [False, True])
def test_a_translated_answer_is_of_the_type_it_is_written_in(
    sides: TwoSides, told: tuple[str, ...], stream: bool
) -> None:
    """The vendors' clients read no JSON from what says that it is a page."""
    events = b"".join(messages_wire.stream_events())
    whole = events if stream else messages_wire.message(text="née")
    fields = ("content-type: text/event-stream; charset=iso-8859-1",) if stream else told

    async def play(exchange: Exchange) -> None:
        await exchange.send(head(200, f"content-length: {len(whole)}", *fields) + whole)

    sides.upstream.enqueue(play)
    got = sides.ask(LIVE, target=CHAT, body=body_for(CHAT, "mapped-model", stream=stream))
    ours = "text/event-stream; charset=utf-8" if stream else "application/json"
    assert (got.status, got.header("content-type")) == (200, ours)
