"""What every upstream over HTTP promises, asked of our transport on both loops and of aiohttp."""

import asyncio

import pytest

from tests.devices import messages_wire as wire
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.upstreams.conftest import KEY, Clients, call_of, failure_of, read_all, until
from tests.upstreams.raw import OK, chunked, raw, sized
from triptych.core.call import header
from triptych.core.failure import FailureKind

pytestmark = pytest.mark.anyio


async def test_a_plain_answer_arrives_with_status_headers_and_body(
    clients: Clients, device: FaultyUpstream
) -> None:
    answer = await clients.upstream(device.base_url).call(call_of("m"))
    assert answer.status == 200
    assert header(answer.headers, b"content-type") == b"application/json"
    assert header(answer.headers, b"request-id") == b"req_fault"
    assert await read_all(answer) == wire.message("m")
    assert await answer.read() == b""


async def test_the_request_is_what_was_asked_for(clients: Clients, device: FaultyUpstream) -> None:
    headers = [(b"anthropic-beta", b"tools-1"), (b"anthropic-version", b"2024-01-01")]
    call = call_of(query=b"beta=true", headers=headers)
    await read_all(await clients.upstream(device.base_url).call(call))
    (request,) = device.requests
    assert (request.method, request.target) == ("POST", "/v1/messages?beta=true")
    assert request.body == call.body
    assert request.header("host") == f"127.0.0.1:{device.port}"
    assert request.header("content-length") == str(len(call.body))
    assert request.header("content-type") == "application/json"
    assert request.header("accept") == "application/json"
    assert request.header("accept-encoding") == "identity"
    assert request.header("x-api-key") == KEY
    assert request.header("anthropic-beta") == "tools-1"
    assert request.header("anthropic-version") == "2024-01-01"
    names = [name for name, _ in request.headers]
    assert len(names) == len(set(names))


async def test_a_base_url_ending_in_v1_does_not_ask_for_v1_twice(
    clients: Clients, device: FaultyUpstream
) -> None:
    await read_all(await clients.upstream(device.base_url + "/v1").call(call_of()))
    await read_all(await clients.upstream(device.base_url + "/v1/").call(call_of()))
    await read_all(await clients.upstream(device.base_url + "/some/proxy").call(call_of()))
    targets = [request.target for request in device.requests]
    assert targets == ["/v1/messages", "/v1/messages", "/some/proxy/v1/messages"]


async def test_a_stream_arrives_event_by_event(clients: Clients, device: FaultyUpstream) -> None:
    answer = await clients.upstream(device.base_url).call(call_of("fault-ok_stream:6:10", stream=True))
    assert device.requests[0].header("accept") == "text/event-stream"
    reads = []
    while data := await answer.read():
        reads.append(data)
    assert b"".join(reads) == wire.stream(6, "fault-ok_stream:6:10")
    assert len(reads) >= 6


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(sized(b"hello")),
        raw(chunked(b"he", b"l", b"lo")),
        raw(chunked(b"hello", trailers=b"x-checksum: 1\r\n")),
        raw(OK + b"connection: close\r\n\r\nhello", then="close"),
        raw(b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo", then="close", gap_s=0.01),
        raw(OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", then="close"),
        raw(b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello"),
    ],
    ids=["content-length", "chunked", "trailers", "until-close", "http-1.0", "sized-close", "no-reason"],
)
async def test_every_framing_gives_the_same_body(
    clients: Clients, device: FaultyUpstream, behaviour: object
) -> None:
    device.enqueue(behaviour)  # type: ignore[arg-type]
    assert await read_all(await clients.upstream(device.base_url).call(call_of())) == b"hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_one_byte_per_write_gives_the_same_answer(
    clients: Clients, device: FaultyUpstream, stream: bool
) -> None:
    answer = await clients.upstream(device.base_url).call(call_of("fault-slow_drip", stream=stream))
    model = "fault-slow_drip"
    assert await read_all(answer) == (wire.stream(2, model) if stream else wire.message(model))


