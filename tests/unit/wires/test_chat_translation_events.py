"""Streams of the chat wire as they are read, chunk by chunk."""

import pytest

from tests.devices.fold import fold
from tests.unit.wires.chat_chunks import DONE, ROLE, USAGE, annotation, call, chunk, decoded, event
from triptych.core.conversation import Answer, Citation, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from triptych.core.events import (
    AnswerEnded,
    AnswerFailed,
    AnswerStarted,
    CitationGiven,
    Delta,
    PartKind,
    PartStarted,
    PartStopped,
)
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage, UsageSource
from triptych.wires import sse
from triptych.wires.openai_chat import EventDecoder


def folded(*events: sse.Event) -> Answer:
    return fold(decoded(*events))


def parts(*events: sse.Event) -> tuple[object, ...]:
    return folded(ROLE, *events, DONE).parts


def refusal(*events: sse.Event) -> Failure:
    decoder = EventDecoder()
    *before, last = events
    for one in before:
        decoder.decode(one)
    with pytest.raises(Failure) as raised:
        decoder.decode(last)
    assert raised.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    return raised.value


def test_a_stream_as_openai_writes_it_is_read_event_by_event() -> None:
    assert decoded(
        ROLE,
        chunk({"content": "Let "}),
        chunk({"content": "me see."}),
        call(id="c1", type="function", name="f", arguments=""),
        call(arguments='{"a"'),
        call(arguments=":1}"),
        chunk({}, "tool_calls", service_tier="default"),
        event({"id": "c1", "choices": [], "usage": USAGE}),
        DONE,
    ) == [
        AnswerStarted("c1", "m", 5),
        PartStarted(0, PartKind.TEXT),
        Delta(0, PartKind.TEXT, "Let "),
        Delta(0, PartKind.TEXT, "me see."),
        PartStopped(0),
        PartStarted(1, PartKind.TOOL_CALL, "c1", "f"),
        Delta(1, PartKind.TOOL_CALL, '{"a"'),
        Delta(1, PartKind.TOOL_CALL, ":1}"),
        PartStopped(1),
        AnswerEnded(Stop.TOOL_CALLS, None, Usage(13, 9, 7, 0, 2, UsageSource.PROVIDER), "default"),
    ]


def test_the_tier_is_known_from_the_start_where_the_first_chunk_tells_it() -> None:
    assert decoded(chunk({"content": "x"}, service_tier="priority"))[0] == AnswerStarted(
        "c1", "m", 5, service_tier="priority"
    )


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_comes_before_the_text_by_either_name(name: str) -> None:
    assert parts(chunk({name: "h", "content": None}), chunk({name: "m"}), chunk({"content": "x"})) == (
        Reasoning("hm"),
        Text("x"),
    )


def test_a_part_stops_when_another_begins() -> None:
    assert parts(
        chunk({"reasoning_content": "hm", "content": "a"}),
        call(0, id="c1", name="f", arguments="{}"),
        chunk({"content": "b"}),
        chunk({"refusal": "no"}),
        call(1, id="c2", name="g", arguments="{}"),
    ) == (
        Reasoning("hm"),
        Text("a"),
        ToolCall("c1", "f", "{}"),
        Text("b"),
        Refusal("no"),
        ToolCall("c2", "g", "{}"),
    )


def test_content_in_parts_is_read() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    assert parts(chunk({"content": thinking}), chunk({"content": [{"type": "text", "text": "x"}]})) == (
        Reasoning("hm"),
        Text("x"),
    )
    refusal(ROLE, chunk({"content": [{"type": "hologram"}]}))


def test_parallel_calls_that_come_one_after_the_other() -> None:
    assert parts(
        call(0, id="c1", name="f", arguments='{"a":'),
        call(0, id="c1", name="f", arguments="1}"),
        call(1, id="c2", name="f", arguments=""),
        call(0, arguments=""),
        call(1, arguments="{}"),
    ) == (ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "f", "{}"))


def test_a_fragment_of_a_call_that_another_part_ended_is_refused() -> None:
    started = (ROLE, call(0, id="c1", name="f", arguments="{"))
    late = call(0, arguments="}")
    refusal(*started, chunk({"content": "x"}), late)
    refusal(*started, chunk({}, "tool_calls"), late)
    refusal(*started, late, call(1, id="c2", name="g", arguments=""), late)


def test_a_call_that_nobody_named_is_refused() -> None:
    refusal(ROLE, call(0, id="c1", arguments="{}"))
    refusal(ROLE, chunk({"tool_calls": [{"index": 0}]}))


