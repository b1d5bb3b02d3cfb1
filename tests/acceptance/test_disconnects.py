"""A client that leaves stops its provider within a second - by the provider's own log - and the
ledger says so."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.acceptance.caller import Answer, Caller, ask, facts, settled_row
from tests.acceptance.expected import NO_TOKENS
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import Exchange, begin_stream, chunk, head
from tests.devices.faulty_upstream import FaultyUpstream, Script
from tests.devices.gateway import ORG, Gateway, message, provider

STOPPED_WITHIN_S = 1.0


@pytest.fixture(scope="module")
def gateway(upstream: FaultyUpstream) -> Iterator[Gateway]:
    with Gateway(ORG + provider(upstream.base_url, "m")) as running:
        yield running


def leave_half_closed(caller: Caller) -> None:
    """Only our sending side: what some clients do that were told to stop."""
    caller.socket.shutdown(1)


LEAVING = {"fin": Caller.close, "rst": Caller.reset, "half": leave_half_closed}
leaving = pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
Leave = Callable[[Caller], None]


async def hang_inside_body(exchange: Exchange) -> None:
    await exchange.send(head(200, "content-type: application/json", "content-length: 100") + b'{"id":')
    await exchange.hang()


async def half_an_event(exchange: Exchange) -> None:
    await begin_stream(exchange)
    await chunk(exchange, wire.stream(4, "m")[:60])
    await exchange.hang()


BEFORE_THE_FIRST_BYTE: dict[str, tuple[Script, bool]] = {
    "before-head": ("hang_before_head", False),
    "inside-head": ("hang_inside_head", False),
    "inside-body": (hang_inside_body, False),
    "streamed-before-head": ("hang_before_head", True),
    "streamed-after-head": ("hang_after_head", True),
    "streamed-inside-event": (half_an_event, True),
}


def cancelled_row(gateway: Gateway, rows_before: int) -> dict[str, Any]:
    """The one row more, settled."""
    rows = gateway.settled_rows(rows_before + 1)
    assert len(rows) == rows_before + 1
    row = rows[-1]
    expected = {"ending": "cancelled", "failure_kind": "client_disconnected", "retries": 0}
    assert facts(row, *expected) == expected
    return row


def check_stopped(upstream: FaultyUpstream, connection: int, left_s: float) -> None:
    seen = upstream.connections[connection]
    assert upstream.wait_until(lambda: seen.closed_by is not None, STOPPED_WITHIN_S + 1)
    assert seen.closed_by == "peer"
    assert seen.closed_mono_s is not None
    assert seen.closed_mono_s - left_s < STOPPED_WITHIN_S


@leaving
@pytest.mark.parametrize("where", BEFORE_THE_FIRST_BYTE)
def test_leaving_before_the_first_byte_stops_the_provider(
    gateway: Gateway, upstream: FaultyUpstream, where: str, leave: Leave
) -> None:
    script, stream = BEFORE_THE_FIRST_BYTE[where]
    rows_before, requests_before = len(gateway.rows()), len(upstream.requests)
    upstream.enqueue(script)
    with Caller(gateway) as caller:
        caller.send(message("m", stream=stream))
        assert upstream.wait_until(lambda: len(upstream.requests) > requests_before)
        time.sleep(0.05)
        left_s = time.monotonic()
        leave(caller)
        check_stopped(upstream, upstream.requests[-1].connection, left_s)
    row = cancelled_row(gateway, rows_before)
    assert (row["bytes_out"], row["first_byte_us"], row["stream"]) == (0, None, stream)
    assert len(upstream.requests) == requests_before + 1
    # The provider bills what it was sent: leaving in time must not make calls free.
    input_tokens = len(upstream.requests[-1].body) // 4
    expected = {"input_tokens": input_tokens, "output_tokens": 0, "usage_source": "estimate"}
    assert facts(row, *expected) == expected
    assert row["cost_nusd"] == input_tokens * 3_000


@leaving
def test_leaving_inside_a_stream_stops_the_provider(
    gateway: Gateway, upstream: FaultyUpstream, leave: Leave
) -> None:
    rows_before = len(gateway.rows())
    upstream.enqueue("stream_stalls:20")
    with Caller(gateway) as caller:
        caller.send(message("m", stream=True))
        answer = Answer()
        for _ in caller.pieces(answer):
            if b"word19 " in answer.body:
                break
        left_s = time.monotonic()
        leave(caller)
        check_stopped(upstream, upstream.requests[-1].connection, left_s)
    row = cancelled_row(gateway, rows_before)
    assert row["status"] == 200
    assert row["id"] == answer.request_id.removeprefix("req_")
    assert row["bytes_out"] == len(answer.body)
    # 12 were reported at the start; what came out is estimated from the words, and called so.
    words = "".join(f"word{number} " for number in range(20))
    expected = {"input_tokens": 12, "output_tokens": len(words) // 4, "usage_source": "estimate"}
    assert facts(row, *expected) == expected
    assert row["cost_nusd"] == 12 * 3_000 + len(words) // 4 * 15_000
    assert row["first_byte_us"] is not None


def test_the_last_count_of_a_stream_that_was_left_is_kept(gateway: Gateway, upstream: FaultyUpstream) -> None:
    rows_before = len(gateway.rows())
    events = wire.stream_events(3, "m", stop=False)

    async def counted(exchange: Exchange) -> None:
        await begin_stream(exchange)
        await chunk(exchange, b"".join(events))
        await exchange.hang()

    upstream.enqueue(counted)
    with Caller(gateway) as caller:
        caller.send(message("m", stream=True))
        answer = Answer()
        for _ in caller.pieces(answer):
            if len(answer.body) == len(b"".join(events)):
                break
    row = cancelled_row(gateway, rows_before)
    assert (row["input_tokens"], row["output_tokens"]) == (12, 7)
    assert row["cost_nusd"] == 12 * 3_000 + 7 * 15_000


@leaving
def test_leaving_while_the_provider_pours_stops_it(
    gateway: Gateway, upstream: FaultyUpstream, leave: Leave
) -> None:
    """The client has stopped reading before it leaves, so bytes are under way everywhere."""
    rows_before = len(gateway.rows())
    upstream.enqueue("endless")
    with Caller(gateway, receive_buffer_bytes=65536) as caller:
        caller.send(message("m", stream=True))
        assert caller.socket.recv(1000)
        connection = upstream.requests[-1].connection
        time.sleep(0.5)
        left_s = time.monotonic()
        leave(caller)
        check_stopped(upstream, connection, left_s)
    row = cancelled_row(gateway, rows_before)
    assert (row["status"], row["input_tokens"], row["usage_source"]) == (200, 12, "estimate")


def test_leaving_while_a_retry_is_due_asks_the_provider_no_more(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    rows_before, requests_before = len(gateway.rows()), len(upstream.requests)
    upstream.enqueue("rate_limited:1")
    with Caller(gateway) as caller:
        caller.send(message("m"))
        assert upstream.wait_until(lambda: len(upstream.requests) > requests_before)
        time.sleep(0.1)
    rows = gateway.settled_rows(rows_before + 1)
    expected = {"ending": "cancelled", "failure_kind": "client_disconnected", **NO_TOKENS}
    assert facts(rows[-1], *expected) == expected
    time.sleep(1.2)
    assert len(upstream.requests) == requests_before + 1


def test_leaving_a_count_of_tokens_costs_nothing(gateway: Gateway, upstream: FaultyUpstream) -> None:
    rows_before, requests_before = len(gateway.rows()), len(upstream.requests)
    upstream.enqueue("hang_before_head")
    with Caller(gateway) as caller:
        caller.send(message("m"), path="/v1/messages/count_tokens")
        assert upstream.wait_until(lambda: len(upstream.requests) > requests_before)
    assert facts(cancelled_row(gateway, rows_before), *NO_TOKENS) == NO_TOKENS


def test_leaving_with_a_request_half_sent_leaves_no_trace(gateway: Gateway, upstream: FaultyUpstream) -> None:
    rows_before, requests_before = len(gateway.rows()), len(upstream.requests)
    for leave in (Caller.close, Caller.reset):
        caller = Caller(gateway)
        caller.send(message("m"), headers={"content-length": "5000"})
        time.sleep(0.02)
        leave(caller)
    assert ask(gateway, message("m")).status == 200
    assert len(gateway.settled_rows(rows_before + 1)) == rows_before + 1
    assert len(upstream.requests) == requests_before + 1


def test_leaving_after_the_answer_changes_nothing(gateway: Gateway, upstream: FaultyUpstream) -> None:
    for stream in (False, True):
        with Caller(gateway) as caller:
            answer = caller.ask(message("m", stream=stream))
            caller.reset()
        row = settled_row(gateway, answer.request_id)
        assert (row["ending"], row["usage_source"]) == ("completed", "provider")


def test_a_pipelined_request_of_a_client_that_left_is_not_begun(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    rows_before, requests_before = len(gateway.rows()), len(upstream.requests)
    upstream.enqueue("hang_before_head")
    with Caller(gateway) as caller:
        caller.send(message("m"))
        caller.send(message("m"))
        assert upstream.wait_until(lambda: len(upstream.requests) > requests_before)
    cancelled_row(gateway, rows_before)
    time.sleep(0.1)
    assert len(upstream.requests) == requests_before + 1
    assert len(gateway.rows()) == rows_before + 1


def test_clients_that_come_and_go_leave_nothing_open(gateway: Gateway, upstream: FaultyUpstream) -> None:
    rows_before = len(gateway.rows())
    count = 40
    upstream.enqueue(*["stream_stalls:2", "hang_before_head"] * (count // 2))
    callers = [Caller(gateway) for _ in range(count)]
    with contextlib.ExitStack() as stack:
        for caller in callers:
            stack.enter_context(caller)
            caller.send(message("m", stream=True))
        assert upstream.wait_until(lambda: not upstream.queue)
        left_s = time.monotonic()
        for number, caller in enumerate(callers):
            caller.close() if number % 2 else caller.reset()
    hanging = {request.connection for request in upstream.requests[-count:]}
    for connection in hanging:
        check_stopped(upstream, connection, left_s)
    rows = gateway.settled_rows(rows_before + count)[rows_before:]
    assert len(rows) == count
    assert {(row["ending"], row["failure_kind"]) for row in rows} == {("cancelled", "client_disconnected")}
    assert ask(gateway, message("m")).status == 200
    assert "Traceback" not in gateway.log and "unexpected" not in gateway.log
