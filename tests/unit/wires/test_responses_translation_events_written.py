"""A caller's stream of the Responses wire, event by event."""

import json
import time

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from tests.devices.fold import fold, unfold
from tests.unit.wires.responses_bodies import ANSWER, parsed
from tests.unit.wires.responses_events import CALL, NOW_S, REASONING, TEXT, blocks, heard, text, told, written
from tests.unit.wires.responses_strategies import answers
from triptych.core.conversation import Answer, Citation, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from triptych.core.events import (
    AnswerEnded,
    AnswerFailed,
    AnswerStarted,
    CitationGiven,
    Delta,
    Event,
    PartStarted,
    PartStopped,
    Pinged,
)
from triptych.wires.openai_responses import EventDecoder, EventEncoder, decode_answer, encode_answer


def test_the_caller_gets_every_event_of_the_vendor() -> None:
    answer = Answer(
        id="a",
        model="m",
        created_s=17,
        parts=(
            Reasoning("hm", Opaque("anthropic", "c2ln")),
            Text("hi", (Citation("https://a.test"),)),
            Refusal("no"),
            ToolCall("c", "f", "{}"),
        ),
        stop=Stop.TOOL_CALLS,
        usage=ANSWER.usage,
    )
    events = told(written(unfold(answer)))
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    assert [(one["type"].removeprefix("response."), one.get("output_index")) for one in events] == [
        ("created", None),
        ("in_progress", None),
        ("output_item.added", 0),
        ("reasoning_summary_part.added", 0),
        ("reasoning_summary_text.delta", 0),
        ("reasoning_summary_text.done", 0),
        ("reasoning_summary_part.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("content_part.added", 1),
        ("output_text.delta", 1),
        ("output_text.annotation.added", 1),
        ("output_text.done", 1),
        ("content_part.done", 1),
        ("content_part.added", 1),
        ("refusal.delta", 1),
        ("refusal.done", 1),
        ("content_part.done", 1),
        ("output_item.done", 1),
        ("output_item.added", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.done", 2),
        ("output_item.done", 2),
        ("completed", None),
    ]
    assert events[0]["response"] == events[1]["response"]
    assert (events[0]["response"]["status"], events[0]["response"]["output"]) == ("in_progress", [])
    assert [one["content_index"] for one in events if "content_index" in one] == [0] * 5 + [1] * 4
    whole = json.loads(encode_answer(answer, parsed()))
    del whole["output_text"]
    assert events[-1]["response"] == whole
    done = [one["item"] for one in events if one["type"] == "response.output_item.done"]
    assert done == whole["output"]
    added = [one["item"] for one in events if one["type"] == "response.output_item.added"]
    assert [item["id"] for item in added] == [item["id"] for item in done]
    assert {item["status"] for item in added} == {"in_progress"}


def test_an_item_that_was_cut_off_is_not_called_complete() -> None:
    answer = Answer(
        id="a", model="m", parts=(Text("x"), ToolCall("c", "f", '{"a')), stop=Stop.MAX_TOKENS, created_s=1
    )
    events = told(written(unfold(answer)))
    done = [one["item"]["status"] for one in events if one["type"] == "response.output_item.done"]
    assert done == ["completed", "incomplete"]
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_an_item_keeps_its_id_and_reasoning_the_id_it_was_encrypted_for() -> None:
    reasoning = Reasoning("hm", Opaque("openai", "gAAA", id="rs_7:ä"))
    stream = written(unfold(Answer(id="a", model="m", parts=(reasoning,))))
    items = [one["item"] for one in told(stream) if "item" in one]
    assert [item["id"] for item in items] == ["rs_a_0", "rs_a_0"]
    assert fold(heard(*blocks(stream))).parts == (reasoning,)


def test_an_item_with_nothing_sealed_has_no_field_for_it() -> None:
    stream = written(unfold(Answer(id="a", model="m", parts=(Reasoning("hm"),))))
    items = [one["item"] for one in told(stream) if "item" in one]
    assert [set(item) for item in items] == [{"type", "id", "summary", "status"}] * 2


def test_parts_without_text_are_written_too() -> None:
    events: list[Event] = [
        AnswerStarted("a", "m"),
        PartStarted(0, REASONING),
        PartStopped(0),
        PartStarted(1, TEXT),
        PartStopped(1),
        PartStarted(2, TEXT),
        Delta(2, TEXT, "x"),
        PartStopped(2),
        PartStarted(3, CALL, "c", "f"),
        PartStopped(3),
        AnswerEnded(Stop.END),
    ]
    output = told(written(events))[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call"]
    assert output[0]["summary"] == []
    assert [part["text"] for part in output[1]["content"]] == ["", "x"]


def test_a_citation_with_a_place_is_told_at_once() -> None:
    cited = Citation("https://a.test", "A", None, 0, 2)
    encoder = EventEncoder(parsed(), now_s=NOW_S)
    for one in (AnswerStarted("a", "m"), PartStarted(0, TEXT), Delta(0, TEXT, "hi")):
        encoder.encode(one)
    assert b'"annotation_index":0' in encoder.encode(CitationGiven(0, cited))
    assert encoder.encode(CitationGiven(0, Citation("https://b.test"))) == b""
    stopped = encoder.encode(PartStopped(0))
    assert b'"annotation_index":1' in stopped
    part = json.loads(blocks(stopped)[-1].data)["part"]
    assert [note["url"] for note in part["annotations"]] == ["https://a.test", "https://b.test"]


def test_a_ping_is_a_comment() -> None:
    assert written([AnswerStarted("a", "m"), Pinged()]).endswith(b"\n\n: ping\n\n")


def test_a_failure_of_the_provider_ends_with_two_frames() -> None:
    begun: list[Event] = [AnswerStarted("a", "m"), PartStarted(0, TEXT), Delta(0, TEXT, "so f")]
    stream = written([*begun, AnswerFailed("overloaded_error", "Overloaded")])
    names = [one.type for one in blocks(stream)]
    *_, error, failed = told(stream)
    assert names[-2:] == ["error", "response.failed"]
    assert error == {"error": {"message": "Overloaded", "type": "server_error", "code": "overloaded"}}
    assert failed["sequence_number"] == 5
    response = failed["response"]
    assert (response["id"], response["status"]) == ("a", "failed")
    assert response["error"] == {"code": "server_error", "message": "Overloaded"}
    (item,) = response["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "so f")


@pytest.mark.parametrize(
    ("failed", "error", "code"),
    [
        (
            AnswerFailed("rate_limit_error", "x"),
            {"type": "rate_limit_error", "code": "rate_limit_exceeded"},
            "rate_limit_exceeded",
        ),
        (AnswerFailed("odd_error", "x", "odd"), {"type": "odd_error", "code": "odd"}, "server_error"),
        (
            AnswerFailed("server_error", "x", "429"),
            {"type": "server_error", "code": "429"},
            "rate_limit_exceeded",
        ),
        (AnswerFailed("odd_error", "x"), {"type": "odd_error", "code": "stream_error"}, "server_error"),
    ],
)
def test_the_providers_word_for_its_error_is_kept(
    failed: AnswerFailed, error: dict[str, str], code: str
) -> None:
    first, second = told(written([failed]))
    assert first == {"error": {"message": "x", **error}}
    assert second["response"]["error"] == {"code": code, "message": "x"}
    assert (second["sequence_number"], second["response"]["model"]) == (0, "m")


def test_an_interrupted_stream_ends_with_what_was_said() -> None:
    encoder = EventEncoder(parsed(), now_s=NOW_S)
    events = unfold(Answer(id="a", model="m", parts=(Text("first"), ToolCall("c", "f", "{}"))))
    stream = b"".join(map(encoder.encode, events[:-2]))
    *before, error, failed = told(stream + encoder.interrupted("upstream stream interrupted", "stream_error"))
    assert error["error"] == {
        "message": "upstream stream interrupted",
        "type": "server_error",
        "code": "stream_error",
    }
    assert failed["sequence_number"] == len(before)
    output = failed["response"]["output"]
    assert [(item["type"], item["status"]) for item in output] == [
        ("message", "completed"),
        ("function_call", "incomplete"),
    ]


@given(answers(), st.integers(1, 9))
def test_a_stream_that_is_written_says_what_the_answer_says(answer: Answer, delta_chars: int) -> None:
    stream = written(unfold(answer, delta_chars=delta_chars))
    events = told(stream)
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    decoder = EventDecoder()
    translated = [one for block in blocks(stream) for one in decoder.decode(block)]
    assert fold(translated) == answer == decode_answer(msgspec.json.encode(events[-1]["response"]))


def test_a_delta_costs_microseconds() -> None:
    count = 20_000
    encoder, decoder = EventEncoder(parsed(), now_s=NOW_S), EventDecoder()
    for block in blocks(encoder.encode(AnswerStarted("a", "m")) + encoder.encode(PartStarted(0, TEXT))):
        decoder.decode(block)
    one = text("a few words")
    started = time.thread_time()
    for _ in range(count):
        for translated in decoder.decode(one):
            encoder.encode(translated)
    assert (time.thread_time() - started) / count < 200e-6


def has_calls_of_their_own(answer: Answer) -> bool:
    ids = [part.id for part in answer.parts if isinstance(part, ToolCall)]
    return len(set(ids)) == len(ids)


@settings(deadline=None, max_examples=20)
@given(answers().filter(has_calls_of_their_own))
def test_the_vendors_client_puts_a_stream_together(answer: Answer) -> None:
    stream = written(unfold(answer))
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    )
    with (
        httpx.Client(transport=transport) as http,
        OpenAI(api_key="k", base_url="http://a.test/v1", http_client=http) as client,
        client.responses.stream(model="m", input="x") as events,
    ):
        for _ in events:
            pass
        if answer.stop in (Stop.END, Stop.TOOL_CALLS):
            final = events.get_final_response()
            assert final.output_text == "".join(part.text for part in answer.parts if isinstance(part, Text))
            calls = [item.arguments for item in final.output if item.type == "function_call"]
            assert calls == [part.arguments for part in answer.parts if isinstance(part, ToolCall)]
