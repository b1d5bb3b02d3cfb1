"""Streams flow at the pace of both ends: each event at once, and never faster than the client reads."""

import asyncio
import socket
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.caller import Answer, Caller, ask, facts, rss_bytes, settled_row
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import ENDLESS_BYTES, Exchange, begin_stream, chunk, end_stream
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import ORG, Gateway, message, provider

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def gateway(upstream: FaultyUpstream) -> Iterator[Gateway]:
    with Gateway(ORG + provider(upstream.base_url, "m")) as running:
        yield running


def test_a_client_that_reads_slowly_slows_the_provider_down(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    """1 kB a second of 100 MB: the provider stops once the buffers between are full, and the
    gateway's memory does not grow with what the client has not read."""
    ask(gateway, message("m", stream=True))
    before = rss_bytes(gateway)
    upstream.enqueue("endless")
    taken_bytes: list[int] = []
    peak = before
    with Caller(gateway, receive_buffer_bytes=65536) as caller:
        caller.send(message("m", stream=True))
        caller.socket.settimeout(5)
        for _ in range(6):
            assert caller.socket.recv(1000)
            connection = upstream.connections[upstream.requests[-1].connection]
            for _ in range(10):
                time.sleep(0.1)
                peak = max(peak, rss_bytes(gateway))
            taken_bytes.append(connection.bytes_sent)
    assert peak - before < 30 * MEBIBYTE
    # What sockets may hold on the way is some megabytes; the rest stays with the provider.
    assert taken_bytes[-1] < 30 * MEBIBYTE < ENDLESS_BYTES
    assert taken_bytes[-1] - taken_bytes[1] < MEBIBYTE
    assert upstream.wait_until(lambda: connection.closed_by == "peer")
    assert gateway.settled_rows(2)[-1]["ending"] == "cancelled"


def test_a_client_that_reads_again_gets_everything(gateway: Gateway, upstream: FaultyUpstream) -> None:
    size = 12 * MEBIBYTE
    before = rss_bytes(gateway)
    upstream.enqueue(f"endless:{size}")
    with Caller(gateway, receive_buffer_bytes=65536, timeout_s=30) as caller:
        caller.send(message("m", stream=True))
        time.sleep(1.5)
        answer = caller.receive()
    assert answer.whole
    block = wire.delta("x" * 1000) * 32
    blocks = -(-size // len(block))
    parts = wire.stream_events(0, "m")
    assert answer.body == b"".join(parts[:3]) + block * blocks + b"".join(parts[3:])
    assert rss_bytes(gateway) - before < 30 * MEBIBYTE
    row = settled_row(gateway, answer.request_id)
    expected = {"ending": "completed", "bytes_out": len(answer.body), "usage_source": "provider"}
    assert facts(row, *expected) == expected


def test_a_hundred_megabytes_go_through_without_staying(gateway: Gateway, upstream: FaultyUpstream) -> None:
    before = rss_bytes(gateway)
    upstream.enqueue("endless")
    received = 0
    with Caller(gateway, timeout_s=30) as caller:
        caller.send(message("m", stream=True))
        while data := caller.socket.recv(1 << 20):
            received += len(data)
            tail = data[-200:]
            if b"message_stop" in tail:
                break
    assert received > ENDLESS_BYTES
    assert rss_bytes(gateway) - before < 30 * MEBIBYTE


def test_slow_clients_do_not_slow_the_others(gateway: Gateway, upstream: FaultyUpstream) -> None:
    requests_before = len(upstream.requests)
    upstream.enqueue(*["endless"] * 5)
    slow = [Caller(gateway, receive_buffer_bytes=65536) for _ in range(5)]
    try:
        for caller in slow:
            caller.send(message("m", stream=True))
        assert upstream.wait_until(lambda: len(upstream.requests) == requests_before + 5)
        time.sleep(1.5)
        with Caller(gateway) as caller:
            took_s = []
            for _ in range(20):
                started_s = time.monotonic()
                assert caller.ask(message("m", stream=True)).status == 200
                took_s.append(time.monotonic() - started_s)
        assert statistics.median(took_s) < 2
    finally:
        for caller in slow:
            caller.close()


EVENTS = 200


def test_each_event_reaches_the_client_before_the_next_is_sent(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    """The provider sends an event only when the client has the one before. A client that had to
    wait for a full buffer would wait for ever; Nagle's algorithm anywhere would cost 40 ms each."""
    seen = threading.Semaphore(0)
    sent_s: list[float] = []
    events = wire.stream_events(EVENTS, "m")

    async def one_by_one(exchange: Exchange) -> None:
        await begin_stream(exchange)
        for event in events:
            sent_s.append(time.monotonic())
            await chunk(exchange, event)
            deadline_s = time.monotonic() + 30
            while not seen.acquire(blocking=False):
                if time.monotonic() > deadline_s:
                    exchange.close()
                    return
                await asyncio.sleep(0)
        await end_stream(exchange)

    upstream.enqueue(one_by_one)
    got_s: list[float] = []
    with Caller(gateway) as caller:
        caller.send(message("m", stream=True))
        answer = Answer()
        for piece in caller.pieces(answer):
            assert piece == events[len(got_s)]
            got_s.append(time.monotonic())
            if len(got_s) == len(events) - 1:
                # The last event waits for the outcome, and that for the end of the stream.
                seen.release()
            seen.release()
    assert answer.whole
    assert answer.body == b"".join(events)
    delays_s = [got - sent for got, sent in zip(got_s[:-1], sent_s, strict=False)]
    # The quicker quarter: a busy machine slows the rest, Nagle's algorithm all of them.
    assert sorted(delays_s)[len(delays_s) // 4] < 0.03


def test_an_event_written_in_small_pieces_arrives_when_it_is_whole(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    events = wire.stream_events(3, "m")
    seen = threading.Event()

    async def in_pieces(exchange: Exchange) -> None:
        await begin_stream(exchange)
        whole = b"".join(events[:4])
        for start in range(0, len(whole), 7):
            await chunk(exchange, whole[start : start + 7])
        half = len(events[4]) // 2
        await chunk(exchange, events[4][:half])
        for _ in range(500):
            if seen.is_set():
                break
            await asyncio.sleep(0.01)
        await chunk(exchange, events[4][half:] + b"".join(events[5:]))
        await end_stream(exchange)

    upstream.enqueue(in_pieces)
    with Caller(gateway) as caller:
        caller.send(message("m", stream=True))
        answer = Answer()
        for _ in caller.pieces(answer):
            if not seen.is_set() and len(answer.body) >= len(b"".join(events[:4])):
                # The half that follows is here already, and held back.
                assert answer.body == b"".join(events[:4])
                seen.set()
    assert answer.body == b"".join(events)


def test_small_answers_are_not_held_back(gateway: Gateway) -> None:
    with Caller(gateway) as caller:
        caller.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        took_s = []
        for _ in range(50):
            started_s = time.monotonic()
            assert caller.ask(message("m")).status == 200
            took_s.append(time.monotonic() - started_s)
    assert sorted(took_s)[len(took_s) // 4] < 0.03
