"""The Bedrock upstream: what it says to AWS, and how it reads what AWS says."""

import asyncio
import json
from hashlib import sha256

import anthropic
import pytest

from tests.devices import messages_wire as wire
from tests.devices.bedrock_wire import (
    answers,
    chunk,
    data_of,
    exception,
    message,
    named,
    streams,
    string_header,
)
from tests.devices.faulty_upstream import FaultyUpstream, SeenRequest
from tests.upstreams.conftest import KEY, call_of, failure_of, read_all
from tests.upstreams.raw import OK
from tests.upstreams.raw import raw as raw_bytes
from triptych import __version__
from triptych.core.call import Headers, UpstreamAnswer, header
from triptych.core.failure import FailureKind
from triptych.upstreams.bedrock import BedrockUpstream, foundation_model
from triptych.upstreams.bedrock_signature import Signer
from triptych.upstreams.transport import HttpTransport

MODEL = "eu.anthropic.claude-sonnet-4-20250514-v1:0"
PATH = "/model/eu.anthropic.claude-sonnet-4-20250514-v1%3A0"
AWS_KEYS = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "AQoDYXdzEPT//wEXAMPLE=="
NOW_S = 1767323045.9
COUNT = "/v1/messages/count_tokens"


@pytest.fixture
def client_kind() -> str:
    return "triptych-uvloop"


@pytest.fixture
def transport() -> HttpTransport:
    return HttpTransport(connect_timeout_s=2, first_byte_timeout_s=5, idle_timeout_s=5)


def bedrock(
    transport: HttpTransport, base_url: str, *, api_key: str = KEY, region: str | None = "eu-west-1"
) -> BedrockUpstream:
    return BedrockUpstream(transport, base_url=base_url, api_key=api_key, region=region, clock=lambda: NOW_S)


async def streamed(device: FaultyUpstream, transport: HttpTransport, *pieces: bytes) -> UpstreamAnswer:
    device.enqueue(streams(*pieces))
    return await bedrock(transport, device.base_url).call(call_of(MODEL, stream=True))


@pytest.mark.anyio
async def test_a_plain_call_is_an_invocation_whose_answer_passes_untouched(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    body = b' {"id":"msg_bdrk_1", "type":"message","usage":{"input_tokens":1.0}}\n'
    device.enqueue(answers(200, body))
    got = await bedrock(transport, device.base_url).call(call_of(MODEL, query=b"beta=true"))
    assert (got.status, header(got.headers, b"request-id")) == (200, b"aws-1")
    assert await read_all(got) == body
    (request,) = device.requests
    assert (request.method, request.target) == ("POST", f"{PATH}/invoke")
    assert request.body == b'{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[]}'
    assert request.header("authorization") == f"Bearer {KEY}"
    assert request.header("user-agent") == f"triptych/{__version__}"
    assert request.header("accept") == request.header("content-type") == "application/json"
    for name in ("x-amz-date", "x-api-key", "anthropic-version"):
        assert request.header(name) is None
    transport.close()


@pytest.mark.anyio
async def test_a_clients_version_betas_and_amazon_headers_go_nowhere_as_headers(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    device.enqueue(answers(200, b"{}"))
    headers: Headers = [
        (b"authorization", b"Bearer client"),
        (b"anthropic-version", b"2023-06-01"),
        (b"anthropic-beta", b"context-1m-2025-08-07"),
        (b"x-amz-security-token", b"client"),
        (b"x-amzn-bedrock-guardrailidentifier", b"none"),
        (b"traceparent", b"00-1-2-01"),
    ]
    await read_all(await bedrock(transport, device.base_url).call(call_of(MODEL, headers=headers)))
    (request,) = device.requests
    assert [value for name, value in request.headers if name == "authorization"] == [f"Bearer {KEY}"]
    assert request.header("traceparent") == "00-1-2-01"
    assert not [name for name, _ in request.headers if name.startswith(("anthropic", "x-amz"))]
    assert request.json["anthropic_beta"] == ["context-1m-2025-08-07"]
    transport.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.anyio
async def test_what_is_said_is_what_anthropics_own_client_for_bedrock_says(
    device: FaultyUpstream, transport: HttpTransport, stream: bool
) -> None:
    asked = {
        "model": MODEL,
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "née"}],
        "stop_sequences": ["x"],
        **({"stream": True} if stream else {}),
    }
    betas = {"anthropic-beta": "a-1,b-2"}
    device.enqueue(answers(400, b"{}"), answers(400, b"{}"))
    client = anthropic.AnthropicBedrock(
        api_key=KEY, aws_region="eu-west-1", base_url=device.base_url, max_retries=0
    )
    with pytest.raises(anthropic.BadRequestError):
        await asyncio.to_thread(lambda: client.messages.create(**asked, extra_headers=betas))  # type: ignore[call-overload]
    headers = [(name.encode(), value.encode()) for name, value in betas.items()]
    call = call_of(MODEL, stream=stream, headers=headers, body=json.dumps(asked).encode())
    await read_all(await bedrock(transport, device.base_url).call(call))
    theirs, ours = device.requests
    # The client's newest version is taken for the newest models only; ours for all of them.
    assert ours.json["anthropic_version"] == "bedrock-2023-05-31" and theirs.json["anthropic_version"]
    assert (ours.method, without_version(ours)) == (theirs.method, without_version(theirs))
    assert ours.target == theirs.target.replace(":", "%3A")
    for name in ("authorization", "accept", "content-type"):
        assert ours.header(name) == theirs.header(name)
    client.close()
    transport.close()


