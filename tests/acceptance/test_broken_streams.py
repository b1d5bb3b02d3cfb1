"""However a stream breaks, the client gets whole events and then an error: never silence, never half
an event. The ledger says what broke and what had been worked on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.caller import Answer, Caller, ask, error_frame, facts, rss_bytes, settled_row
from tests.acceptance.expected import NO_TOKENS, check_completed
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import Exchange, begin_stream, chunk, end_stream, whole_stream
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import ORG, Gateway, message, provider

INTERRUPTED = error_frame("api_error", "upstream stream interrupted")
SCRIPTS = (
    "ok",
    "stream_without_stop",
    "stream_stalls",
    "stream_error_event",
    "stream_garbage_event",
    "stream_gigantic_line",
)


@pytest.fixture(scope="module")
def gateway(upstream: FaultyUpstream) -> Iterator[Gateway]:
    toml = ORG + provider(upstream.base_url, "m", *(f"fault-{script}" for script in SCRIPTS))
    with Gateway(toml, server="idle_stream_timeout_s = 0.7\n") as running:
        yield running


def send(gateway: Gateway, script: str) -> Answer:
    answer = ask(gateway, message(f"fault-{script}", stream=True))
    assert answer.whole, "the answer's framing was cut"
    return answer


def check_stream_failed(
    gateway: Gateway, answer: Answer, failure_kind: str, tokens: tuple[int, int] | None
) -> None:
    """``tokens`` of input and output, as far as they were known: labelled an estimate."""
    events = answer.events
    assert events[-1][0] == "error"
    assert not {"error", "message_stop"} & {name for name, _ in events[:-1]}
    row = settled_row(gateway, answer.request_id)
    expected = {
        "ending": "failed",
        "status": 200,
        "failure_kind": failure_kind,
        "upstream_status": 200,
        "retries": 0,
        "bytes_out": len(answer.body),
    }
    if tokens is not None:
        expected |= {
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "usage_source": "estimate",
            "cost_nusd": tokens[0] * 3_000 + tokens[1] * 15_000,
        }
    assert facts(row, *expected) == expected


def test_a_stream_that_ends_without_message_stop_ends_with_an_error(gateway: Gateway) -> None:
    answer = send(gateway, "stream_without_stop")
    events = wire.stream_events(4, "fault-stream_without_stop", stop=False)
    assert (answer.status, answer.body) == (200, b"".join(events) + INTERRUPTED)
    check_stream_failed(gateway, answer, "upstream_interrupted", (12, 7))


def test_a_stream_that_stalls_ends_with_a_timeout_error(gateway: Gateway) -> None:
    answer = send(gateway, "stream_stalls")
    events = wire.stream_events(2, "fault-stream_stalls")[:5]
    frame = error_frame("timeout_error", "upstream did not answer in time")
    assert (answer.status, answer.body) == (200, b"".join(events) + frame)
    # The device said 1 output token at the start; the two words that came make about 3.
    check_stream_failed(gateway, answer, "upstream_timeout", (12, 3))


def test_a_providers_error_event_is_passed_on_verbatim_and_is_the_last(gateway: Gateway) -> None:
    answer = send(gateway, "stream_error_event")
    events = wire.stream_events(2, "fault-stream_error_event")[:5]
    error = wire.event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert (answer.status, answer.body) == (200, b"".join(events) + error)
    check_stream_failed(gateway, answer, "upstream_stream_error", (12, 3))


def test_nothing_follows_an_error_event_even_if_the_provider_goes_on(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    error = wire.event("error", {"error": {"type": "api_error", "message": "Broken"}})
    events = wire.stream_events(1, "m")

    async def goes_on(exchange: Exchange) -> None:
        await begin_stream(exchange)
        for event in (*events[:2], error):
            await chunk(exchange, event)
        await exchange.hang()

    upstream.enqueue(goes_on)
    answer = ask(gateway, message("m", stream=True))
    assert answer.whole
    assert answer.body == b"".join(events[:2]) + error
    check_stream_failed(gateway, answer, "upstream_stream_error", (12, 1))


def test_an_error_as_first_event_is_passed_on_as_a_stream(gateway: Gateway, upstream: FaultyUpstream) -> None:
    error = wire.event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})

    async def only_error(exchange: Exchange) -> None:
        await whole_stream(exchange, [error])

    upstream.enqueue(only_error)
    answer = ask(gateway, message("m", stream=True))
    assert (answer.status, answer.body) == (200, error)
    assert answer.header("content-type") == "text/event-stream"
    row = settled_row(gateway, answer.request_id)
    expected = {"ending": "failed", "failure_kind": "upstream_stream_error", "retries": 0, **NO_TOKENS}
    assert facts(row, *expected) == expected


def test_garbage_inside_a_stream_is_the_clients_to_judge(gateway: Gateway) -> None:
    answer = send(gateway, "stream_garbage_event")
    events = wire.stream_events(2, "fault-stream_garbage_event")
    garbage = b"event: content_block_delta\ndata: {not json\n\n\xff\xfe no field at all\n\n"
    assert (answer.status, answer.body) == (200, b"".join([*events[:4], garbage, *events[4:]]))
    check_completed(gateway, answer)


def test_a_gigantic_line_is_an_error_and_takes_no_memory_to_keep(gateway: Gateway) -> None:
    send(gateway, "ok")
    before = rss_bytes(gateway)
    for _ in range(3):
        answer = send(gateway, "stream_gigantic_line")
        start = wire.stream_events(0, "fault-stream_gigantic_line")[0]
        frame = error_frame("api_error", "upstream sent a stream event longer than 16777216 bytes")
        assert (answer.status, answer.body) == (200, start + frame)
        check_stream_failed(gateway, answer, "upstream_invalid_response", (12, 1))
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    assert peak - before < 64 << 20
    assert rss_bytes(gateway) - before < 32 << 20


TEXT = "née ☃ 𝄞 \u2028"


def text_stream() -> list[bytes]:
    """A stream whose text has characters of one to four bytes, unescaped."""
    events = wire.stream_events(2, "m")
    deltas = [event.replace(b"word", TEXT.encode()) for event in events]
    assert any("𝄞".encode() in event for event in deltas)
    return deltas


def cut_positions() -> list[int]:
    """Around every boundary of events, inside the multibyte characters, and many between."""
    events = text_stream()
    whole = b"".join(events)
    boundaries = [sum(map(len, events[:count])) for count in range(len(events) + 1)]
    near = {edge + step for edge in boundaries for step in (-3, -2, -1, 0, 1, 2)}
    place = whole.index(TEXT.encode())
    near |= set(range(place, place + len(TEXT.encode())))
    return sorted(at for at in near | set(range(0, len(whole), 41)) if 0 <= at <= len(whole))


async def _cut(exchange: Exchange) -> None:
    exchange.close()


async def _end(exchange: Exchange) -> None:
    await end_stream(exchange)


@pytest.mark.parametrize("ends", [_cut, _end], ids=["cut", "ended"])
def test_a_stream_cut_anywhere_ends_with_whole_events_and_an_error(
    gateway: Gateway, upstream: FaultyUpstream, ends: object
) -> None:
    assert callable(ends)
    events = text_stream()
    whole = b"".join(events)
    started, rows = 0, {}
    with Caller(gateway) as caller:
        for at in cut_positions():

            async def broken(exchange: Exchange, at: int = at) -> None:
                await begin_stream(exchange)
                if at:
                    await chunk(exchange, whole[:at])
                await ends(exchange)

            upstream.enqueue(broken)
            answer = caller.ask(message("m", stream=True))
            assert answer.whole, at
            complete = b""
            for event in events:
                if len(complete) + len(event) > at:
                    break
                complete += event
            rows[answer.request_id] = at
            if not complete:
                empty = at == 0 and ends is _end
                assert answer.status == 502, at
                assert answer.json["error"]["type"] == ("upstream_empty_body" if empty else "api_error")
            elif complete == whole:
                assert (answer.status, answer.body) == (200, whole)
            else:
                started += 1
                assert (answer.status, answer.body) == (200, complete + INTERRUPTED), at
                assert answer.events[-1][0] == "error"
    assert started > 40
    for request_id, at in rows.items():
        row = settled_row(gateway, request_id)
        assert row["ending"] == ("completed" if at == len(whole) else "failed"), at
        if row["status"] == 200 and at < len(whole):
            assert row["failure_kind"] == "upstream_interrupted", at
            assert (row["input_tokens"], row["usage_source"]) == (12, "estimate"), at


@pytest.mark.parametrize("at", [150, 400, 700])
def test_a_reset_inside_a_stream_is_an_interruption(
    gateway: Gateway, upstream: FaultyUpstream, at: int
) -> None:
    upstream.enqueue(f"stream_reset_at:{at}")
    answer = ask(gateway, message("m", stream=True))
    sent = wire.stream(4, "m")[:at]
    complete = sent[: sent.rfind(b"\n\n") + 2]
    if sent.rfind(b"\n\n") < 0:
        assert answer.status == 502
    else:
        assert (answer.status, answer.body) == (200, complete + INTERRUPTED)
    row = settled_row(gateway, answer.request_id)
    assert facts(row, "ending", "failure_kind") == {
        "ending": "failed",
        "failure_kind": "upstream_interrupted",
    }


def test_a_stream_of_comments_only_is_an_interruption(gateway: Gateway, upstream: FaultyUpstream) -> None:
    async def comments(exchange: Exchange) -> None:
        await whole_stream(exchange, [b": keep-alive\n\n", b": keep-alive\n\n"])

    upstream.enqueue(comments)
    answer = ask(gateway, message("m", stream=True))
    assert answer.whole
    assert answer.body == b": keep-alive\n\n" * 2 + INTERRUPTED
    row = settled_row(gateway, answer.request_id)
    assert facts(row, "ending", "failure_kind") == {
        "ending": "failed",
        "failure_kind": "upstream_interrupted",
    }


def test_the_gateway_lived_through_all_of_it_without_an_unexpected_error(gateway: Gateway) -> None:
    assert ask(gateway, message("m")).status == 200
    assert "unexpected" not in gateway.log
    assert "Traceback" not in gateway.log