async def test_interim_answers_are_skipped(clients: Clients, device: FaultyUpstream) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    device.enqueue(raw(b"HTTP/1.1 100 Continue\r\n\r\n" + interim, interim + sized(b"ok"), gap_s=0.01))
    answer = await clients.upstream(device.base_url).call(call_of())
    assert answer.status == 200
    assert header(answer.headers, b"link") is None
    assert await read_all(answer) == b"ok"


@pytest.mark.parametrize("status", [200, 429, 500, 529])
async def test_an_answer_without_a_body_ends_at_once(
    clients: Clients, device: FaultyUpstream, status: int
) -> None:
    answer = await clients.upstream(device.base_url).call(call_of(f"fault-empty:{status}"))
    assert answer.status == status
    assert await answer.read() == b""


async def test_error_answers_are_answers(clients: Clients, device: FaultyUpstream) -> None:
    answer = await clients.upstream(device.base_url).call(call_of("fault-rate_limited:7"))
    assert answer.status == 429
    assert header(answer.headers, b"retry-after") == b"7"
    assert await read_all(answer) == wire.error("rate_limit_error", "Slow down.")


async def test_redirects_are_not_followed_and_cookies_not_kept(
    clients: Clients, device: FaultyUpstream
) -> None:
    upstream = clients.upstream(device.base_url)
    answer = await upstream.call(call_of("fault-redirect"))
    assert answer.status == 302
    assert await read_all(answer) == b"elsewhere"
    await read_all(await upstream.call(call_of()))
    assert [request.target for request in device.requests] == ["/v1/messages"] * 2
    assert all(request.header("cookie") is None for request in device.requests)


