import json
import random
import time

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import NO_USAGE, Usage, UsageSource
from triptych.wires.openai_chat import ChatStream
from triptych.wires.sse import frame

ENDS = ["\n", "\r\n", "\r"]


def data(value: object, **how: object) -> bytes:
    how = {"separators": (",", ":"), "ensure_ascii": False, **how}
    return b"data: " + json.dumps(value, **how).encode() + b"\n\n"  # type: ignore[arg-type]


def chunk(delta: object, finish_reason: str | None = None, **fields: object) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return data({**head, "choices": [choice], **fields})


def text(content: str, **fields: object) -> bytes:
    return chunk({"content": content}, **fields)


def counts(prompt: object, completion: object, **details: object) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **details}


def usage(*args: object, choices: object = (), **details: object) -> bytes:
    return data({"id": "chatcmpl-1", "choices": choices, "usage": counts(*args, **details)})


START = chunk({"role": "assistant", "content": "", "refusal": None}, usage=None)
FINISH = chunk({}, "stop", usage=None)
USAGE = usage(
    32, 9, prompt_tokens_details={"cached_tokens": 7}, completion_tokens_details={"reasoning_tokens": 2}
)
DONE = b"data: [DONE]\n\n"
ERROR = data({"error": {"message": "Overloaded", "type": "server_error", "code": "overloaded"}})
NAMED_ERROR = frame("error", b'{"error":{"message":"gone","type":"server_error"}}')


def fed(*chunks: bytes, include_usage: bool = False) -> tuple[ChatStream, bytes]:
    stream = ChatStream(include_usage=include_usage)
    return stream, b"".join(map(stream.feed, chunks))


def test_whole_events_are_relayed_and_the_last_one_kept_back() -> None:
    stream, relayed = fed(START, text("a"), text("b", usage=None), FINISH, USAGE, DONE)
    assert relayed == START + text("a") + text("b", usage=None) + FINISH
    assert (stream.final, stream.ended, stream.error_type, stream.held) == (DONE, "done", None, 0)
    assert stream.usage() == Usage(25, 9, 7, 0, 2, UsageSource.PROVIDER)


def test_a_client_that_asked_for_the_usage_gets_it() -> None:
    stream, relayed = fed(START, FINISH, USAGE, DONE, include_usage=True)
    assert relayed == START + FINISH + USAGE
    assert stream.usage() == Usage(25, 9, 7, 0, 2, UsageSource.PROVIDER)


