import json
import random
import time

import msgspec
import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import NO_USAGE, Usage, UsageSource
from triptych.wires.openai_responses import ResponsesStream
from triptych.wires.sse import frame, parse_block

ENDS = ["\n", "\r\n", "\r"]
RESPONSE = {"id": "resp_1", "object": "response", "status": "in_progress", "error": None, "output": []}
USAGE = {
    "input_tokens": 35,
    "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
}


def event(type_: str, **fields: object) -> bytes:
    return frame(type_, msgspec.json.encode({"type": type_, **fields}))


def delta(text: str, number: int = 4, kind: str = "output_text") -> bytes:
    return event(f"response.{kind}.delta", sequence_number=number, item_id="msg_1", delta=text, logprobs=[])


def end(status: str = "completed", usage: object = USAGE, **fields: object) -> bytes:
    response = {**RESPONSE, "status": status, "usage": usage, **fields}
    return event(f"response.{status}", sequence_number=9, response=response)


CREATED = event("response.created", sequence_number=0, response=RESPONSE)
PROGRESS = event("response.in_progress", sequence_number=1, response={**RESPONSE, "x": 1.5})
ADDED = event("response.output_item.added", sequence_number=2, output_index=0, item={"id": "msg_1"})
START = CREATED + PROGRESS + ADDED
DONE = end()
ERROR = event("error", sequence_number=5, code="server_is_overloaded", message="no", param=None)
COUNTED = Usage(25, 9, 7, 3, 4, UsageSource.PROVIDER)


def fed(*chunks: bytes, request_bytes: int = 0) -> tuple[ResponsesStream, bytes]:
    stream = ResponsesStream(request_bytes=request_bytes)
    return stream, b"".join(map(stream.feed, chunks))


def test_whole_events_are_relayed_and_the_last_one_kept_back() -> None:
    stream, relayed = fed(START, delta("a"), delta("b"), DONE)
    assert relayed == START + delta("a") + delta("b")
    assert (stream.final, stream.ended, stream.error_type, stream.held) == (DONE, "completed", None, 0)
    assert stream.usage() == COUNTED


@pytest.mark.parametrize(
    "kind",
    ["output_text", "function_call_arguments", "reasoning_summary_text", "refusal", "custom_tool_call_input"],
)
def test_a_whole_delta_of_any_kind_is_relayed_as_the_same_object(kind: str) -> None:
    stream, _ = fed(START)
    chunk = delta("x" * 40, kind=kind)
    assert stream.feed(chunk) is chunk
    assert stream.usage().output_tokens == 10


def test_half_an_event_is_held_back() -> None:
    stream, relayed = fed(START, delta("a")[:-1])
    assert relayed == START
    assert stream.held == len(delta("a")) - 1
    assert stream.feed(b"\n" + ADDED[:5]) == delta("a")
    assert stream.held == 5


def test_a_whole_delta_never_overtakes_what_is_held_back() -> None:
    stream, _ = fed(START, b"id: 1\n")
    assert stream.feed(delta("a")) == b"id: 1\n" + delta("a")


def test_an_answer_cut_short_by_its_bound_is_a_regular_end() -> None:
    incomplete = end("incomplete")
    stream, _ = fed(START, delta("a"), incomplete)
    assert (stream.final, stream.ended, stream.error_type) == (incomplete, "incomplete", None)
    assert stream.usage() == COUNTED


def test_a_providers_failed_response_is_terminal_and_its_verdict() -> None:
    failed = end("failed", usage=None, error={"code": "rate_limit_exceeded", "message": "no"})
    stream, relayed = fed(START, failed)
    assert (relayed, stream.final) == (START, failed)
    assert (stream.ended, stream.error_type) == ("failed", "rate_limit_exceeded")
    assert stream.usage() == NO_USAGE
    stream, _ = fed(START, end("failed"))
    assert (stream.error_type, stream.usage()) == (None, COUNTED)


