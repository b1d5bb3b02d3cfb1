"""What our own transport adds to the common promises: the pool, its races, its clock."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.devices import messages_wire as wire
from tests.devices.faulty_upstream import FaultyUpstream
from tests.upstreams.conftest import KEY, call_of, failure_of, read_all, until
from tests.upstreams.raw import OK, chunked, raw, sized
from triptych.core.failure import Failure, FailureKind
from triptych.upstreams.anthropic import AnthropicUpstream
from triptych.upstreams.transport import HttpTransport

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["triptych-uvloop", "triptych-asyncio"])
def client_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.asynccontextmanager
async def client(
    base_url: str, *, idle_keepalive_s: float = 30.0, max_idle_per_origin: int = 256
) -> AsyncIterator[tuple[HttpTransport, AnthropicUpstream]]:
    transport = HttpTransport(
        connect_timeout_s=2,
        first_byte_timeout_s=5,
        idle_timeout_s=5,
        idle_keepalive_s=idle_keepalive_s,
        max_idle_per_origin=max_idle_per_origin,
    )
    yield transport, AnthropicUpstream(transport, base_url=base_url, api_key=KEY)
    transport.close()
    await asyncio.sleep(0)


async def test_the_connection_used_last_is_used_first(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (_, upstream):
        first = await upstream.call(call_of("fault-ok_stream:1:20", stream=True))
        second = await upstream.call(call_of("fault-ok_stream:1:40", stream=True))
        await read_all(first)
        await read_all(second)
        await read_all(await upstream.call(call_of()))
        await read_all(await upstream.call(call_of()))
    assert [request.connection for request in device.requests] == [0, 1, 1, 1]


async def test_a_connection_is_free_as_soon_as_its_answer_has_arrived(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (_, upstream):
        unread = await upstream.call(call_of())
        await read_all(await upstream.call(call_of("other")))
        assert await read_all(unread) == wire.message("m")
    assert [request.connection for request in device.requests] == [0, 0]


async def test_no_more_than_the_limit_of_connections_is_kept_idle(device: FaultyUpstream) -> None:
    async with client(device.base_url, max_idle_per_origin=2) as (transport, upstream):
        await asyncio.gather(*(upstream.call(call_of("fault-slow_first_byte:50")) for _ in range(5)))
        assert await until(lambda: len(transport.connections) == 2)
        assert await until(lambda: sum(c.closed_by == "peer" for c in device.connections) == 3)


async def test_an_idle_connection_is_closed_after_its_time(device: FaultyUpstream) -> None:
    async with client(device.base_url, idle_keepalive_s=0.1) as (transport, upstream):
        await read_all(await upstream.call(call_of()))
        assert len(transport.connections) == 1
        assert await until(lambda: device.connections[0].closed_by == "peer", 0.5)
        assert not transport.connections


async def test_a_connection_in_use_outlives_the_idle_limit(device: FaultyUpstream) -> None:
    async with client(device.base_url, idle_keepalive_s=0.1) as (_, upstream):
        answer = await upstream.call(call_of("fault-slow_first_byte:350"))
        assert await read_all(answer)


async def test_no_timer_runs_when_no_connection_is_open(device: FaultyUpstream) -> None:
    async with client(device.base_url, idle_keepalive_s=0.05) as (transport, upstream):
        await read_all(await upstream.call(call_of()))
        assert await until(lambda: not transport.connections, 0.5)
        await asyncio.sleep(0.12)
        assert not transport.sweeping
        assert transport._timer is None


async def test_bytes_on_an_idle_connection_close_it(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (transport, upstream):
        device.enqueue(raw(sized(b"one"), sized(b"nobody asked"), gap_s=0.03))
        assert await read_all(await upstream.call(call_of())) == b"one"
        assert await until(lambda: not transport.connections)
        assert await read_all(await upstream.call(call_of())) == wire.message("m")
    assert [request.connection for request in device.requests] == [0, 1]


@pytest.mark.parametrize("surplus", [b"x", b"HTTP/1.1 200 OK\r\n", sized(b"two")])
@pytest.mark.parametrize("answer", [sized(b"one"), chunked(b"one"), OK + b"content-length: 0\r\n\r\n"])
async def test_bytes_after_an_answer_never_reach_the_next_one(
    device: FaultyUpstream, answer: bytes, surplus: bytes
) -> None:
    async with client(device.base_url) as (_, upstream):
        device.enqueue(raw(answer + surplus))
        assert await read_all(await upstream.call(call_of())) in (b"one", b"")
        assert await read_all(await upstream.call(call_of())) == wire.message("m")
    assert [request.connection for request in device.requests] == [0, 1]


async def test_trailers_do_not_surface_in_the_next_answer(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (_, upstream):
        device.enqueue(raw(chunked(b"one", trailers=b"x-evil: 1\r\nx-evil: 2\r\n")))
        first = await upstream.call(call_of())
        assert await read_all(first) == b"one"
        second = await upstream.call(call_of())
        assert await read_all(second) == wire.message("m")
        assert all(name != b"x-evil" for answer in (first, second) for name, _ in answer.headers)
    assert [request.connection for request in device.requests] == [0, 0]


async def test_a_request_that_met_a_closing_pooled_connection_is_sent_once_more(
    device: FaultyUpstream,
) -> None:
    async with client(device.base_url) as (_, upstream):
        for _ in range(3):
            answer = await upstream.call(call_of("fault-close_on_reuse"))
            assert await read_all(answer) == wire.message("fault-close_on_reuse")
    assert [request.connection for request in device.requests] == [0, 0, 1, 1, 2]


async def test_it_is_sent_once_more_and_not_twice(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (_, upstream):
        await read_all(await upstream.call(call_of()))
        kind = await failure_of(upstream.call(call_of("fault-reset")))
    assert kind is FailureKind.UPSTREAM_UNREACHABLE
    assert [request.connection for request in device.requests] == [0, 0, 1]


async def test_it_is_not_sent_again_when_a_byte_of_an_answer_came(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (_, upstream):
        await read_all(await upstream.call(call_of()))
        device.enqueue(raw(b"H", then="close"))
        kind = await failure_of(upstream.call(call_of()))
    assert kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert len(device.requests) == 2


async def test_it_is_not_sent_again_after_a_timeout(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (_, upstream):
        await read_all(await upstream.call(call_of()))
        kind = await failure_of(upstream.call(call_of("fault-hang_before_head", in_s=0.05)))
    assert kind is FailureKind.UPSTREAM_TIMEOUT
    assert len(device.requests) == 2


async def test_a_call_already_out_of_time_sends_nothing(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (transport, upstream):
        await read_all(await upstream.call(call_of()))
        assert await failure_of(upstream.call(call_of(in_s=-1))) is FailureKind.UPSTREAM_TIMEOUT
        assert len(transport.connections) == 1
    assert len(device.requests) == 1


async def test_a_closed_transport_refuses_calls_and_opens_nothing(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (transport, upstream):
        transport.close()
        assert await failure_of(upstream.call(call_of())) is FailureKind.SERVICE_UNAVAILABLE
    assert not device.connections


async def test_closing_the_transport_ends_what_runs(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (transport, upstream):
        await read_all(await upstream.call(call_of()))
        answer = await upstream.call(call_of("fault-hang_after_head"))
        waiting = asyncio.ensure_future(upstream.call(call_of("fault-hang_before_head")))
        reading = asyncio.ensure_future(answer.read())
        assert await until(lambda: len(device.requests) == 3)
        transport.close()
        assert await failure_of(waiting) is FailureKind.SERVICE_UNAVAILABLE
        assert await failure_of(reading) is FailureKind.UPSTREAM_INTERRUPTED
        assert await until(lambda: all(c.closed_by == "peer" for c in device.connections))
        assert not transport.connections


async def test_a_call_cancelled_while_connecting_leaves_no_connection() -> None:
    # A listener that is never accepted from: the connection stands, TLS waits for an answer.
    with FaultyUpstream(on_accept="hang") as device:
        base_url = device.base_url.replace("http:", "https:")
        async with client(base_url) as (transport, upstream):
            waiting = asyncio.ensure_future(upstream.call(call_of()))
            assert await until(lambda: len(device.connections) == 1)
            await asyncio.sleep(0.02)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await until(lambda: device.connections[0].closed_by == "peer")
            assert not transport.connections


async def test_connecting_that_takes_too_long_is_unreachable_and_past_the_deadline_a_timeout() -> None:
    with FaultyUpstream(on_accept="hang") as device:
        transport = HttpTransport(connect_timeout_s=0.1, first_byte_timeout_s=5, idle_timeout_s=5)
        base_url = device.base_url.replace("http:", "https:")
        upstream = AnthropicUpstream(transport, base_url=base_url, api_key=KEY)
        assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE
        assert await failure_of(upstream.call(call_of(in_s=0.05))) is FailureKind.UPSTREAM_TIMEOUT
        assert await until(lambda: all(c.closed_by == "peer" for c in device.connections))
        transport.close()


async def test_an_answer_that_overtakes_its_request_does_not_return_the_connection(
    device: FaultyUpstream,
) -> None:
    refused = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig"

    taken_bytes = 0
    gone = asyncio.Event()

    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken_bytes
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refused)
        await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                taken_bytes += len(data)
        writer.close()
        gone.set()

    server = await asyncio.start_server(answer_early, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    async with client(f"http://127.0.0.1:{port}") as (transport, upstream):
        answer = await upstream.call(call_of(body=b"x" * 20_000_000))
        assert answer.status == 413
        assert await read_all(answer) == b"big"
        assert await until(lambda: not transport.connections)
        await asyncio.wait_for(gone.wait(), 1)
        assert taken_bytes < 19_000_000
    server.close()
    await server.wait_closed()


async def test_one_answer_has_one_reader(device: FaultyUpstream) -> None:
    async with client(device.base_url) as (_, upstream):
        answer = await upstream.call(call_of("fault-hang_after_head"))
        first = asyncio.ensure_future(answer.read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one reader"):
            await answer.read()
        answer.close()
        assert await failure_of(first) is FailureKind.UPSTREAM_INTERRUPTED


async def test_a_reader_that_pauses_is_not_the_providers_idleness(device: FaultyUpstream) -> None:
    transport = HttpTransport(connect_timeout_s=2, first_byte_timeout_s=5, idle_timeout_s=0.1)
    upstream = AnthropicUpstream(transport, base_url=device.base_url, api_key=KEY)
    model = "fault-endless:3000000"
    answer = await upstream.call(call_of(model, stream=True))
    await asyncio.sleep(0.4)
    received = await read_all(answer)
    assert received.endswith(wire.event("message_stop", {}))
    assert len(received) > 3_000_000
    transport.close()
    await asyncio.sleep(0)


async def test_a_cut_at_any_byte_is_never_taken_for_a_whole_answer(device: FaultyUpstream) -> None:
    whole = chunked(b'{"a":1}', b'{"b":22}')
    async with client(device.base_url) as (_, upstream):
        for cut in range(len(whole)):
            device.enqueue(raw(whole[:cut], then="close") if cut else "close")
            with pytest.raises(Exception, match="upstream"):
                await read_all(await upstream.call(call_of()))
        device.enqueue(raw(whole))
        assert await read_all(await upstream.call(call_of())) == b'{"a":1}{"b":22}'


@pytest.mark.parametrize("kept", [False, True])
async def test_what_is_not_confirmed_right_before_it_leaves_is_not_sent(
    device: FaultyUpstream, kept: bool
) -> None:
    """Also once a connection was made for it, which serves the next one."""

    def deny() -> None:
        raise Failure(FailureKind.SERVICE_UNAVAILABLE)

    async with client(device.base_url) as (_, upstream):
        if kept:
            await read_all(await upstream.call(call_of()))
        denied = msgspec.structs.replace(call_of(), confirm=deny)
        assert await failure_of(upstream.call(denied)) is FailureKind.SERVICE_UNAVAILABLE
        assert len(device.requests) == kept
        await read_all(await upstream.call(call_of()))
    assert (len(device.requests), len(device.connections)) == (1 + kept, 1)