def without_version(request: SeenRequest) -> dict[str, object]:
    return {name: value for name, value in request.json.items() if name != "anthropic_version"}


def check_signature(request: SeenRequest, api_key: str) -> None:
    """That what arrived is what was signed."""
    sent = dict(request.headers)
    signed = [(name.encode(), sent[name].encode()) for name in ("content-type", "host")]
    fields = Signer(api_key, region="eu-west-1").fields(
        request.target, signed, sha256(request.body).hexdigest(), NOW_S
    )
    for name, value in fields:
        assert [v for n, v in request.headers if n == name.decode()] == [value.decode()]


@pytest.mark.parametrize("api_key", [AWS_KEYS, f"{AWS_KEYS}:{TOKEN}"])
@pytest.mark.anyio
async def test_a_call_with_access_keys_is_signed_for_what_is_sent(
    device: FaultyUpstream, transport: HttpTransport, api_key: str
) -> None:
    device.enqueue(answers(200, b"{}"), answers(200, b"{}"), streams(chunk(b'{"type":"message_stop"}')))
    upstream = bedrock(transport, device.base_url, api_key=api_key)
    large = b'{"model":"m","max_tokens":9,"messages":"%b"}' % (b"x" * 2_000_000)
    await read_all(await upstream.call(call_of(MODEL)))
    await read_all(await upstream.call(call_of(MODEL, body=large)))
    await read_all(await upstream.call(call_of(f"arn:aws:bedrock:::x/{MODEL}", stream=True)))
    assert len(device.requests[1].body) > 2_000_000
    assert device.requests[2].target.startswith("/model/arn%3Aaws%3Abedrock%3A%3A%3Ax%2Feu.anthropic.")
    for request in device.requests:
        check_signature(request, api_key)
        assert request.header("x-amz-date") == "20260102T030405Z"
        assert request.header("x-amz-security-token") == (TOKEN if api_key.endswith(TOKEN) else None)
        assert "wJalr" not in str(request.headers)
    transport.close()


@pytest.mark.anyio
async def test_a_stream_becomes_the_server_sent_events_of_the_messages_api(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    events = wire.stream_events(3, MODEL)
    stop = b'{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":12}}'
    events[-1] = b"event: message_stop\ndata: " + stop + b"\n\n"
    got = await streamed(device, transport, *(chunk(data_of(event)) for event in events))
    assert device.requests[0].target == f"{PATH}/invoke-with-response-stream"
    assert b"stream" not in device.requests[0].body
    assert (got.status, header(got.headers, b"content-type")) == (200, b"text/event-stream")
    assert header(got.headers, b"request-id") == b"aws-1"
    assert await read_all(got) == b"".join(events)
    transport.close()


@pytest.mark.parametrize("cut", [1, 3, 11, 12, 13, 100])
@pytest.mark.anyio
async def test_the_events_are_the_same_however_the_messages_are_cut(
    device: FaultyUpstream, transport: HttpTransport, cut: int
) -> None:
    events = wire.stream_events(2)
    data = b"".join(chunk(data_of(event)) for event in events)
    pieces = [data[start : start + cut] for start in range(0, len(data), cut)]
    assert await read_all(await streamed(device, transport, *pieces)) == b"".join(events)
    transport.close()


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b'{"type":"ping"}', b'event: ping\ndata: {"type":"ping"}\n\n'),
        (
            b'{ "type" : "content_block_delta","t":"\\ud83d"}',
            b'event: content_block_delta\ndata: { "type" : "content_block_delta","t":"\\ud83d"}\n\n',
        ),
        (b'{"x":{"type":"no"},"type":"yes"}', b'event: yes\ndata: {"x":{"type":"no"},"type":"yes"}\n\n'),
        (b'{"type":"ping",\n"x":1}', b'event: ping\ndata: {"type":"ping",\ndata: "x":1}\n\n'),
        (b'{"completion":"old"}', b""),
        (b"", b""),
    ],
    ids=["plain", "half a pair", "type last", "two lines", "another grammar", "empty"],
)
@pytest.mark.anyio
async def test_an_events_data_are_the_bytes_of_the_model(
    device: FaultyUpstream, transport: HttpTransport, data: bytes, event: bytes
) -> None:
    assert await read_all(await streamed(device, transport, chunk(data))) == event
    transport.close()