def test_a_providers_error_event_is_terminal_and_takes_along_what_follows() -> None:
    failed = end("failed", usage=None)
    stream, relayed = fed(START + delta("a") + ERROR + failed)
    assert relayed == START + delta("a")
    assert (stream.final, stream.ended) == (ERROR + failed, "error")
    assert stream.error_type == "server_is_overloaded"
    stream, _ = fed(START, ERROR)
    assert stream.feed(failed) == failed


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b'{"type":"error","error":{"type":"t","code":"c","message":"m"}}', "t"),
        (b'{"type":"error","error":{"type":null,"code":"c"}}', "c"),
        (b'{"type":"error","code":"c"}', "c"),
        *((data, None) for data in (b"", b"gone", b"{}", b'{"error":5}', b'{"code":5}', b"\xff")),
    ],
)
def test_an_error_event_is_terminal_whatever_is_in_it(data: bytes, word: str | None) -> None:
    stream, _ = fed(START, frame("error", data))
    assert (stream.ended, stream.error_type) == ("error", word)


def test_what_follows_the_end_is_passed_on_unchanged() -> None:
    stream, _ = fed(START, DONE + b"data: [DONE]")
    assert stream.final == DONE + b"data: [DONE]"
    assert stream.feed(b"\n\nevent: half") == b"\n\nevent: half"
    assert stream.feed(delta("late")) == delta("late")


def test_the_words_of_the_grammar_inside_text_are_text() -> None:
    text = 'data: [DONE]\n\nevent: response.completed\ndata: {}\n\n\u2028\x85 event: error "delta":"'
    stream, relayed = fed(START, delta(text))
    assert relayed == START + delta(text)
    assert stream.final is None


@pytest.mark.parametrize(
    "block",
    [
        b"event: response.output_text.delta\ndata: {}\nevent: response.completed\n\n",
        b"event: response.output_text.delta\rdata: {}\revent: response.completed\r\r",
        b"event: response.output_text.delta\ndata: {}\revent: response.completed\n\n",
        b'data: {"type":"response.completed"}\n\n',
        b'data: {"type":\ndata:"response.completed"}\n\n',
        b": almost\nid: 1\nevent:response.completed\ndata:\n\n",
    ],
)
def test_the_end_is_found_however_it_is_written(block: bytes) -> None:
    stream, relayed = fed(START, block)
    assert relayed == START
    assert (stream.final, stream.ended) == (block, "completed")


@pytest.mark.parametrize(
    "block",
    [
        b"event: response.completed\n\n",
        b"event: response.completed \ndata: {}\n\n",
        b"event: response.completed.delta\ndata: {}\n\n",
        b"data: [DONE]\n\n",
        b"\n\n",
        b": x\n\n",
    ],
)
def test_what_only_resembles_the_end_is_relayed(block: bytes) -> None:
    stream, relayed = fed(START, block)
    assert relayed == START + block
    assert stream.ended is None


def test_comments_do_not_start_an_answer() -> None:
    stream, relayed = fed(b": keep-alive\n\n")
    assert relayed == b": keep-alive\n\n"
    assert not stream.started
    stream.feed(CREATED)
    assert stream.started


def test_garbage_is_relayed_and_nothing_is_made_of_it() -> None:
    garbage = b"event: response.created\ndata: {cut\n\nevent: x\ndata: \xff\n\ndata: 5\n\nnonsense\n\n"
    stream, relayed = fed(garbage, b"event: response.x.delta\ndata: {cut\n\n")
    assert relayed == garbage + b"event: response.x.delta\ndata: {cut\n\n"
    assert stream.usage() == Usage(source=UsageSource.ESTIMATE)


def test_nothing_seen_is_no_usage() -> None:
    assert ResponsesStream(request_bytes=400).usage() == NO_USAGE
    assert fed(b": x\n\n", request_bytes=400)[0].usage() == NO_USAGE
    assert fed(ERROR, request_bytes=400)[0].usage() == NO_USAGE


def test_a_broken_stream_is_measured_by_its_request_and_its_deltas() -> None:
    stream, _ = fed(START, request_bytes=400)
    assert stream.usage() == Usage(100, 0, source=UsageSource.ESTIMATE)
    stream, _ = fed(START, delta("x" * 400), delta("y" * 400, kind="reasoning_text"), request_bytes=400)
    assert stream.usage() == Usage(100, 200, source=UsageSource.ESTIMATE)