@pytest.mark.parametrize(
    "block",
    [
        data({"choices": [], "usage": counts(32, 9)}),
        data({"choices": [], "usage": counts(32, 9)}, separators=(", ", " : ")),
        data({"usage": counts(32, 9), "choices": []}).replace(b"[]", b"[ ]"),
        b": ping\ndata:" + json.dumps({"choices": [], "usage": counts(32, 9)}).encode() + b"\n\n",
        b'data: {"choices":[],\ndata:"usage":{"prompt_tokens":32,"completion_tokens":9}}\n\n',
        b'data: {"choices":[],\rdata:"usage":{"prompt_tokens":32,"completion_tokens":9}}\r\r',
        b'data: {"\\u0063hoices":[],"\\u0075sage":{"prompt_tokens":32,"completion_tokens":9}}\r\n\r\n',
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_the_usage_chunk_is_dropped_whole_however_it_is_written(block: bytes, together: bool) -> None:
    blocks = [START, text("a"), block, b": bye\n\n", DONE]
    stream, relayed = fed(b"".join(blocks)) if together else fed(*blocks)
    assert (relayed, stream.final) == (START + text("a") + b": bye\n\n", DONE)
    assert stream.usage() == Usage(32, 9, source=UsageSource.PROVIDER)


def test_the_line_feed_of_a_dropped_chunk_is_dropped_with_it() -> None:
    block = USAGE.replace(b"\n", b"\r\n")
    stream, relayed = fed(START, block[:-1], block[-1:], DONE)
    assert (relayed, stream.final) == (START, DONE)
    stream, relayed = fed(START, USAGE.replace(b"\n", b"\r"), text("a"), DONE)
    assert (relayed, stream.final) == (START + text("a"), DONE)


@pytest.mark.parametrize(
    "block",
    [
        data({"choices": [], "usage": None}),
        data({"choices": [], "prompt_filter_results": [{"index": 0}]}),
        data({"choices": [], "usage": 5}),
        data({"choices": None, "usage": counts(1, 1)}),
        data({"usage": counts(1, 1)}),
        chunk({"content": "a"}, usage=counts(1, 1)),
        chunk({}, "stop", x_groq={"usage": counts(1, 1)}),
        data({"choices": [], "x": {"choices": [], "usage": counts(1, 1)}}),
    ],
)
def test_what_only_resembles_the_usage_chunk_is_relayed(block: bytes) -> None:
    _, relayed = fed(START, block, DONE)
    assert relayed == START + block


def test_a_whole_delta_is_relayed_as_the_same_object() -> None:
    stream, _ = fed(START)
    for block in (text("a"), text("a", usage=None), chunk({"tool_calls": [{"index": 0}]})):
        assert stream.feed(block) is block


def test_half_an_event_is_held_back() -> None:
    stream, relayed = fed(START, text("a")[:-1])
    assert relayed == START
    assert stream.held == len(text("a")) - 1
    assert stream.feed(b"\n" + FINISH[:5]) == text("a")
    assert stream.held == 5


@pytest.mark.parametrize("rest", [b"", DONE, b"more"])
@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ERROR, "server_error"),
        (NAMED_ERROR, "server_error"),
        (data({"error": {"message": "x", "code": "overloaded"}}), "overloaded"),
        (data({"error": "gone"}), None),
        (chunk({"content": ""}, "error", error={"code": 502, "message": "gone"}), None),
        (frame("error", b"gone"), None),
        (frame("error", b"[DONE]"), None),
        (frame("error", b'{"type":"server_error"}'), None),
        (frame("error", b"\xff"), None),
    ],
)
def test_a_providers_error_is_terminal_and_relayed_as_it_is(
    error: bytes, word: str | None, rest: bytes
) -> None:
    stream, relayed = fed(START + text("a") + error + rest)
    assert relayed == START + text("a")
    assert (stream.final, stream.ended, stream.error_type) == (error + rest, "error", word)


@pytest.mark.parametrize("error", [None, False, "", {}])
def test_an_error_that_says_nothing_is_none(error: object) -> None:
    block = chunk({"content": "a"}, error=error)
    stream, relayed = fed(START, block, DONE)
    assert (relayed, stream.ended) == (START + block, "done")


def test_what_follows_the_end_is_passed_on_unchanged() -> None:
    stream, _ = fed(START, DONE + USAGE + b": bye")
    assert stream.final == DONE + USAGE + b": bye"
    assert stream.feed(USAGE) == USAGE
    assert stream.feed(text("late")) == text("late")
    assert stream.usage().source == UsageSource.ESTIMATE


def test_the_words_of_the_grammar_inside_text_are_text() -> None:
    words = 'data: [DONE]\n\nevent: error\ndata: {"error":{"type":"x"},"choices":[],"usage":{}}\n\n\u2028\x85'
    stream, relayed = fed(START, text(words), chunk({"tool_calls": [{"function": {"arguments": words}}]}))
    assert relayed.endswith(text(words) + chunk({"tool_calls": [{"function": {"arguments": words}}]}))
    assert (stream.final, stream.usage().source) == (None, UsageSource.ESTIMATE)


@pytest.mark.parametrize(
    "block",
    [
        b"data: [DONE]\n\n",
        b"data:[DONE]\r\n\r\n",
        b"data: [DONE] \r\r",
        b": x\nevent: done\ndata: [DONE]\n\n",
    ],
)
def test_the_end_is_found_however_it_is_written(block: bytes) -> None:
    stream, relayed = fed(START, block)
    assert (relayed, stream.final, stream.ended) == (START, block, "done")