async def test_a_proxy_in_the_environment_is_ignored(
    clients: Clients, device: FaultyUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refused_port() as port:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert await read_all(await clients.upstream(device.base_url).call(call_of())) == wire.message("m")


async def test_a_connection_is_used_again(clients: Clients, device: FaultyUpstream) -> None:
    upstream = clients.upstream(device.base_url)
    for stream in (False, True, False):
        await read_all(await upstream.call(call_of(stream=stream)))
    assert [request.connection for request in device.requests] == [0, 0, 0]


async def test_a_connection_is_not_used_again_when_the_answer_says_close(
    clients: Clients, device: FaultyUpstream
) -> None:
    upstream = clients.upstream(device.base_url)
    device.enqueue(raw(sized(b"ok", b"connection: close")))
    await read_all(await upstream.call(call_of()))
    await read_all(await upstream.call(call_of()))
    assert [request.connection for request in device.requests] == [0, 1]
    assert await until(lambda: device.connections[0].closed_by == "peer")


async def test_a_pooled_connection_closed_by_the_provider_is_not_used(
    clients: Clients, device: FaultyUpstream
) -> None:
    upstream = clients.upstream(device.base_url)
    for _ in range(3):
        await read_all(await upstream.call(call_of()))
        device.drop_connections()
        await asyncio.sleep(0.02)
    assert [request.connection for request in device.requests] == [0, 1, 2]


async def test_calls_at_once_do_not_mix(clients: Clients, device: FaultyUpstream) -> None:
    upstream = clients.upstream(device.base_url)

    async def one(number: int) -> None:
        stream = bool(number % 2)
        answer = await upstream.call(call_of(f"m{number}", stream=stream))
        body = await read_all(answer)
        assert body == (wire.stream(4, f"m{number}") if stream else wire.message(f"m{number}"))

    for _ in range(3):
        await asyncio.gather(*(one(number) for number in range(20)))
    assert len(device.connections) <= 20


async def test_a_refused_connection_is_unreachable(clients: Clients) -> None:
    with refused_port() as port:
        upstream = clients.upstream(f"http://127.0.0.1:{port}")
        assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE


async def test_a_host_without_an_address_is_unreachable(clients: Clients) -> None:
    upstream = clients.upstream("http://nowhere.invalid")
    assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE


async def test_a_connection_reset_on_accept_is_unreachable(clients: Clients) -> None:
    with FaultyUpstream(on_accept="reset") as device:
        upstream = clients.upstream(device.base_url)
        assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE


@pytest.mark.parametrize("behaviour", ["reset", "close"])
async def test_a_connection_closed_without_a_word_is_unreachable(
    clients: Clients, device: FaultyUpstream, behaviour: str
) -> None:
    upstream = clients.upstream(device.base_url)
    kind = await failure_of(upstream.call(call_of(f"fault-{behaviour}")))
    assert kind is FailureKind.UPSTREAM_UNREACHABLE
    assert len(device.requests) == 1


@pytest.mark.parametrize("behaviour", ["hang_before_head", "hang_inside_head"])
@pytest.mark.parametrize("limit", ["first byte", "deadline"])
async def test_no_head_in_time_is_a_timeout(
    clients: Clients, device: FaultyUpstream, behaviour: str, limit: str
) -> None:
    upstream = clients.upstream(device.base_url, first_byte_timeout_s=0.1 if limit == "first byte" else 5.0)
    call = call_of(f"fault-{behaviour}", in_s=0.1 if limit == "deadline" else 5.0)
    begun_s = asyncio.get_running_loop().time()
    assert await failure_of(upstream.call(call)) is FailureKind.UPSTREAM_TIMEOUT
    assert 0.09 <= asyncio.get_running_loop().time() - begun_s < 3
    assert await until(lambda: [one.closed_by for one in device.connections] == ["peer"])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_that_stalls_is_a_timeout(
    clients: Clients, device: FaultyUpstream, stream: bool
) -> None:
    upstream = clients.upstream(device.base_url, idle_timeout_s=0.1)
    answer = await upstream.call(call_of("fault-hang_after_head", stream=stream))
    assert answer.status == 200
    assert await failure_of(answer.read()) is FailureKind.UPSTREAM_TIMEOUT
    assert await until(lambda: device.connections[0].closed_by == "peer")


async def test_a_body_that_keeps_moving_is_not_idle(clients: Clients, device: FaultyUpstream) -> None:
    upstream = clients.upstream(device.base_url, idle_timeout_s=0.25)
    answer = await upstream.call(call_of("fault-ok_stream:6:70", stream=True))
    assert await read_all(answer) == wire.stream(6, "fault-ok_stream:6:70")


async def test_a_body_past_the_deadline_is_a_timeout_though_it_moves(
    clients: Clients, device: FaultyUpstream
) -> None:
    answer = await clients.upstream(device.base_url).call(
        call_of("fault-ok_stream:100:20", stream=True, in_s=0.15)
    )
    assert await failure_of(read_all(answer)) is FailureKind.UPSTREAM_TIMEOUT
    assert await until(lambda: device.connections[0].closed_by == "peer")


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>no HTTP at all</html>\r\n\r\n",
        b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n",
        OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"no colon here\r\n\r\n",
        OK + b"x: a\0b\r\ncontent-length: 0\r\n\r\n",
        OK + b"x: " + b"a" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
    ],
    ids=["html", "status", "lengths", "length-and-chunked", "negative", "no-colon", "nul", "oversized"],
)
async def test_what_is_not_http_is_an_invalid_response(
    clients: Clients, device: FaultyUpstream, answer: bytes
) -> None:
    device.enqueue(raw(answer, then="hang"))
    upstream = clients.upstream(device.base_url)
    assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert await until(lambda: device.connections[0].closed_by == "peer")


@pytest.mark.parametrize(
    ("model", "received"),
    [
        ("fault-json_short", wire.message("fault-json_short")),
        ("fault-stream_cut_at:100", wire.stream(4, "fault-stream_cut_at:100")[:100]),
        ("fault-stream_cut_at:0", b""),
        ("fault-stream_reset_at:200", wire.stream(4, "fault-stream_reset_at:200")[:200]),
    ],
)
async def test_a_body_cut_short_is_an_interruption_after_what_came(
    clients: Clients, device: FaultyUpstream, model: str, received: bytes
) -> None:
    answer = await clients.upstream(device.base_url).call(call_of(model, stream=True))
    got = b""
    while len(got) < len(received):
        got += await answer.read()
    assert got == received
    assert await failure_of(answer.read()) is FailureKind.UPSTREAM_INTERRUPTED