def test_padding_is_no_text() -> None:
    padded = event("response.output_text.delta", delta="x" * 40, obfuscation="p" * 400)
    spaced = b'event: response.output_text.delta\ndata: {"obfuscation": "pp", "delta": "\\"%b"}\n\n' % (
        b"x" * 38
    )
    stream, _ = fed(START, padded, spaced)
    assert stream.usage().output_tokens == 20


def test_an_error_after_some_text_is_measured_by_the_text() -> None:
    stream, _ = fed(START, delta("x" * 400), ERROR, request_bytes=40)
    assert stream.usage() == Usage(10, 100, source=UsageSource.ESTIMATE)


@pytest.mark.parametrize("usage", [None, 5, "x", {}])
def test_an_end_without_counts_is_measured_too(usage: object) -> None:
    stream, _ = fed(START, delta("x" * 40), end(usage=usage), request_bytes=40)
    assert stream.usage() == Usage(10, 10, source=UsageSource.ESTIMATE)


@pytest.mark.parametrize("lie", [-1, 1.5, "7", None, True, 10**10, 10**40, []])
def test_a_count_that_lies_is_replaced_by_an_estimate(lie: object) -> None:
    stream, _ = fed(START, delta("x" * 400), end(usage={**USAGE, "output_tokens": lie}))
    assert stream.usage().output_tokens == 100
    assert stream.usage().source == UsageSource.ESTIMATE
    stream, _ = fed(START, end(usage={"input_tokens": lie, "output_tokens": 9}), request_bytes=100)
    assert stream.usage() == Usage(25, 9, source=UsageSource.ESTIMATE)


def test_an_event_longer_than_the_bound_is_an_invalid_response() -> None:
    for chunks in ([b"data: " + b"x" * 95], [delta("x" * 100)], [b": x\n\n", delta("x" * 100)]):
        stream = ResponsesStream(max_event_bytes=100)
        with pytest.raises(Failure) as caught:
            list(map(stream.feed, chunks))
        assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def frames(stream: ResponsesStream) -> list[tuple[str, dict[str, object]]]:
    written = stream.failed_frames("upstream stream interrupted", "stream_error")
    assert written.endswith(b"\n\n")
    events = [parse_block(block + b"\n\n") for block in written.split(b"\n\n")[:-1]]
    return [(event.type, json.loads(event.data)) for event in events if event is not None]


def test_a_broken_stream_ends_with_the_error_and_the_failed_response() -> None:
    stream, _ = fed(START, delta("a", 3), delta("b", 4), b"event: half")
    assert frames(stream) == [
        (
            "error",
            {
                "error": {
                    "message": "upstream stream interrupted",
                    "type": "server_error",
                    "code": "stream_error",
                }
            },
        ),
        (
            "response.failed",
            {
                "type": "response.failed",
                "sequence_number": 5,
                "response": {
                    **RESPONSE,
                    "x": 1.5,
                    "status": "failed",
                    "error": {"code": "server_error", "message": "upstream stream interrupted"},
                },
            },
        ),
    ]


def test_the_snapshot_keeps_every_other_byte() -> None:
    snapshot = b'{ "id":"resp_1","status" : "in_progress","n":1.50,"big":1e999 , "text":"\\u00e9"}'
    stream, _ = fed(b'event: response.created\ndata: {"response":%b,"sequence_number":0}\n\n' % snapshot)
    written = stream.failed_frames("m", "c")
    assert (
        b'"response":{ "id":"resp_1","status" : "failed","n":1.50,"big":1e999 , "text":"\\u00e9",'
        b'"error":{"code":"server_error","message":"m"}}' in written
    )


def test_ending_a_stream_changes_nothing_in_it() -> None:
    stream, _ = fed(START, delta("a")[:-1])
    first = stream.failed_frames("m", "c")
    assert stream.failed_frames("m", "c") == first
    assert stream.feed(b"\n" + DONE) == delta("a")
    assert stream.final == DONE


