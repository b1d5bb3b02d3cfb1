"""A real gateway before an imitation of each kind of provider: the bytes of both directions, plain
and streamed, and what the ledger says."""

import json
from base64 import b64decode
from collections.abc import Iterator

import pytest

from tests.acceptance.caller import Answer, ask, error_frame, facts, settled_row
from tests.acceptance.expected import BILLED, check_completed
from tests.devices import bedrock_wire as aws
from tests.devices import messages_wire
from tests.devices.faulty_behaviours import JSON, Exchange, answer, whole_stream
from tests.devices.faulty_upstream import FaultyUpstream, SeenRequest
from tests.devices.gateway import ORG, Gateway, provider

KEY = "upstream-secret-key"
MODEL = "eu.anthropic.claude-sonnet-4-20250514-v1:0"
MODEL_PATH = "/model/eu.anthropic.claude-sonnet-4-20250514-v1%3A0"

CHAT_REQUEST = b'{"model":"@","messages":[{"role":"user","content":"n\\u00e9e"}]}'
CHAT_STREAMED = CHAT_REQUEST[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'
CHAT_ANSWER = (
    b'{ "choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Hi"}}],'
    b'"model":"elsewhere","object":"chat.completion",\n'
    b'"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19}}\n'
)


def chunk(choices: str, rest: str, model: str) -> bytes:
    """One chunk; spaces stand where the vendors put none."""
    data = f'{{"choices":[{choices}],"created":1,"id":"c1","model":"{model}",{rest}}}'
    return b"data: " + data.replace(" ", "").encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
# As Google writes them: the usage is said in every chunk, and none has empty choices.
GEMINI_EVENTS = [
    chunk(
        '{"delta": {"content": "Hi", "role": "assistant"}, "index": 0}',
        '"usage": {"completion_tokens": 2, "prompt_tokens": 12, "total_tokens": 14}',
        "gemini-2.5-flash",
    ),
    chunk(
        '{"delta": {"content": "!", "role": "assistant"}, "finish_reason": "stop", "index": 0}',
        '"usage": {"completion_tokens": 7, "prompt_tokens": 12, "total_tokens": 19}',
        "gemini-2.5-flash",
    ),
    DONE,
]
# As Azure writes them: what the content filter found comes first, in a chunk without choices.
AZURE_EVENTS = [
    chunk(
        "",
        '"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {}}}]',
        "",
    ),
    chunk(
        '{"content_filter_results": {}, "delta": {"content": "Hi"}, "finish_reason": "stop", "index": 0}',
        '"usage": null',
        "gpt-4.1",
    ),
    chunk("", '"usage": {"completion_tokens": 7, "prompt_tokens": 12, "total_tokens": 19}', "gpt-4.1"),
    DONE,
]
RESPONSES_REQUEST = b'{"model":"@","store":false,"input":"x"}'
RESPONSES_ANSWER = (
    b'{"id":"resp_1","object":"response","status":"completed","output":[],'
    b'"usage":{"input_tokens":12,"output_tokens":7,"total_tokens":19}}'
)


@pytest.fixture(scope="module")
def gateway(upstream: FaultyUpstream) -> Iterator[Gateway]:
    toml = ORG
    toml += provider(upstream.base_url, "gemini-2.5-flash", name="google", kind="gemini", key=KEY)
    toml += provider(upstream.base_url, "my-deployment", name="azure", kind="azure-openai", key=KEY)
    toml += provider(upstream.base_url, "chat-deployment", name="azure2", kind="azure-openai", key=KEY)
    toml = toml.replace('name = "azure2"', 'name = "azure2"\nwire = "chat"')
    toml += provider(upstream.base_url, MODEL, name="aws", kind="bedrock", key=KEY)
    toml += provider(
        upstream.base_url, "signed", name="aws2", kind="bedrock", key="AKIDEXAMPLE:hunter2:token"
    )
    toml = toml.replace('name = "aws2"', 'name = "aws2"\nregion = "eu-west-1"')
    with Gateway(toml + "[retries]\nattempts = 0\n") as running:
        yield running
        assert KEY not in running.log and "hunter2" not in running.log


def send(gateway: Gateway, path: str, body: bytes, model: str, **headers: str) -> Answer:
    got = ask(gateway, body.replace(b"@", model.encode()), path=path, headers=headers)
    assert got.whole, "the answer's framing was cut"
    return got


def answers(upstream: FaultyUpstream, body: bytes, status: int = 200, *fields: str) -> None:
    async def play(exchange: Exchange) -> None:
        await answer(exchange, status, JSON, body, *fields)

    upstream.enqueue(play)


def streams(upstream: FaultyUpstream, events: list[bytes]) -> None:
    async def play(exchange: Exchange) -> None:
        await whole_stream(exchange, events)

    upstream.enqueue(play)


def last(upstream: FaultyUpstream) -> SeenRequest:
    return upstream.requests[-1]


OPENAI_KINDS = pytest.mark.parametrize(
    ("model", "prefix", "credential", "events"),
    [
        ("gemini-2.5-flash", "/v1beta/openai", ("authorization", f"Bearer {KEY}"), GEMINI_EVENTS),
        ("my-deployment", "/openai/v1", ("api-key", KEY), AZURE_EVENTS),
    ],
    ids=["gemini", "azure-openai"],
)


@OPENAI_KINDS
def test_chat_passes_byte_for_byte(
    gateway: Gateway,
    upstream: FaultyUpstream,
    model: str,
    prefix: str,
    credential: tuple[str, str],
    events: list[bytes],
) -> None:
    answers(upstream, CHAT_ANSWER)
    got = send(gateway, "/v1/chat/completions", CHAT_REQUEST, model)
    assert (got.status, got.body) == (200, CHAT_ANSWER)
    check_completed(gateway, got)
    seen = last(upstream)
    assert (seen.target, seen.header(credential[0])) == (prefix + "/chat/completions", credential[1])
    assert seen.body == CHAT_REQUEST.replace(b"@", model.encode())
    assert seen.header("x-api-key") is None

    streams(upstream, events)
    got = send(gateway, "/v1/chat/completions", CHAT_STREAMED, model)
    assert (got.status, got.body) == (200, b"".join(events))
    check_completed(gateway, got)
    assert last(upstream).body == CHAT_STREAMED.replace(b"@", model.encode())


@OPENAI_KINDS
def test_a_providers_error_passes_verbatim(
    gateway: Gateway,
    upstream: FaultyUpstream,
    model: str,
    prefix: str,
    credential: tuple[str, str],
    events: list[bytes],
) -> None:
    # Google's errors are an array; that is nobody's business but the client's.
    body = b'[{ "error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"} }]\n'
    answers(upstream, body, 400)
    got = send(gateway, "/v1/chat/completions", CHAT_STREAMED, model)
    assert (got.status, got.body, got.header("content-type")) == (400, body, JSON)


def test_azure_speaks_responses_too(gateway: Gateway, upstream: FaultyUpstream) -> None:
    answers(upstream, RESPONSES_ANSWER, 200, "apim-request-id: azure-1")
    got = send(gateway, "/v1/responses", RESPONSES_REQUEST, "my-deployment")
    assert got.status == 200
    seen = last(upstream)
    assert seen.target == "/openai/v1/responses"
    assert seen.json == {"model": "my-deployment", "store": False, "input": "x"}


def test_azure_of_one_wire_is_called_on_that_wire_only(gateway: Gateway, upstream: FaultyUpstream) -> None:
    answers(upstream, CHAT_ANSWER)
    assert send(gateway, "/v1/chat/completions", CHAT_REQUEST, "chat-deployment").body == CHAT_ANSWER
    assert last(upstream).target == "/openai/v1/chat/completions"


MESSAGES = b'{"model":"@","max_tokens":64, "messages":[{"role":"user","content":"n\\u00e9e"}]}'
SENT = b'{"anthropic_version":"bedrock-2023-05-31",'
SENT_REST = b'"max_tokens":64, "messages":[{"role":"user","content":"n\\u00e9e"}]}'


@pytest.mark.parametrize("model", [MODEL, "signed"])
def test_bedrock_answers_messages(gateway: Gateway, upstream: FaultyUpstream, model: str) -> None:
    body = messages_wire.message(model)
    upstream.enqueue(aws.answers(200, body))
    got = send(gateway, "/v1/messages?beta=true", MESSAGES, model, **{"anthropic-beta": "a-1,b-2"})
    assert (got.status, got.body) == (200, body)
    assert got.header("x-upstream-request-id") == "aws-1"
    check_completed(gateway, got)
    seen = last(upstream)
    assert seen.body == SENT + b'"anthropic_beta":["a-1","b-2"],' + SENT_REST
    assert seen.header("x-api-key") is None
    authorization = seen.header("authorization") or ""
    if model == "signed":
        assert seen.target == "/model/signed/invoke"
        scope = (
            "/eu-west-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token"
        )
        assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") and scope in authorization
        assert seen.header("x-amz-security-token") == "token"
    else:
        assert (seen.target, authorization) == (f"{MODEL_PATH}/invoke", f"Bearer {KEY}")


def test_bedrock_streams_messages(gateway: Gateway, upstream: FaultyUpstream) -> None:
    events = messages_wire.stream_events(4, MODEL)
    upstream.enqueue(aws.streams(*(aws.chunk(aws.data_of(event)) for event in events)))
    got = send(gateway, "/v1/messages", MESSAGES[:-1] + b',"stream":true}', MODEL)
    assert (got.status, got.body) == (200, b"".join(events))
    assert (got.header("content-type") or "").startswith("text/event-stream")
    check_completed(gateway, got)
    assert last(upstream).target == f"{MODEL_PATH}/invoke-with-response-stream"
    assert last(upstream).body == SENT + SENT_REST


def test_an_exception_inside_bedrocks_stream_is_the_clients_error_event(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    events = messages_wire.stream_events(4, MODEL)[:5]
    pieces = [aws.chunk(aws.data_of(event)) for event in events]
    upstream.enqueue(aws.streams(*pieces, aws.exception("throttlingException", "Too many tokens.")))
    got = send(gateway, "/v1/messages", MESSAGES[:-1] + b',"stream":true}', MODEL)
    assert got.body == b"".join(events) + error_frame("rate_limit_error", "Too many tokens.")
    row = settled_row(gateway, got.request_id)
    expected = {"ending": "failed", "failure_kind": "upstream_stream_error", "status": 200}
    assert facts(row, *expected) == expected


def test_a_spoiled_message_of_bedrocks_stream_is_an_error_event_of_ours(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    events = messages_wire.stream_events(4, MODEL)
    pieces = [aws.chunk(aws.data_of(event)) for event in events]
    upstream.enqueue(aws.streams(*pieces[:4], pieces[4][:-1] + b"?", *pieces[5:]))
    got = send(gateway, "/v1/messages", MESSAGES[:-1] + b',"stream":true}', MODEL)
    assert got.body == b"".join(events[:4]) + error_frame(
        "api_error", "upstream returned an invalid response"
    )
    row = settled_row(gateway, got.request_id)
    expected = {"ending": "failed", "failure_kind": "upstream_invalid_response", "status": 200}
    assert facts(row, *expected) == expected


def test_bedrocks_error_before_the_stream_passes_verbatim(gateway: Gateway, upstream: FaultyUpstream) -> None:
    body = b'{ "message":"Your account is not authorized to invoke this API operation."}'
    upstream.enqueue(aws.answers(403, body, "x-amzn-errortype: AccessDeniedException"))
    got = send(gateway, "/v1/messages", MESSAGES[:-1] + b',"stream":true}', MODEL)
    assert (got.status, got.body, got.header("content-type")) == (403, body, JSON)


def test_bedrock_counts_tokens(gateway: Gateway, upstream: FaultyUpstream) -> None:
    upstream.enqueue(aws.answers(200, b'{"inputTokens":412}'))
    request = b'{"model":"@","messages":[{"role":"user","content":"x"}]}'
    got = send(gateway, "/v1/messages/count_tokens", request, MODEL)
    assert (got.status, got.json) == (200, {"input_tokens": 412})
    seen = last(upstream)
    assert seen.target == "/model/anthropic.claude-sonnet-4-20250514-v1%3A0/count-tokens"
    inner = json.loads(b64decode(json.loads(seen.body)["input"]["invokeModel"]["body"]))
    assert inner == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "x"}],
    }
    row = settled_row(gateway, got.request_id)
    assert row["ending"] == "completed" and row["cost_nusd"] == 0 < BILLED["cost_nusd"]