@pytest.mark.anyio
async def test_messages_that_are_no_chunk_say_nothing_to_a_client(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    initial = named(b"{}", event_type="initial-response", message_type="event")
    later = named(b'{"x":1}', event_type="somethingNew", message_type="event")
    bare = message(string_header(":event-type", "chunk"), b'{"bytes":"eyJ0eXBlIjoicGluZyJ9"}')
    got = await streamed(device, transport, initial, later, bare)
    assert await read_all(got) == b'event: ping\ndata: {"type":"ping"}\n\n'
    transport.close()


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("throttlingException", "rate_limit_error"),
        ("serviceUnavailableException", "overloaded_error"),
        ("validationException", "invalid_request_error"),
        ("modelTimeoutException", "timeout_error"),
        ("internalServerException", "api_error"),
        ("modelStreamErrorException", "api_error"),
        ("someNewException", "api_error"),
    ],
)
@pytest.mark.anyio
async def test_an_exception_becomes_an_error_event_and_ends_the_stream(
    device: FaultyUpstream, transport: HttpTransport, name: str, type_: str
) -> None:
    start = wire.stream_events(0)[0]
    got = await streamed(
        device, transport, chunk(data_of(start)), exception(name, 'Too "many"\n'), chunk(b'{"type":"ping"}')
    )
    error = wire.compact({"type": "error", "error": {"type": type_, "message": 'Too "many"\n'}})
    assert await read_all(got) == start + b"event: error\ndata: " + error + b"\n\n"
    transport.close()


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (
            named(b"", message_type="error", error_code="ThrottlingException", error_message="Slow."),
            {"type": "rate_limit_error", "message": "Slow."},
        ),
        (
            named(b"\xff", message_type="error", error_code="InternalFailure"),
            {"type": "api_error", "message": "upstream reported an error inside the stream"},
        ),
        (
            named(b'{"message":7}', message_type="exception"),
            {"type": "api_error", "message": "upstream reported an error inside the stream"},
        ),
    ],
)
@pytest.mark.anyio
async def test_an_error_the_service_does_not_declare_is_told_too(
    device: FaultyUpstream, transport: HttpTransport, frame: bytes, error: dict[str, str]
) -> None:
    body = await read_all(await streamed(device, transport, frame))
    assert json.loads(data_of(body)) == {"type": "error", "error": error}
    transport.close()


SPOILED = chunk(b'{"type":"ping"}')[:-1] + b"?"


@pytest.mark.parametrize(
    "piece",
    [
        SPOILED,
        b"event: ping\ndata: {}\n\n",
        named(b"not json", event_type="chunk", message_type="event"),
        named(b'{"bytes":"no base64!"}', event_type="chunk", message_type="event"),
        chunk(b"not json"),
        chunk(b'{"type":"a\\nevent: b"}'),
    ],
    ids=["checksum", "no messages", "payload", "base64", "data", "type"],
)
@pytest.mark.anyio
async def test_what_cannot_be_read_is_a_failure_after_the_events_before_it(
    device: FaultyUpstream, transport: HttpTransport, piece: bytes
) -> None:
    ping = chunk(b'{"type":"ping"}')
    got = await streamed(device, transport, ping + piece)
    assert await got.read() == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert await failure_of(got.read()) is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert await failure_of(got.read()) is FailureKind.UPSTREAM_INVALID_RESPONSE
    got.close()
    transport.close()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.anyio
async def test_a_stream_that_ends_inside_a_message_was_interrupted(
    device: FaultyUpstream, transport: HttpTransport, whole: bool
) -> None:
    ping = chunk(b'{"type":"ping"}')
    device.enqueue(streams(ping, ping[:-1], whole=whole))
    got = await bedrock(transport, device.base_url).call(call_of(MODEL, stream=True))
    assert await got.read() == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert await failure_of(got.read()) is FailureKind.UPSTREAM_INTERRUPTED
    transport.close()


