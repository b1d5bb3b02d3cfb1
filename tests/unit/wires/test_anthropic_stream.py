import json
import random
import time

import msgspec
import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import NO_USAGE, Usage, UsageSource
from triptych.wires.anthropic_messages import MessagesStream
from triptych.wires.sse import frame

ENDS = ["\n", "\r\n", "\r"]


def event(type_: str, **fields: object) -> bytes:
    return frame(type_, msgspec.json.encode({"type": type_, **fields}))


def start(**usage: object) -> bytes:
    return event("message_start", message={"id": "msg_1", "usage": usage})


def delta(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def end(**usage: object) -> bytes:
    return event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)


START = start(input_tokens=25, output_tokens=1, cache_read_input_tokens=7, cache_creation_input_tokens=3)
STOP = event("message_stop")
ERROR = frame("error", b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
PING = event("ping")


def fed(*chunks: bytes) -> tuple[MessagesStream, bytes]:
    stream = MessagesStream()
    return stream, b"".join(map(stream.feed, chunks))


def test_whole_events_are_relayed_and_the_last_one_kept_back() -> None:
    stream, relayed = fed(START, PING, delta("a"), delta("b"), end(output_tokens=9), STOP)
    assert relayed == START + PING + delta("a") + delta("b") + end(output_tokens=9)
    assert (stream.final, stream.ended, stream.error_type, stream.held) == (STOP, "message_stop", None, 0)
    assert stream.usage() == Usage(25, 9, 7, 3, 0, UsageSource.PROVIDER)


def test_a_whole_delta_is_relayed_as_the_same_object() -> None:
    stream, _ = fed(START)
    chunk = delta("a")
    assert stream.feed(chunk) is chunk


def test_half_an_event_is_held_back() -> None:
    stream, relayed = fed(START, delta("a")[:-1])
    assert relayed == START
    assert stream.held == len(delta("a")) - 1
    assert stream.feed(b"\n" + PING[:5]) == delta("a")
    assert stream.held == 5


def test_a_whole_delta_never_overtakes_what_is_held_back() -> None:
    stream, _ = fed(START, b"id: 1\n")
    assert stream.feed(delta("a")) == b"id: 1\n" + delta("a")


def test_a_line_feed_belongs_to_the_carriage_return_right_before_it_only() -> None:
    stream, relayed = fed(START, b"data: x\r\r", b"\n" + STOP)
    assert (relayed, stream.final) == (START + b"data: x\r\r\n", STOP)
    stream, relayed = fed(START, b"data: x\r\r", delta("a"), b"\n" + STOP)
    assert (relayed, stream.final) == (START + b"data: x\r\r" + delta("a"), b"\n" + STOP)


def test_a_providers_error_event_is_terminal() -> None:
    stream, relayed = fed(START + delta("a") + ERROR + b"more")
    assert relayed == START + delta("a")
    assert (stream.final, stream.ended, stream.error_type) == (ERROR + b"more", "error", "overloaded_error")


@pytest.mark.parametrize("data", [b"", b"gone", b"{}", b'{"error":5}', b'{"error":{"type":null}}', b"\xff"])
def test_an_error_event_nobody_can_read_is_terminal_all_the_same(data: bytes) -> None:
    stream, _ = fed(START, frame("error", data))
    assert (stream.ended, stream.error_type) == ("error", None)


def test_what_follows_the_end_is_passed_on_unchanged() -> None:
    stream, _ = fed(START, STOP + b"\n: bye")
    assert stream.final == STOP + b"\n: bye"
    assert stream.feed(b"\nevent: half") == b"\nevent: half"
    assert stream.feed(delta("late")) == delta("late")


def test_the_words_of_the_grammar_inside_text_are_text() -> None:
    text = "data: [DONE]\n\nevent: message_stop\ndata: {}\n\n\u2028\u2029\x85 event: error"
    stream, relayed = fed(START, delta(text))
    assert relayed == START + delta(text)
    assert stream.final is None


@pytest.mark.parametrize(
    "block",
    [
        b"event: content_block_delta\ndata: {}\nevent: message_stop\n\n",
        b"event: content_block_delta\rdata: {}\revent: message_stop\r\r",
        b"event: content_block_delta\ndata: {}\revent: message_stop\n\n",
        b'data: {"type":"message_stop"}\n\n',
        b'data: {"type":\ndata:"message_stop"}\n\n',
        b": almost\nid: 1\nevent:message_stop\ndata:\n\n",
    ],
)
def test_the_end_is_found_however_it_is_written(block: bytes) -> None:
    stream, relayed = fed(START, block)
    assert relayed == START
    assert (stream.final, stream.ended) == (block, "message_stop")


@pytest.mark.parametrize(
    "block", [b"event: message_stop\n\n", b"event: message_stop \ndata: {}\n\n", b"\n\n", b": x\n\n"]
)
def test_what_only_resembles_the_end_is_relayed(block: bytes) -> None:
    stream, relayed = fed(START, block)
    assert relayed == START + block
    assert stream.ended is None


def test_comments_do_not_start_an_answer() -> None:
    stream, relayed = fed(b": keep-alive\n\n")
    assert relayed == b": keep-alive\n\n"
    assert not stream.started
    stream.feed(PING)
    assert stream.started


def test_a_byte_order_mark_before_the_first_event_is_no_part_of_it() -> None:
    block = b"\xef\xbb\xbfevent: message_stop\ndata: {}\n\n"
    stream, relayed = fed(block)
    assert (relayed, stream.final) == (b"", block)
    stream, relayed = fed(PING, block)
    assert (relayed, stream.final) == (PING + block, None)


def test_garbage_is_relayed_and_counts_nothing() -> None:
    garbage = (
        b"event: message_start\ndata: {cut\n\nevent: message_delta\ndata: \xff\n\ndata: 5\n\nnonsense\n\n"
    )
    stream, relayed = fed(garbage)
    assert relayed == garbage
    assert stream.usage() == NO_USAGE


def test_nothing_seen_is_no_usage() -> None:
    assert MessagesStream().usage() == NO_USAGE


def test_a_broken_stream_keeps_the_last_cumulative_counts_as_an_estimate() -> None:
    stream, _ = fed(START, delta("a"), end(output_tokens=40), delta("b"))
    assert stream.usage() == Usage(25, 40, 7, 3, 0, UsageSource.ESTIMATE)


def test_a_stream_broken_before_any_count_is_measured_by_its_deltas() -> None:
    stream, _ = fed(START, delta("x" * 400), delta("y" * 400))
    assert stream.usage() == Usage(25, 200, 7, 3, 0, UsageSource.ESTIMATE)
    stream, _ = fed(START, delta(""))
    assert stream.usage().output_tokens == 1


def test_without_an_input_count_the_request_is_measured() -> None:
    stream = MessagesStream(request_bytes=400)
    stream.feed(delta("a") + end(output_tokens=9) + STOP)
    assert stream.usage() == Usage(100, 9, source=UsageSource.ESTIMATE)


def test_later_counts_replace_earlier_ones() -> None:
    last = end(
        input_tokens=30,
        output_tokens=9,
        cache_read_input_tokens=0,
        output_tokens_details={"thinking_tokens": 4},
    )
    stream, _ = fed(START, end(output_tokens=5), last, STOP)
    assert stream.usage() == Usage(30, 9, 0, 3, 4, UsageSource.PROVIDER)


@pytest.mark.parametrize("lie", [-1, 1.5, "7", None, True, 10**10, 10**40, []])
def test_a_count_that_lies_is_replaced_by_an_estimate(lie: object) -> None:
    stream, _ = fed(START, delta("x" * 400), end(output_tokens=lie), STOP)
    assert stream.usage() == Usage(25, 100, 7, 3, 0, UsageSource.ESTIMATE)
    stream, _ = fed(START, delta("a"), end(input_tokens=lie, output_tokens=9), STOP)
    assert stream.usage().input_tokens == 25


@pytest.mark.parametrize("lie", [-1, 1.5, "7", 10**40])
def test_a_cache_count_that_lies_changes_nothing_and_is_labelled(lie: object) -> None:
    stream, _ = fed(START, end(output_tokens=9, cache_read_input_tokens=lie), STOP)
    assert stream.usage() == Usage(25, 9, 7, 3, 0, UsageSource.ESTIMATE)


def test_an_event_longer_than_the_bound_is_an_invalid_response() -> None:
    for chunks in (
        [b"data: " + b"x" * 95],
        [b"x" * 60, b"x" * 60],
        [delta("x" * 100)],
        [PING, delta("x" * 100)],
    ):
        stream = MessagesStream(max_event_bytes=100)
        with pytest.raises(Failure) as caught:
            list(map(stream.feed, chunks))
        assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    stream = MessagesStream(max_event_bytes=len(PING))
    assert stream.feed(PING * 50) == PING * 50


def test_one_long_event_in_tiny_chunks_is_read_in_linear_time() -> None:
    stream = MessagesStream()
    started = time.thread_time()
    for _ in range(100_000):
        assert stream.feed(b"data: 0123456789") == b""
    assert len(stream.feed(b"\n\n")) == 1_600_002
    assert time.thread_time() - started < 2


def random_stream(pick: random.Random) -> tuple[list[bytes], bytes]:
    """Blocks before the end, and everything from the end on, with line ends of all kinds; where a
    CR and an LF happen to meet, they are one line end, and two events run into one."""
    texts = ["", "hello", "data: [DONE]", "é😀\u2028", "x" * 300, "event: message_stop"]
    kinds = [
        *(delta(text).decode() for text in texts),
        *(end(output_tokens=count).decode() for count in (3, 50)),
        PING.decode(),
        ": comment\n\n",
        "\n",
        "\n\n\n",
        "event: x\ndata: a\ndata: b\n\n",
        'data: {"type":"content_block_delta"}\n\n',
    ]
    blocks = [START.decode(), *pick.choices(kinds, k=pick.randrange(8))]
    final = pick.choice([STOP, STOP + PING, ERROR, STOP + b": x", b""]).decode()
    style = pick.choice([["\n"], ["\n"], ["\r\n"], ["\r"], ["\r", "\r\n"], ENDS])
    written = ["".join(pick.choice(style) if c == "\n" else c for c in block) for block in [*blocks, final]]
    encoded = [block.encode() for block in written]
    return encoded[:-1], encoded[-1]


def cut(pick: random.Random, data: bytes) -> list[bytes]:
    if pick.random() < 0.2:
        return [data[index : index + 1] for index in range(len(data))]
    places = sorted(pick.randrange(len(data) + 1) for _ in range(pick.randrange(12)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def test_any_way_to_cut_a_stream_relays_the_same_bytes_and_counts_the_same() -> None:
    pick = random.Random(7)
    for _ in range(5_000):
        blocks, final = random_stream(pick)
        data = b"".join(blocks) + final
        whole, relayed_whole = fed(data)
        if b"\r" not in data and final.startswith(b"event: "):
            assert whole.final is not None
            assert whole.final.lstrip(b"\n") == final
        stream = MessagesStream()
        relayed = after = b""
        for chunk in cut(pick, data):
            ended = stream.final is not None
            out = stream.feed(chunk)
            relayed, after = (relayed, after + out) if ended else (relayed + out, after)
        assert relayed == relayed_whole
        assert (stream.final or b"") + after == (whole.final or b"")
        assert (stream.ended, stream.error_type, stream.started) == (
            whole.ended,
            whole.error_type,
            whole.started,
        )
        assert stream.usage() == whole.usage()
        if whole.final is None:
            assert relayed + bytes(stream._held) == data
        else:
            assert relayed + whole.final == data


def type_in(text: str) -> str:
    try:
        return str(json.loads(text)["type"])
    except (ValueError, KeyError, TypeError):
        return ""


def reference_types(data: bytes) -> list[str]:
    """Types of the events of a stream, read the slow way: line by line, whole stream at hand."""
    lines = data.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    types, type_, has_data, text = [], "", False, []
    for line in lines[:-1]:
        if not line:
            if has_data:
                types.append(type_ or type_in("\n".join(text)))
            type_, has_data, text = "", False, []
        elif line.startswith("event:"):
            type_ = line[6:].removeprefix(" ")
        elif line.startswith("data:"):
            has_data = True
            text.append(line[5:].removeprefix(" "))
    return types


def test_the_end_is_found_where_a_plain_reader_of_the_standard_finds_it() -> None:
    pick = random.Random(11)
    endings = set()
    for _ in range(5_000):
        blocks, final = random_stream(pick)
        data = b"".join(blocks) + final
        expected = next((t for t in reference_types(data) if t in ("message_stop", "error")), None)
        stream = MessagesStream()
        for chunk in cut(pick, data):
            stream.feed(chunk)
        assert stream.ended == expected
        endings.add(expected)
    assert endings == {None, "message_stop", "error"}
