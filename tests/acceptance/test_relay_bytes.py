"""Every byte outside the permitted edits passes as it came: requests, answers and streams.

``RecordingUpstream`` keeps what it was asked and answers with what the seed in the query says, so
both directions are compared with text that was made, not parsed.
"""

import asyncio
import random
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance import random_wire
from tests.acceptance.caller import Caller, ask
from tests.devices.faulty_behaviours import Behaviour, Exchange, begin_stream, chunk, end_stream, head
from tests.devices.faulty_upstream import FaultyUpstream, SeenRequest
from tests.devices.gateway import LIVE_KEY, ORG, Gateway, message, provider

CALLERS = 4
UPSTREAM_KEY = "upstream-secret-key"


def answer_seed(seed: int) -> random.Random:
    return random.Random(-seed - 1)


class RecordingUpstream(FaultyUpstream):
    """Answers ``?seed=N`` with the answer or stream of that seed; everything else as its base does."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: dict[int, bytes] = {}

    def behaviour(self, request: SeenRequest, wire: Exchange) -> Awaitable[None]:  # type: ignore[override]
        query = request.target.partition("?seed=")[2]
        if not query:
            return super().behaviour(request, wire)  # type: ignore[arg-type]
        seed = int(query)
        self.bodies[seed] = request.body
        self.requests.clear()
        return _answer(wire, answer_seed(seed))


async def _answer(exchange: Exchange, random_: random.Random) -> None:
    if exchange.stream:
        data = random_wire.stream(random_)
        await begin_stream(exchange)
    else:
        data = random_wire.answer(random_)
        chunked = random_.random() < 0.5
        framing = "transfer-encoding: chunked" if chunked else f"content-length: {len(data)}"
        await exchange.send(head(200, "content-type: application/json", framing))
    for piece in random_wire.pieces(random_, data):
        if exchange.stream or chunked:
            await chunk(exchange, piece)
        else:
            await exchange.send(piece)
        if random_.random() < 0.3:
            await asyncio.sleep(0)
    if exchange.stream or chunked:
        await end_stream(exchange)


@pytest.fixture(scope="module")
def upstream() -> Iterator[RecordingUpstream]:
    with RecordingUpstream() as device:
        yield device


@pytest.fixture(scope="module")
def gateway(upstream: RecordingUpstream) -> Iterator[Gateway]:
    toml = ORG + provider(upstream.base_url, "m", random_wire.SAME, key=UPSTREAM_KEY)
    mapped = random_wire.MAPPED_UPSTREAM
    toml += f"[[models]]\nid = '{random_wire.MAPPED}'\nprovider = 'mock'\nupstream_id = '{mapped}'\n"
    toml += '[ledger]\ndurability = "process"\n'
    with Gateway(toml) as running:
        yield running


def relay(gateway: Gateway, upstream: RecordingUpstream, seeds: range) -> None:
    """One exchange per seed over one connection, compared in both directions."""
    with Caller(gateway) as caller:
        for seed in seeds:
            asked = random_wire.request(random.Random(seed))
            answer = caller.ask(asked.body, path=f"/v1/messages?seed={seed}")
            assert upstream.bodies.pop(seed, None) == asked.expected, f"request of seed {seed}"
            random_ = answer_seed(seed)
            made = random_wire.stream(random_) if asked.stream else random_wire.answer(random_)
            assert (answer.status, answer.body) == (200, made), f"answer of seed {seed}"
            assert answer.whole, f"framing of seed {seed}"


def relay_in_parallel(gateway: Gateway, upstream: RecordingUpstream, seeds: range) -> None:
    with ThreadPoolExecutor(CALLERS) as pool:
        parts = [seeds[number::CALLERS] for number in range(CALLERS)]
        for done in [pool.submit(relay, gateway, upstream, part) for part in parts]:
            done.result()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [range(2_500), range(2_500, 10_000)], ids=["first", "rest"])
def test_ten_thousand_random_exchanges_pass_byte_for_byte(
    gateway: Gateway, upstream: RecordingUpstream, seeds: range
) -> None:
    rows_before = len(gateway.rows())
    relay_in_parallel(gateway, upstream, seeds)
    rows = gateway.settled_rows(rows_before + len(seeds))[rows_before:]
    assert len(rows) == len(seeds)
    assert {(row["ending"], row["status"], row["retries"]) for row in rows} == {("completed", 200, 0)}


def test_the_random_requests_are_worth_sending() -> None:
    """Or the comparison above would mean little: each edit, alone and together, and neither."""
    asked = [random_wire.request(random.Random(seed)) for seed in range(500)]
    untouched = sum(one.body == one.expected for one in asked)
    assert 50 < untouched < 450
    assert 150 < sum(one.stream for one in asked) < 350
    assert any(b"\\u0" in one.body and one.body != one.expected for one in asked)
    assert not any(b'"metadata"' in one.expected for one in asked)


def play(
    gateway: Gateway, upstream: RecordingUpstream, body: bytes, script: Behaviour | str = "ok", **how: object
) -> SeenRequest:
    upstream.enqueue(script)
    answer = ask(gateway, body, **how)
    assert answer.status == 200
    return upstream.requests[-1]


def test_a_body_without_anything_to_edit_is_the_same_body(
    gateway: Gateway, upstream: RecordingUpstream
) -> None:
    body = (
        b' {"max_tokens" : 1 ,\n"model":"\\u006d","messages":[{"role":"user","content":"\\ud834\\udd1e"}]}\t'
    )
    assert play(gateway, upstream, body).body == body


@pytest.mark.parametrize("size", [1_000, 100_000, 3_000_000])
def test_big_bodies_pass_whole(gateway: Gateway, upstream: RecordingUpstream, size: int) -> None:
    body = message("m", messages=[{"role": "user", "content": "é☃" * (size // 5)}])
    assert play(gateway, upstream, body).body == body


def test_big_answers_pass_whole(gateway: Gateway, upstream: RecordingUpstream) -> None:
    data = b'{"content":[{"type":"text","text":"' + b"y" * 5_000_000 + b'"}]}'

    async def big(exchange: Exchange) -> None:
        await exchange.send(head(200, "content-type: application/json", f"content-length: {len(data)}"))
        for start in range(0, len(data), 100_000):
            await exchange.send(data[start : start + 100_000])

    upstream.enqueue(big)
    answer = ask(gateway, message("m"))
    assert (answer.status, answer.body) == (200, data)


@pytest.mark.parametrize("status", [400, 404, 422, 418])
def test_error_bodies_of_any_bytes_pass(gateway: Gateway, upstream: RecordingUpstream, status: int) -> None:
    data = bytes(range(256)) * 40

    async def fail(exchange: Exchange) -> None:
        fields = ("content-type: application/octet-stream", f"content-length: {len(data)}")
        await exchange.send(head(status, *fields) + data)

    for stream in (False, True):
        upstream.enqueue(fail)
        answer = ask(gateway, message("m", stream=stream))
        assert (answer.status, answer.body) == (status, data)
        assert answer.header("content-type") == "application/octet-stream"


def test_an_answer_with_half_a_surrogate_pair_is_the_clients_to_judge(
    gateway: Gateway, upstream: RecordingUpstream
) -> None:
    """JSON's grammar allows the escape (RFC 8259, 8.2)."""
    data = b'{"content":[{"type":"text","text":"\\ud834"}],"usage":{"input_tokens":1,"output_tokens":2}}'

    async def odd(exchange: Exchange) -> None:
        await exchange.send(
            head(200, "content-type: application/json", f"content-length: {len(data)}") + data
        )

    upstream.enqueue(odd)
    answer = ask(gateway, message("m"))
    assert (answer.status, answer.body) == (200, data)