@pytest.mark.parametrize("index", [0, None])
def test_gemini_sends_whole_calls_with_one_index_or_none(index: int | None) -> None:
    whole = [
        {"index": index, "id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for n in range(3)
    ]
    calls = tuple(ToolCall(f"c{n}", "f", "{}") for n in range(3))
    assert parts(chunk({"tool_calls": whole}, "stop")) == calls
    assert parts(*(chunk({"tool_calls": [one]}) for one in whole)) == calls


def test_calls_without_index_and_id_begin_with_their_name() -> None:
    assert parts(
        call(None, name="f", arguments='{"a":'),
        call(None, arguments="1}"),
        call(None, name="f", arguments={"b": 2}),
    ) == (ToolCall("call_c1_0", "f", '{"a":1}'), ToolCall("call_c1_1", "f", '{"b":2}'))


def test_a_call_without_arguments_has_an_object_of_none() -> None:
    assert parts(call(0, id="c1", name="f"), call(1, id="c2", name="g", arguments="")) == (
        ToolCall("c1", "f", "{}"),
        ToolCall("c2", "g", "{}"),
    )


def test_the_end_is_at_done_after_the_usage() -> None:
    decoder = EventDecoder()
    for one in (ROLE, chunk({"content": "x"}), chunk({}, "length")):
        decoder.decode(one)
    assert decoder.decode(event({"choices": [], "usage": USAGE})) == []
    (end,) = decoder.decode(DONE)
    assert isinstance(end, AnswerEnded) and end.stop is Stop.MAX_TOKENS and end.usage is not None
    assert decoder.decode(chunk({"content": "late"})) == decoder.decode(DONE) == []


def test_an_end_without_a_reason_is_an_end() -> None:
    assert folded(ROLE, chunk({"content": "x"}), DONE).stop is Stop.END
    assert folded(ROLE, call(0, id="c", name="f"), DONE).stop is Stop.TOOL_CALLS
    assert folded(ROLE, call(0, id="c", name="f"), chunk({}, "stop"), DONE).stop is Stop.TOOL_CALLS


def test_a_server_that_tells_the_stop_sequence_is_believed() -> None:
    choice = {"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}
    answer = folded(ROLE, chunk({"content": "x"}), event({"choices": [choice]}), DONE)
    assert (answer.stop, answer.stop_sequence) == (Stop.SEQUENCE, "END")


def test_a_chunk_that_names_no_answer_does_not_start_one() -> None:
    filters = event({"id": "", "model": "", "choices": [], "prompt_filter_results": []})
    assert decoded(filters, ROLE)[0] == AnswerStarted("c1", "m", 5)


def test_an_answer_of_nothing_is_empty() -> None:
    assert folded(ROLE, chunk({}, "stop"), DONE).parts == ()


@pytest.mark.parametrize(
    "events",
    [
        (DONE,),
        (event({"choices": [], "usage": USAGE}), DONE),
        (sse.Event("", b"{"),),
        (sse.Event("", b"<html>"),),
        (event([]),),
        (event({"choices": 7}),),
        (chunk({"content": 7}),),
        (event({"choices": [{"index": 1, "delta": {"content": "other"}}]}),),
        (ROLE, chunk({"content": "x"}, "error"), DONE),
        (ROLE, chunk({"images": [{"type": "image_url", "image_url": {"url": "data:,"}}]})),
        (ROLE, chunk({"audio": {"id": "a"}})),
        (ROLE, chunk({"function_call": {"name": "f", "arguments": ""}})),
    ],
)
def test_what_cannot_be_understood_is_the_providers_failure(events: tuple[sse.Event, ...]) -> None:
    refusal(*events)


def test_half_an_emoji_is_no_reason_to_lose_a_stream() -> None:
    half = sse.Event("", b'{"id":"c1","choices":[{"delta":{"content":"x\\ud83d"}}]}')
    assert parts(half) == (Text("x\ufffd"),)


@pytest.mark.parametrize(
    ("erring", "failed"),
    [
        (
            event({"error": {"message": "Busy", "type": "server_error", "code": "overloaded"}}),
            ("server_error", "Busy", "overloaded"),
        ),
        (event({"error": {"message": "Busy", "code": 503}}), ("server_error", "Busy", "503")),
        (event({"error": "Busy"}), ("server_error", "Busy", None)),
        (event({"error": {"message": "Busy", "type": "t"}}, "error"), ("t", "Busy", None)),
        (event({"message": "Busy", "type": "t"}, "error"), ("t", "Busy", None)),
        (
            sse.Event("error", b"oops"),
            ("server_error", "upstream reported an error inside the stream", None),
        ),
    ],
)
def test_the_providers_own_error_ends_the_stream(
    erring: sse.Event, failed: tuple[str, str, str | None]
) -> None:
    for before in ((), (ROLE,), (ROLE, chunk({"content": "x"}))):
        events = decoded(*before, erring, chunk({"content": "late"}), DONE)
        assert events[-1] == AnswerFailed(*failed)


def test_citations_count_from_the_beginning_of_their_text() -> None:
    events = decoded(
        ROLE,
        chunk({"annotations": [annotation(0, 1)]}),
        chunk({"content": "One."}),
        call(0, id="c", name="f", arguments="{}"),
        chunk({"content": "Two."}),
        chunk({"content": "", "annotations": [annotation(4, 7), annotation(0, 2)]}),
    )
    assert [one for one in events if isinstance(one, CitationGiven)] == [
        CitationGiven(2, Citation("https://a.test", "A", None, 0, 3)),
        CitationGiven(2, Citation("https://a.test", "A")),
    ]


def test_signed_reasoning_as_litellm_streams_it() -> None:
    def thought(text: str, signature: str = "") -> sse.Event:
        block = {"type": "thinking", "thinking": text, "signature": signature}
        return chunk({"reasoning_content": text, "thinking_blocks": [block]})

    redacted = {"type": "redacted_thinking", "data": "sealed"}
    assert parts(
        thought("h"),
        thought("m"),
        thought("", "sig"),
        chunk({"thinking_blocks": [redacted]}),
        thought("again"),
        chunk({"content": "x"}),
    ) == (
        Reasoning("hm", Opaque("anthropic", "sig")),
        Reasoning("", Opaque("anthropic", "sealed", redacted=True)),
        Reasoning("again"),
        Text("x"),
    )


def test_reasoning_that_comes_in_blocks_alone() -> None:
    unsigned = [{"type": "thinking", "thinking": "h"}], [{"type": "thinking", "thinking": "m"}]
    assert parts(*(chunk({"thinking_blocks": found}) for found in unsigned)) == (Reasoning("hm"),)
    signed = [{"type": "thinking", "thinking": "hm", "signature": "sig"}]
    assert parts(chunk({"thinking_blocks": signed})) == (Reasoning("hm", Opaque("anthropic", "sig")),)