async def test_a_proper_end_of_an_incomplete_stream_is_no_failure_of_the_transport(
    clients: Clients, device: FaultyUpstream
) -> None:
    answer = await clients.upstream(device.base_url).call(call_of("fault-stream_without_stop", stream=True))
    assert b"message_stop" not in await read_all(answer)


async def test_a_cancelled_call_closes_its_connection(clients: Clients, device: FaultyUpstream) -> None:
    upstream = clients.upstream(device.base_url)
    waiting = asyncio.ensure_future(upstream.call(call_of("fault-hang_before_head")))
    assert await until(lambda: len(device.requests) == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await until(lambda: device.connections[0].closed_by == "peer")


async def test_a_cancelled_read_closes_its_connection(clients: Clients, device: FaultyUpstream) -> None:
    answer = await clients.upstream(device.base_url).call(call_of("fault-hang_after_head", stream=True))
    waiting = asyncio.ensure_future(answer.read())
    await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await until(lambda: device.connections[0].closed_by == "peer")


async def test_closing_an_unfinished_answer_closes_its_connection(
    clients: Clients, device: FaultyUpstream
) -> None:
    answer = await clients.upstream(device.base_url).call(call_of("fault-stream_stalls", stream=True))
    assert (await answer.read()).startswith(b"event: message_start")
    answer.close()
    answer.close()
    assert await until(lambda: device.connections[0].closed_by == "peer")


async def test_closing_a_finished_answer_keeps_its_connection(
    clients: Clients, device: FaultyUpstream
) -> None:
    upstream = clients.upstream(device.base_url)
    for _ in range(2):
        answer = await upstream.call(call_of())
        assert await read_all(answer)
        answer.close()
    assert [request.connection for request in device.requests] == [0, 0]


async def test_an_unread_answer_stops_the_provider(clients: Clients, device: FaultyUpstream) -> None:
    answer = await clients.upstream(device.base_url).call(call_of("fault-endless", stream=True))
    (connection,) = device.connections
    stopped_at = -1
    # The kernel's buffers fill by and by: it has stopped once nothing moves for a while.
    while connection.bytes_sent != stopped_at:
        stopped_at = connection.bytes_sent
        assert stopped_at < 16_000_000
        await asyncio.sleep(0.15)
    received = 0
    while received < 2 * stopped_at:
        received += len(await answer.read())
    answer.close()
    assert await until(lambda: connection.closed_by == "peer")
    assert connection.bytes_sent < received + 16_000_000


async def test_a_big_request_arrives_whole(clients: Clients, device: FaultyUpstream) -> None:
    body = b'{"model":"m","x":"' + b"y" * 1_000_000 + b'"}'
    await read_all(await clients.upstream(device.base_url).call(call_of(body=body)))
    assert device.requests[0].body == body


async def test_a_compressed_answer_is_decoded(clients: Clients, device: FaultyUpstream) -> None:
    upstream = clients.upstream(device.base_url)
    answer = await upstream.call(call_of("fault-gzip_answer"))
    assert header(answer.headers, b"content-encoding") is None
    assert await read_all(answer) == wire.message("fault-gzip_answer")


async def test_ipv6_is_spoken(clients: Clients) -> None:
    with FaultyUpstream(host="::1") as device:
        await read_all(await clients.upstream(device.base_url).call(call_of()))
        assert device.requests[0].header("host") == f"[::1]:{device.port}"


async def test_a_name_is_resolved_and_its_addresses_tried_in_turn(
    clients: Clients, device: FaultyUpstream
) -> None:
    await read_all(await clients.upstream(f"http://localhost:{device.port}").call(call_of()))
    assert device.requests[0].header("host") == f"localhost:{device.port}"