FORWARDED = {
    "anthropic-version": "2099-01-01",
    "anthropic-beta": "one-2025-01-01,two",
    "x-claude-code-session-id": "session-7",
    "openai-beta": "assistants=v2",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "vendor=1",
}
KEPT_BACK = {
    "cookie": "session=secret-cookie",
    "x-forwarded-for": "10.0.0.1",
    "x-real-ip": "10.0.0.1",
    "forwarded": "for=10.0.0.1",
    "x-custom": "something",
    "x-stainless-lang": "python",
    "user-agent": "client/1.0",
    "accept": "application/json, */*",
    "accept-encoding": "gzip, br, zstd",
    "origin": "https://app.example",
    "referer": "https://app.example/",
    "proxy-authorization": "Basic secret-proxy",
    "x-goog-api-key": "secret-goog",
    "api-key": "secret-azure",
    "te": "trailers",
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("credential", ["x-api-key", "authorization"])
def test_only_the_headers_of_the_list_reach_the_provider(
    gateway: Gateway, upstream: RecordingUpstream, credential: str, stream: bool
) -> None:
    headers = {**FORWARDED, **KEPT_BACK}
    body = message("m", stream=stream)
    if credential == "authorization":
        # It alone decides, so what stands beside it must not travel either.
        headers |= {"authorization": f"Bearer {LIVE_KEY}", "x-api-key": "another-client-secret"}
    seen = play(gateway, upstream, body, headers=headers)
    assert len(seen.headers) == len(dict(seen.headers))
    got = dict(seen.headers)
    assert got.pop("user-agent").startswith("triptych/")
    assert got == {
        **FORWARDED,
        "host": f"127.0.0.1:{upstream.port}",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "accept": "text/event-stream" if stream else "application/json",
        "accept-encoding": "identity",
        "x-api-key": UPSTREAM_KEY,
    }
    everything = f"{seen.target} {seen.headers}"
    for secret in (LIVE_KEY, "another-client-secret", "secret-cookie", "secret-proxy", "secret-goog"):
        assert secret not in everything


def test_what_the_client_says_to_this_hop_alone_does_not_go_on(
    gateway: Gateway, upstream: RecordingUpstream
) -> None:
    """RFC 9110, 7.6.1: a proxy removes the fields that ``Connection`` names."""
    headers = {**FORWARDED, "connection": "Keep-Alive, Anthropic-Beta,traceparent , x-nothing"}
    seen = play(gateway, upstream, message("m"), headers=headers)
    passed = {name: value for name, value in seen.headers if name in FORWARDED}
    assert passed == {
        name: value for name, value in FORWARDED.items() if name not in ("anthropic-beta", "traceparent")
    }
    assert seen.header("connection") is None
    seen = play(gateway, upstream, message("m"), headers={**FORWARDED, "connection": "keep-alive"})
    assert {name: value for name, value in seen.headers if name in FORWARDED} == FORWARDED


def test_the_version_has_a_default(gateway: Gateway, upstream: RecordingUpstream) -> None:
    assert play(gateway, upstream, message("m")).header("anthropic-version") == "2023-06-01"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("query", ["", "?beta=true", "?a=%20%2F&&b=1&a=2&c=;+~'()", "?x=?y/../z"])
def test_path_and_query_reach_the_provider_as_they_came(
    gateway: Gateway, upstream: RecordingUpstream, path: str, query: str
) -> None:
    seen = play(gateway, upstream, message("m"), path=path + query)
    assert (seen.method, seen.target) == ("POST", path + query)


def test_only_the_headers_of_the_list_reach_the_client(gateway: Gateway, upstream: RecordingUpstream) -> None:
    async def talkative(exchange: Exchange) -> None:
        data = b'{"usage":{"input_tokens":1,"output_tokens":2}}'
        fields = (
            "content-type: application/json; charset=utf-8",
            f"content-length: {len(data)}",
            "openai-processing-ms: 12",
            "set-cookie: second=2",
            "server: vendor",
            "cf-ray: 1234",
            "x-request-id: theirs",
            "anthropic-ratelimit-requests-remaining: 7",
            "strict-transport-security: max-age=1",
            "x-triptych-environment: test",
            "x-should-retry: true",
            "date: Mon, 01 Jan 2001 00:00:00 GMT",
            "via: 1.1 somebody",
        )
        await exchange.send(head(200, *fields) + data)

    upstream.enqueue(talkative)
    answer = ask(gateway, message("m"))
    assert answer.status == 200
    own = {"date", "content-length", "request-id", "x-request-id"}
    assert {name: value for name, value in answer.headers if name not in own} == {
        "content-type": "application/json; charset=utf-8",
        "x-upstream-request-id": "req_fault",
        "anthropic-organization-id": "org_fault",
        "openai-processing-ms": "12",
    }
    assert "2001" not in (answer.header("date") or "")
    assert answer.request_id