@pytest.mark.parametrize(
    "block", [b"data: DONE\n\n", b"[DONE]\n\n", b"\n\n", b": [DONE]\n\n", b"data: 5\n\n"]
)
def test_what_only_resembles_the_end_is_relayed(block: bytes) -> None:
    stream, relayed = fed(START, block)
    assert (relayed, stream.final) == (START + block, None)


def test_a_byte_order_mark_does_not_hide_the_first_event() -> None:
    stream, relayed = fed(b"\xef\xbb\xbf" + ERROR)
    assert (relayed, stream.ended) == (b"", "error")


def test_nothing_and_comments_are_no_start() -> None:
    stream, relayed = fed(b"", b": ping\n\n")
    assert (relayed, stream.started, stream.usage()) == (b": ping\n\n", False, NO_USAGE)
    assert fed(START)[0].started


def test_an_error_before_any_chunk_counts_nothing() -> None:
    assert fed(ERROR)[0].usage() == NO_USAGE


def test_a_stream_that_breaks_is_estimated_from_its_text() -> None:
    stream = ChatStream(include_usage=False, request_bytes=400)
    stream.feed(START + text("x" * 40) + chunk({"tool_calls": [{"function": {"arguments": 'a"' * 20}}]}))
    # Escapes are counted as they stand.
    assert stream.usage() == Usage(100, (40 + 60) // 4, source=UsageSource.ESTIMATE)


@pytest.mark.parametrize("field", ["content", "refusal", "reasoning_content", "reasoning"])
@pytest.mark.parametrize("how", [{}, {"separators": (", ", ": ")}])
def test_every_text_of_a_delta_is_measured(field: str, how: dict[str, object]) -> None:
    delta = {"role": "assistant", "content": None, field: "x" * 39 + '"'}
    stream, _ = fed(data({"choices": [{"delta": delta}]}, **how))
    assert stream.usage().output_tokens == 41 // 4


def test_without_the_providers_counts_a_whole_stream_is_an_estimate() -> None:
    stream, _ = fed(START, text("x" * 40), DONE)
    assert stream.usage() == Usage(0, 10, source=UsageSource.ESTIMATE)


def test_counts_that_come_with_every_chunk_are_cumulative() -> None:
    stream, _ = fed(text("a", usage=counts(5, 1)), text("b", usage=counts(5, 2)))
    assert stream.usage() == Usage(5, 2, source=UsageSource.ESTIMATE)
    stream.feed(usage(5, 3, choices=[]) + DONE)
    assert stream.usage() == Usage(5, 3, source=UsageSource.PROVIDER)


@pytest.mark.parametrize("lie", [-1, 1.5, "7", None, True, 10**10, 10**40, []])
def test_a_count_that_lies_is_replaced_by_an_estimate(lie: object) -> None:
    stream, relayed = fed(START, text("x" * 400), usage(25, lie), DONE)
    assert relayed == START + text("x" * 400)
    assert stream.usage() == Usage(25, 100, source=UsageSource.ESTIMATE)
    stream, _ = fed(START, text("a"), usage(lie, 9), DONE)
    assert stream.usage() == Usage(0, 9, source=UsageSource.ESTIMATE)


def test_an_event_longer_than_the_bound_is_an_invalid_response() -> None:
    for chunks in ([b"data: " + b"x" * 95], [b"x" * 60, b"x" * 60], [text("x" * 100)], [DONE[:0], USAGE]):
        stream = ChatStream(include_usage=False, max_event_bytes=100)
        with pytest.raises(Failure) as caught:
            list(map(stream.feed, chunks))
        assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    stream = ChatStream(include_usage=False, max_event_bytes=len(FINISH))
    assert stream.feed(FINISH * 50) == FINISH * 50


def test_one_long_event_in_tiny_chunks_is_read_in_linear_time() -> None:
    stream = ChatStream(include_usage=False)
    started = time.thread_time()
    for _ in range(100_000):
        assert stream.feed(b"data: 0123456789") == b""
    assert len(stream.feed(b"\n\n")) == 1_600_002
    assert time.thread_time() - started < 2


BLOCKS = [
    *(
        text(words)
        for words in ("", "hello", "data: [DONE]", "é😀\u2028", "x" * 300, 'say "hi"\\', '"usage":{}')
    ),
    text("a", usage=None),
    text("a", usage=counts(5, 6)),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]}),
    FINISH,
    USAGE,
    USAGE,
    usage(3, -1, choices=[]),
    data({"choices": [], "usage": None}),
    b": comment\n\n",
    b"\n",
    b"\n\n\n",
    b"event: x\ndata: a\ndata: b\n\n",
    b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":4,"completion_tokens":5}}\n\n',
]
FINALS = [DONE, DONE + USAGE, ERROR, ERROR + DONE, NAMED_ERROR, DONE + b": x", b""]


