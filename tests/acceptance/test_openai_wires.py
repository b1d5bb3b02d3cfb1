"""OpenAI's wires between a raw client and a provider on real sockets: the bytes of both directions,
the declared edits and no others, and how each wire ends a stream that its provider did not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.acceptance.caller import Answer, ask, facts, settled_row
from tests.acceptance.expected import BILLED, COST_NUSD, NO_TOKENS
from tests.devices.faulty_behaviours import (
    JSON,
    Exchange,
    answer,
    begin_stream,
    chunk,
    end_stream,
    whole_stream,
)
from tests.devices.faulty_upstream import FaultyUpstream, SeenRequest, refused_port
from tests.devices.gateway import LIVE_KEY, ORG, Gateway, provider

UPSTREAM_KEY = "upstream-secret-key"
BEARER = {"authorization": f"Bearer {LIVE_KEY}"}
TEXT = "née ☃ 𝄞 \\ud83d\\ude00"

USAGE_CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[],"usage":'
    b'{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def delta(text: str) -> bytes:
    data = f'{{"id":"chatcmpl-1","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}],"usage":null}}'
    return f"data: {data}\n\n".encode()


def event(number: int, kind: str, rest: str) -> bytes:
    data = f'{{"type":"{kind}", "sequence_number":{number},{rest}}}'
    return f"event: {kind}\ndata: {data}\n\n".encode()


def snapshot(status: str, error: str, usage: str) -> str:
    return (
        f'{{"id":"resp_1" ,"object":"response","status":"{status}","model":"elsewhere",'
        f'"error":{error},"output":[],"future":[1.0e0],"usage":{usage}}}'
    )


CHAT_EVENTS = [delta(""), delta(TEXT), delta(" more"), delta(TEXT)]
RESPONSES_EVENTS = [
    event(0, "response.created", f'"response":{snapshot("in_progress", "null", "null")}'),
    event(1, "response.in_progress", f'"response":{snapshot("in_progress", "null", "null")}'),
    event(2, "response.output_text.delta", f'"delta":"{TEXT}"'),
    event(3, "response.output_text.delta", '"delta":" more"'),
]
GAVE_UP = '{"code":"server_error","message":"Gave up."}'
COUNTS = '{"input_tokens":12,"output_tokens":7,"total_tokens":19}'
FAILED = event(4, "response.failed", f'"response":{snapshot("failed", GAVE_UP, "null")}')
COMPLETED = event(4, "response.completed", f'"response":{snapshot("completed", "null", COUNTS)}')


def broken_chat(relayed: list[bytes], sentence: str) -> bytes:
    error = f'{{"message":"{sentence}","type":"server_error","code":"stream_error"}}'
    return f'event: error\ndata: {{"error":{error}}}\n\ndata: [DONE]\n\n'.encode()


def broken_response(relayed: list[bytes], sentence: str) -> bytes:
    error = f'{{"message":"{sentence}","type":"server_error","code":"stream_error"}}'
    failed = snapshot("failed", f'{{"code":"server_error","message":"{sentence}"}}', "null")
    return (
        f'event: error\ndata: {{"error":{error}}}\n\n'
        "event: response.failed\n"
        f'data: {{"type":"response.failed","sequence_number":{len(relayed)},"response":{failed}}}\n\n'
    ).encode()


@dataclass(frozen=True)
class Wire:
    path: str
    request: bytes
    """Of a plain request; ``@`` stands for the model id."""
    streamed: bytes
    sent_on: bytes
    """What must reach the provider of ``streamed``."""
    events: list[bytes]
    end: bytes
    answer: bytes
    broken: Callable[[list[bytes], str], bytes]


CHAT = Wire(
    "/v1/chat/completions",
    b'{"model":"@","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"@","messages":[{"role":"user","content":"x"}],"stream":true}',
    b'{"model":"@","messages":[{"role":"user","content":"x"}],"stream":true,'
    b'"stream_options":{"include_usage":true}}',
    CHAT_EVENTS,
    DONE,
    b'{ "id" : "chatcmpl-1","model":"elsewhere", "choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"n\\u00e9e"}}],"future":1.50,\n"usage":{"prompt_tokens":12,"completion_tokens":7}}\n',
    broken_chat,
)
RESPONSES = Wire(
    "/v1/responses",
    b'{"model":"@","store":false,"input":"x"}',
    b'{"model":"@","input":"x","stream":true}',
    b'{"model":"@","store":false,"input":"x","stream":true}',
    RESPONSES_EVENTS,
    COMPLETED,
    snapshot("completed", "null", COUNTS).encode(),
    broken_response,
)
WIRES = pytest.mark.parametrize("wire", [CHAT, RESPONSES], ids=["chat", "responses"])


@pytest.fixture(scope="module")
def gateway(upstream: FaultyUpstream) -> Iterator[Gateway]:
    with refused_port() as nobody:
        toml = ORG + provider(upstream.base_url, "m", kind="openai", key=UPSTREAM_KEY)
        toml += '[[models]]\nid = "mapped"\nprovider = "mock"\nupstream_id = "vendor/under-1"\n'
        toml += provider(f"http://127.0.0.1:{nobody}/v1", "nowhere", name="nobody", kind="openai")
        server = "first_byte_timeout_s = 0.7\nidle_stream_timeout_s = 0.7\n"
        with Gateway(toml + "[retries]\nattempts = 0\n", server=server) as running:
            yield running


def send(gateway: Gateway, wire: Wire, body: bytes, model: str = "m", query: str = "") -> Answer:
    got = ask(gateway, body.replace(b"@", model.encode()), path=wire.path + query, headers=BEARER)
    assert got.whole, "the answer's framing was cut"
    return got


def answers(upstream: FaultyUpstream, body: bytes, status: int = 200, *fields: str) -> None:
    async def play(exchange: Exchange) -> None:
        await answer(exchange, status, JSON, body, *fields)

    upstream.enqueue(play)


def streams(upstream: FaultyUpstream, *events: bytes) -> None:
    async def play(exchange: Exchange) -> None:
        await whole_stream(exchange, list(events))

    upstream.enqueue(play)


def check_row(gateway: Gateway, got: Answer, **expected: object) -> None:
    row = settled_row(gateway, got.request_id)
    assert facts(row, *expected) == expected


def completed(got: Answer) -> dict[str, object]:
    return {"ending": "completed", "status": 200, "failure_kind": None, "bytes_out": len(got.body), **BILLED}


def failed(kind: str, body: bytes, text_bytes: int) -> dict[str, object]:
    """Of a stream that broke: nobody counted, so everything is an estimate of four bytes a token."""
    tokens = (len(body) // 4, text_bytes // 4)
    return {
        "ending": "failed",
        "status": 200,
        "failure_kind": kind,
        "upstream_status": 200,
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "usage_source": "estimate",
        "cost_nusd": tokens[0] * 3_000 + tokens[1] * 15_000,
    }


def last(upstream: FaultyUpstream) -> SeenRequest:
    return upstream.requests[-1]


PICTURE = b"iVBOR" + b"A" * 200_000
DATA_URL = b'"data:image/png;base64,%s"' % PICTURE
PICTURES = {
    CHAT.path: b'[{"role":"user","content":[{"type":"image_url","image_url":{"url":%s}}]}]' % DATA_URL,
    RESPONSES.path: b'[{"role":"user","content":[{"type":"input_image","image_url":%s}]}]' % DATA_URL,
}


@WIRES
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "broken-stream"])
def test_a_picture_in_a_request_that_nobody_counted_is_not_charged_by_its_bytes(
    gateway: Gateway, upstream: FaultyUpstream, wire: Wire, *, stream: bool
) -> None:
    said = PICTURES[wire.path]
    if stream:
        streams(upstream, *wire.events)
        body = wire.streamed.replace(b'"x"', said) if wire is RESPONSES else wire.streamed
    else:
        answers(upstream, wire.answer.replace(b"tokens", b"words"))
        body = wire.request.replace(b'"x"', said) if wire is RESPONSES else wire.request
    body = body.replace(b'[{"role":"user","content":"x"}]', said)
    got = send(gateway, wire, body)
    assert got.status == 200 and len(last(upstream).body) > len(PICTURE)
    row = settled_row(gateway, got.request_id)
    assert row["usage_source"] == "estimate"
    text_tokens = (len(last(upstream).body) - len(PICTURE)) // 4
    assert 1_600 <= row["input_tokens"] <= 1_600 + text_tokens + 1
    assert row["cost_nusd"] == row["input_tokens"] * 3_000 + row["output_tokens"] * 15_000


@WIRES
def test_a_plain_answer_passes_byte_for_byte(gateway: Gateway, upstream: FaultyUpstream, wire: Wire) -> None:
    answers(upstream, wire.answer, 200, "x-request-id: req_theirs", "openai-processing-ms: 41")
    got = send(gateway, wire, wire.request, query="?a=b&c")
    assert (got.status, got.body) == (200, wire.answer)
    assert got.header("content-type") == JSON
    assert got.header("openai-processing-ms") == "41" and got.header("set-cookie") is None
    seen = last(upstream)
    assert (seen.method, seen.target) == ("POST", wire.path + "?a=b&c")
    assert seen.body == wire.request.replace(b"@", b"m")
    check_row(gateway, got, surface="inference", model="m", provider="mock", **completed(got))


@WIRES
def test_a_stream_passes_byte_for_byte(gateway: Gateway, upstream: FaultyUpstream, wire: Wire) -> None:
    usage = (USAGE_CHUNK,) if wire is CHAT else ()
    events = (b": ping\n\n", *wire.events, *usage, wire.end)
    streams(upstream, *events)
    asked = wire.streamed
    if wire is CHAT:
        asked = asked[:-1] + b', "stream_options" : { "include_usage" : true } }'
    got = send(gateway, wire, asked)
    assert (got.status, got.body) == (200, b"".join(events))
    assert got.header("content-type") == "text/event-stream"
    assert last(upstream).body == (asked if wire is CHAT else wire.sent_on).replace(b"@", b"m")
    check_row(gateway, got, **completed(got))


@pytest.mark.parametrize("options", [b"", b',"stream_options":{"include_usage":false}'])
def test_the_usage_of_a_completion_is_asked_for_and_kept_from_who_did_not_ask(
    gateway: Gateway, upstream: FaultyUpstream, options: bytes
) -> None:
    streams(upstream, *CHAT_EVENTS, USAGE_CHUNK, DONE)
    got = send(gateway, CHAT, CHAT.streamed[:-1] + options + b"}")
    assert (got.status, got.body) == (200, b"".join([*CHAT_EVENTS, DONE]))
    assert last(upstream).body == CHAT.sent_on.replace(b"@", b"m")
    check_row(gateway, got, **completed(got))


@WIRES
def test_only_the_declared_edits_are_made_to_a_request(
    gateway: Gateway, upstream: FaultyUpstream, wire: Wire
) -> None:
    fields = b'"messages":[{"role":"user","content":"h\\u00e9"}]' if wire is CHAT else b'"input" : "h\\u00e9"'
    asked = (
        b'{ "future":{"a" : 1.50, "b":1e999,"metadata":{}},"metadata":{"user_id":"u"},\t"model" : "mapped", '
        b'%b,"litellm_metadata":{"org":"x"},"temperature":0.10,"proxy_server_request":1\n}\n'
    ) % fields
    stored = b"" if wire is CHAT else b',"store":false'
    wanted = (
        b'{ "future":{"a" : 1.50, "b":1e999,"metadata":{}},\t"model" : "vendor/under-1"'
        + stored
        + b', %b,"temperature":0.10\n}\n' % fields
    )
    answers(upstream, wire.answer)
    got = send(gateway, wire, asked)
    assert (got.status, got.body) == (200, wire.answer)
    assert last(upstream).body == wanted
    row = settled_row(gateway, got.request_id)
    assert row["client_user_hash"] and row["model"] == "mapped"


def test_a_response_that_says_null_about_its_state_stays_as_it_is(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    asked = (
        b'{"input":"x", "store":false,"previous_response_id":null,"conversation":null,'
        b'"background":false,"model":"m"}'
    )
    answers(upstream, RESPONSES.answer)
    assert send(gateway, RESPONSES, asked).status == 200
    assert last(upstream).body == asked


@WIRES
def test_the_provider_sees_its_own_key_and_never_the_clients(
    gateway: Gateway, upstream: FaultyUpstream, wire: Wire
) -> None:
    answers(upstream, wire.answer)
    headers = {
        **BEARER,
        "cookie": "a=b",
        "openai-organization": "org-client",
        "openai-project": "proj-client",
        "openai-beta": "responses=v9",
        "user-agent": "client/1",
    }
    got = ask(gateway, wire.request.replace(b"@", b"m"), path=wire.path, headers=headers)
    assert got.status == 200
    seen = last(upstream)
    assert [value for name, value in seen.headers if name == "authorization"] == [f"Bearer {UPSTREAM_KEY}"]
    assert seen.header("openai-beta") == "responses=v9"
    for name in ("x-api-key", "cookie", "openai-organization", "openai-project", "anthropic-version"):
        assert seen.header(name) is None, name
    assert LIVE_KEY not in str(seen.headers) and LIVE_KEY.encode() not in seen.body
    assert seen.header("accept-encoding") == "identity"


ERROR_BODIES = {
    "400": (
        400,
        JSON,
        b'{"error" : {"message":"Bad.","type":"invalid_request_error","param":"x","code":null}}',
    ),
    "401": (401, JSON, b'{"error":{"message":"Incorrect API key provided.","code":"invalid_api_key"}}'),
    "429": (429, JSON, b'{"error":{"message":"Slow down.","type":"requests","code":"rate_limit_exceeded"}}'),
    "503": (503, "text/html", b"<html>overloaded</html>"),
}


@WIRES
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "kind", "body"), ERROR_BODIES.values(), ids=ERROR_BODIES)
def test_a_providers_own_error_passes_verbatim(
    gateway: Gateway, upstream: FaultyUpstream, wire: Wire, stream: bool, status: int, kind: str, body: bytes
) -> None:
    async def play(exchange: Exchange) -> None:
        await answer(exchange, status, kind, body, "retry-after: 7", "x-ratelimit-limit-requests: 9")

    upstream.enqueue(play)
    got = send(gateway, wire, wire.streamed if stream else wire.request)
    assert (got.status, got.body, got.header("content-type")) == (status, body, kind)
    assert (got.header("retry-after"), got.header("x-upstream-request-id")) == ("7", "req_fault")
    assert got.header("x-ratelimit-limit-requests") is None
    check_row(
        gateway, got, ending="failed", failure_kind="upstream_error", upstream_status=status, **NO_TOKENS
    )


def cut_after(upstream: FaultyUpstream, data: bytes, ending: str) -> None:
    async def play(exchange: Exchange) -> None:
        await begin_stream(exchange)
        if data:
            await chunk(exchange, data)
        if ending == "cut":
            exchange.close()
        elif ending == "ended":
            await end_stream(exchange)
        else:
            await exchange.hang()

    upstream.enqueue(play)


def text_bytes(events: list[bytes]) -> int:
    whole = b"".join(events)
    return whole.count(TEXT.encode()) * len(TEXT.encode()) + whole.count(b" more") * len(b" more")


@WIRES
@pytest.mark.parametrize("ending", ["cut", "ended"])
@pytest.mark.parametrize("whole_events", [1, 2, 3, 4])
@pytest.mark.parametrize("further_bytes", [0, 1, 30])
def test_a_stream_cut_anywhere_ends_with_the_frames_of_its_wire(
    gateway: Gateway,
    upstream: FaultyUpstream,
    wire: Wire,
    ending: str,
    whole_events: int,
    further_bytes: int,
) -> None:
    relayed = wire.events[:whole_events]
    rest = b"".join([*wire.events[whole_events:], wire.end])
    cut_after(upstream, b"".join(relayed) + rest[: min(further_bytes, len(DONE) - 1)], ending)
    got = send(gateway, wire, wire.streamed)
    frames = wire.broken(relayed, "upstream stream interrupted")
    assert (got.status, got.body) == (200, b"".join(relayed) + frames)
    sent_on = wire.sent_on.replace(b"@", b"m")
    assert last(upstream).body == sent_on
    check_row(gateway, got, **failed("upstream_interrupted", sent_on, text_bytes(relayed)))


@WIRES
def test_a_stream_that_stalls_ends_with_the_same_frames(
    gateway: Gateway, upstream: FaultyUpstream, wire: Wire
) -> None:
    cut_after(upstream, b"".join(wire.events) + wire.end[:9], "stalls")
    got = send(gateway, wire, wire.streamed)
    frames = wire.broken(wire.events, "upstream stream interrupted")
    assert (got.status, got.body) == (200, b"".join(wire.events) + frames)
    sent_on = wire.sent_on.replace(b"@", b"m")
    check_row(gateway, got, **failed("upstream_timeout", sent_on, text_bytes(wire.events)))


def test_a_completion_cut_after_its_usage_is_billed_by_it_but_failed(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    cut_after(upstream, b"".join([*CHAT_EVENTS, USAGE_CHUNK]), "cut")
    got = send(gateway, CHAT, CHAT.streamed)
    frames = broken_chat(CHAT_EVENTS, "upstream stream interrupted")
    assert (got.status, got.body) == (200, b"".join(CHAT_EVENTS) + frames)
    row = settled_row(gateway, got.request_id)
    assert (row["ending"], row["failure_kind"]) == ("failed", "upstream_interrupted")
    assert (row["input_tokens"], row["usage_source"]) == (12, "estimate")
    assert row["output_tokens"] >= 7 and row["cost_nusd"] >= COST_NUSD


PROVIDERS_ERRORS = [
    (CHAT, b'data: {"error":{"message":"Busy.","type":"server_error","code":"overloaded"}}\n\n'),
    (CHAT, b'event: error\ndata: {"error":{"message":"Busy.","type":"server_error"}}\n\n'),
    (RESPONSES, b'event: error\ndata: {"type":"error","sequence_number":4,"code":"busy","message":"B"}\n\n'),
    (RESPONSES, FAILED),
]


@pytest.mark.parametrize(("wire", "error"), PROVIDERS_ERRORS)
def test_a_providers_error_inside_a_stream_passes_verbatim_and_is_the_last(
    gateway: Gateway, upstream: FaultyUpstream, wire: Wire, error: bytes
) -> None:
    streams(upstream, *wire.events, error)
    got = send(gateway, wire, wire.streamed)
    assert (got.status, got.body) == (200, b"".join([*wire.events, error]))
    sent_on = wire.sent_on.replace(b"@", b"m")
    check_row(gateway, got, **failed("upstream_stream_error", sent_on, text_bytes(wire.events)))


def check_refused(got: Answer, status: int, code: str) -> None:
    error = got.json["error"]
    assert set(got.json) == {"error"} and set(error) == {"message", "type", "code", "param"}
    assert (got.status, error["type"], error["code"]) == (status, "server_error", code)
    assert got.header("content-type") == JSON


BEFORE_THE_FIRST_BYTE = {
    "reset": ("reset", 502, "upstream_unreachable", "upstream_unreachable"),
    "hung up": ("close", 502, "upstream_unreachable", "upstream_unreachable"),
    "silent": ("hang_before_head", 504, "upstream_timeout", "upstream_timeout"),
    "an empty 200": ("empty", 502, "upstream_empty_body", "upstream_empty_body"),
    "an empty 500": ("empty:500", 502, "upstream_empty_body", "upstream_empty_body"),
    "a page": ("html:200", 502, "upstream_invalid_response", "upstream_invalid_response"),
}


@WIRES
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("script", "status", "code", "kind"), BEFORE_THE_FIRST_BYTE.values(), ids=BEFORE_THE_FIRST_BYTE
)
def test_what_breaks_before_the_first_byte_is_a_plain_error_in_openais_envelope(
    gateway: Gateway,
    upstream: FaultyUpstream,
    wire: Wire,
    stream: bool,
    script: str,
    status: int,
    code: str,
    kind: str,
) -> None:
    # On a connection that was kept alive the first is a stale connection, and tried once more.
    upstream.enqueue(script, script)
    got = send(gateway, wire, wire.streamed if stream else wire.request)
    upstream.queue.clear()
    check_refused(got, status, code)
    check_row(gateway, got, ending="failed", status=status, failure_kind=kind, **NO_TOKENS)


@WIRES
@pytest.mark.parametrize("sent", [b"", b'data: {"id":'])
def test_a_stream_that_is_cut_before_its_first_event_is_a_plain_error(
    gateway: Gateway, upstream: FaultyUpstream, wire: Wire, sent: bytes
) -> None:
    cut_after(upstream, sent, "cut")
    got = send(gateway, wire, wire.streamed)
    check_refused(got, 502, "upstream_invalid_response")
    check_row(gateway, got, ending="failed", status=502, failure_kind="upstream_interrupted", **NO_TOKENS)


@WIRES
def test_a_provider_that_cannot_be_reached_is_a_502(gateway: Gateway, wire: Wire) -> None:
    got = send(gateway, wire, wire.streamed, model="nowhere")
    check_refused(got, 502, "upstream_unreachable")
    check_row(gateway, got, ending="failed", failure_kind="upstream_unreachable", **NO_TOKENS)


@WIRES
def test_json_cut_in_half_is_a_502(gateway: Gateway, upstream: FaultyUpstream, wire: Wire) -> None:
    answers(upstream, wire.answer[: len(wire.answer) // 2])
    got = send(gateway, wire, wire.request)
    check_refused(got, 502, "upstream_invalid_response")
    check_row(gateway, got, ending="failed", failure_kind="upstream_invalid_response", **NO_TOKENS)


def test_the_gateway_lived_through_all_of_it_without_an_unexpected_error(gateway: Gateway) -> None:
    assert gateway.process is not None and gateway.process.poll() is None
    assert "unexpected" not in gateway.log and "Traceback" not in gateway.log