def test_numbers_go_on_after_the_last_event_that_was_relayed() -> None:
    def number(*chunks: bytes) -> object:
        return frames(fed(*chunks)[0])[1][1]["sequence_number"]

    assert number(START) == 3
    assert number(START, delta("a", 77)) == 78
    assert number(START, delta("a", 3), DONE) == 4
    assert number(START, delta("a", 3), ERROR) == 4
    assert number(START, delta("a", 3), event("response.output_text.done", sequence_number=4)) == 5
    assert number(b": x\n\n") == 0
    for unnumbered in (b"{}", b"cut", b'{"sequence_number":"3"}', b'{"sequence_number":-1}'):
        assert number(START, b"event: response.x.delta\ndata: %b\n\n" % unnumbered) == 4


@pytest.mark.parametrize(
    "data", [b"{}", b"cut", b'{"response":5}', b'{"response":{}}', b'{"response":{"id":1,"id":2}}', b"\xff"]
)
def test_without_a_readable_snapshot_the_response_is_failed_all_the_same(data: bytes) -> None:
    for stream in (fed(frame("response.created", data))[0], ResponsesStream()):
        response = frames(stream)[1][1]["response"]
        assert isinstance(response, dict)
        assert response["status"] == "failed"
        assert response["error"] == {"code": "server_error", "message": "upstream stream interrupted"}
        assert (response["id"], response["object"]) == ("", "response")


def test_a_snapshot_over_several_lines_is_still_one_event() -> None:
    stream, _ = fed(b'event: response.created\ndata: {"response":{"id":"r",\ndata: "status":"queued"}}\n\n')
    response = frames(stream)[1][1]["response"]
    assert isinstance(response, dict)
    assert (response["id"], response["status"]) == ("r", "failed")


def test_a_delta_is_read_in_a_few_microseconds() -> None:
    stream, _ = fed(START)
    chunk = delta("hello", 1234)
    best_us = 1e9
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(2_000):
            stream.feed(chunk)
        best_us = min(best_us, (time.perf_counter() - started) * 1e6 / 2_000)
    assert best_us < 15


def random_stream(pick: random.Random) -> tuple[list[bytes], bytes]:
    """Blocks before the end, and everything from the end on, with line ends of all kinds."""
    texts = ["", "hello", "data: [DONE]", "é😀\u2028", "x" * 300, 'event: error "delta":"']
    kinds = [
        *(delta(text, 4, kind).decode() for text in texts for kind in ("output_text", "reasoning_text")),
        ADDED.decode(),
        PROGRESS.decode(),
        ": comment\n\n",
        "\n",
        "\n\n\n",
        "event: x\ndata: a\ndata: b\n\n",
        'data: {"type":"response.output_text.delta","delta":"abc","sequence_number":8}\n\n',
    ]
    blocks = [CREATED.decode(), *pick.choices(kinds, k=pick.randrange(8))]
    final = pick.choice([DONE, DONE + ADDED, ERROR, ERROR + end("failed"), end("failed"), b""]).decode()
    style = pick.choice([["\n"], ["\n"], ["\r\n"], ["\r"], ["\r", "\r\n"], ENDS])
    written = ["".join(pick.choice(style) if c == "\n" else c for c in block) for block in [*blocks, final]]
    encoded = [block.encode() for block in written]
    return encoded[:-1], encoded[-1]


def cut(pick: random.Random, data: bytes) -> list[bytes]:
    if pick.random() < 0.2:
        return [data[index : index + 1] for index in range(len(data))]
    places = sorted(pick.randrange(len(data) + 1) for _ in range(pick.randrange(12)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def test_any_way_to_cut_a_stream_relays_the_same_bytes_and_reads_the_same() -> None:
    pick = random.Random(7)
    endings = set()
    for _ in range(2_000):
        blocks, final = random_stream(pick)
        data = b"".join(blocks) + final
        whole, relayed_whole = fed(data)
        stream = ResponsesStream()
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
        assert stream.failed_frames("m", "c") == whole.failed_frames("m", "c")
        if whole.final is not None:
            assert relayed + whole.final == data
        endings.add(stream.ended)
    assert endings == {None, "completed", "failed", "error"}