def random_stream(pick: random.Random) -> bytes:
    """A stream with line ends of all kinds; where a CR and an LF happen to meet, they are one line
    end, and two events run into one."""
    blocks = [START, *pick.choices(BLOCKS, k=pick.randrange(8)), pick.choice(FINALS)]
    style = pick.choice([["\n"], ["\n"], ["\r\n"], ["\r"], ["\r", "\r\n"], ENDS])
    return "".join(pick.choice(style) if c == "\n" else c for c in b"".join(blocks).decode()).encode()


def cut(pick: random.Random, stream: bytes) -> list[bytes]:
    if pick.random() < 0.2:
        return [stream[index : index + 1] for index in range(len(stream))]
    places = sorted(pick.randrange(len(stream) + 1) for _ in range(pick.randrange(12)))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


def test_any_way_to_cut_a_stream_relays_the_same_bytes_and_counts_the_same() -> None:
    pick = random.Random(7)
    for _ in range(3_000):
        whole_stream = random_stream(pick)
        asked = pick.random() < 0.3
        whole, relayed_whole = fed(whole_stream, include_usage=asked)
        stream = ChatStream(include_usage=asked)
        relayed = after = b""
        for piece in cut(pick, whole_stream):
            ended = stream.final is not None
            out = stream.feed(piece)
            relayed, after = (relayed, after + out) if ended else (relayed + out, after)
        assert relayed == relayed_whole
        assert (stream.final or b"") + after == (whole.final or b"")
        assert (stream.ended, stream.error_type, stream.started) == (
            whole.ended,
            whole.error_type,
            whole.started,
        )
        assert stream.usage() == whole.usage()
        if asked:
            assert relayed + (whole.final or bytes(stream._held)) == whole_stream


def reference(stream: bytes) -> tuple[list[bytes], str | None]:
    """Data of the events a client that did not ask for usage gets, before the end and with it, and
    how the stream ends: read the slow way, line by line, whole stream at hand."""
    lines = stream.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    kept: list[bytes] = []
    type_, gathered = "", []
    for line in lines[:-1]:
        if line.startswith("event:"):
            type_ = line[6:].removeprefix(" ")
        elif line.startswith("data:"):
            gathered.append(line[5:].removeprefix(" "))
        elif not line:
            joined = "\n".join(gathered)
            if gathered:
                try:
                    value = json.loads(joined)
                except ValueError:
                    value = None
                # Where two events ran into one, the vendor's own clients stop at its first word.
                done = joined.startswith("[DONE]")
                if done or type_ == "error" or (value and "error" in value):
                    return kept, "done" if done else "error"
                if not (value and value.get("choices") == [] and value.get("usage")):
                    kept.append(joined.encode())
            type_, gathered = "", []
    return kept, None


def test_a_plain_reader_of_the_standard_sees_every_event_but_the_usage_nobody_asked_for() -> None:
    pick = random.Random(11)
    endings = set()
    for _ in range(3_000):
        whole_stream = random_stream(pick)
        expected, ended = reference(whole_stream)
        stream = ChatStream(include_usage=False)
        relayed = b""
        for piece in cut(pick, whole_stream):
            if stream.final is None:
                relayed += stream.feed(piece)
        assert stream.ended == ended
        assert reference(relayed)[0] == expected
        endings.add(ended)
    assert endings == {None, "done", "error"}