@pytest.mark.parametrize("status", [400, 403, 404, 408, 424, 429, 500, 503])
@pytest.mark.parametrize("path", ["/v1/messages", COUNT])
@pytest.mark.anyio
async def test_errors_before_the_stream_keep_status_and_body(
    device: FaultyUpstream, transport: HttpTransport, status: int, path: str
) -> None:
    body = b'{ "message":"The provided model doesn\'t support counting tokens" }\n'
    device.enqueue(answers(status, body, "x-amzn-errortype: ValidationException"))
    upstream = bedrock(transport, device.base_url)
    got = await upstream.call(call_of(MODEL, stream=path != COUNT, path=path))
    assert (got.status, header(got.headers, b"content-type")) == (status, b"application/json")
    assert await read_all(got) == body
    transport.close()


@pytest.mark.anyio
async def test_a_streamed_answer_that_is_no_event_stream_is_not_taken_for_one(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    device.enqueue(answers(200, b"{}"))
    got = await bedrock(transport, device.base_url).call(call_of(MODEL, stream=True))
    assert header(got.headers, b"content-type") == b"application/json"
    assert await read_all(got) == b"{}"
    transport.close()


@pytest.mark.anyio
async def test_a_count_is_amazons_under_anthropics_name(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    device.enqueue(answers(200, b'{"inputTokens":412}\n'))
    got = await bedrock(transport, device.base_url, api_key=AWS_KEYS).call(call_of(MODEL, path=COUNT))
    assert await read_all(got) == b'{"input_tokens":412}'
    assert header(got.headers, b"content-length") is None
    (request,) = device.requests
    assert request.target == "/model/anthropic.claude-sonnet-4-20250514-v1%3A0/count-tokens"
    assert list(request.json) == ["input"]
    check_signature(request, AWS_KEYS)
    transport.close()


@pytest.mark.parametrize(
    "body", [b"[]", b'{"inputTokens":"7"}', b"{}", b"<html>", b'{"inputTokens":1,"x":"' + b"y" * 70_000]
)
@pytest.mark.anyio
async def test_a_count_that_is_none_is_a_failure(
    device: FaultyUpstream, transport: HttpTransport, body: bytes
) -> None:
    device.enqueue(answers(200, body))
    got = await bedrock(transport, device.base_url).call(call_of(MODEL, path=COUNT))
    assert await failure_of(got.read()) is FailureKind.UPSTREAM_INVALID_RESPONSE
    got.close()
    transport.close()


@pytest.mark.anyio
async def test_an_empty_count_stays_empty(device: FaultyUpstream, transport: HttpTransport) -> None:
    device.enqueue(raw_bytes(OK + b"content-length: 0\r\n\r\n"))
    got = await bedrock(transport, device.base_url).call(call_of(MODEL, path=COUNT))
    assert await read_all(got) == b""
    transport.close()


@pytest.mark.parametrize(
    ("model", "counted_as"),
    [
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("us.anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
        ("us-gov.anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
        ("global.anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
        (
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-x-v1:0",
            "anthropic.claude-x-v1:0",
        ),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-x-v1:0", "anthropic.claude-x-v1:0"),
        (
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
        ),
        ("my-model", "my-model"),
    ],
)
def test_a_profiles_tokens_are_counted_as_its_models(model: str, counted_as: str) -> None:
    assert foundation_model(model) == counted_as


@pytest.mark.anyio
async def test_a_path_that_bedrock_does_not_have_sends_nothing(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    with pytest.raises(ValueError, match="no operation"):
        await bedrock(transport, device.base_url).call(call_of(path="/v1/messages/batches"))
    assert not device.requests


@pytest.mark.parametrize(
    ("api_key", "region", "named"),
    [
        ("", "eu-west-1", "api_key"),
        ("hünter2", "eu-west-1", "api_key"),
        ("hunter2\r\nx-evil", "eu-west-1", "authorization"),
        ("AKID:hunter2:", "eu-west-1", "api_key"),
        ("AKID:hunter2", None, "region"),
    ],
)
def test_credentials_that_cannot_be_used_are_refused_and_not_repeated(
    transport: HttpTransport, api_key: str, region: str | None, named: str
) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        bedrock(transport, "https://a.example", api_key=api_key, region=region)
    assert "unter2" not in str(caught.value)


def test_the_keys_are_in_no_repr(transport: HttpTransport) -> None:
    upstream = bedrock(transport, "https://a.example", api_key=AWS_KEYS)
    assert repr(upstream) == "BedrockUpstream(base_url='https://a.example')"
