"""Streams of the Anthropic wire to events of the one model and back."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.devices.fold import check_grammar, fold, unfold
from tests.unit.wires.anthropic_strategies import answers
from triptych.core.conversation import (
    Answer,
    Citation,
    Opaque,
    Reasoning,
    Refusal,
    Stop,
    Text,
    ToolCall,
)
from triptych.core.events import (
    AnswerEnded,
    AnswerFailed,
    AnswerStarted,
    Delta,
    Event,
    PartKind,
    PartStarted,
    PartStopped,
    Pinged,
)
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage, UsageSource
from triptych.wires import sse
from triptych.wires.anthropic_messages import (
    EventDecoder,
    EventEncoder,
    decode_answer,
    encode_answer,
    parse_request,
)

PARSED = parse_request(
    b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]}', counting=False
)


SDK_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def encoded(events: Iterable[Event]) -> bytes:
    encoder = EventEncoder(PARSED, now_s=1)
    return b"".join(map(encoder.encode, events))


def split(stream: bytes) -> list[sse.Event]:
    events = (sse.parse_block(block + b"\n\n") for block in stream.split(b"\n\n") if block)
    return [event for event in events if event is not None]


def decoded(stream: Iterable[sse.Event]) -> list[Event]:
    decoder = EventDecoder()
    return [event for one in stream for event in decoder.decode(one)]


def wire(*datas: dict[str, Any]) -> list[sse.Event]:
    return [sse.Event(data["type"], json.dumps(data).encode()) for data in datas]


START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "model": "claude-sonnet-4-6",
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 5,
            "cache_read_input_tokens": 7,
            "output_tokens": 1,
            "service_tier": "standard",
        },
    },
}
STOP = {"type": "message_stop"}


def block(index: int, content_block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content_block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def ending(reason: str | None = "end_turn", **usage: Any) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 11} | usage}


CITED = {
    "type": "web_search_result_location",
    "url": "https://example.com",
    "title": "T",
    "cited_text": "so",
    "encrypted_index": "x",
}
THINKING = {"type": "thinking", "thinking": "", "signature": ""}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
TEXT = {"type": "text", "text": ""}
REAL = wire(
    START,
    {"type": "ping"},
    *block(
        0,
        THINKING,
        {"type": "thinking_delta", "thinking": "H"},
        {"type": "thinking_delta", "thinking": "m."},
        {"type": "signature_delta", "signature": "c2ln"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "ZGF0YQ"}),
    *block(
        2,
        TEXT | {"citations": []},
        {"type": "citations_delta", "citation": CITED},
        {"type": "citations_delta", "citation": {"type": "char_location", "document_index": 0}},
        {"type": "text_delta", "text": "It "},
        {"type": "text_delta", "text": ""},
        {"type": "text_delta", "text": "is."},
    ),
    *block(
        3,
        CALL,
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"a"'},
        {"type": "input_json_delta", "partial_json": ": 1}"},
    ),
    *block(4, CALL, {"type": "input_json_delta", "partial_json": ""}),
    {"type": "an_event_of_next_year", "index": 9},
    ending("tool_use", output_tokens_details={"thinking_tokens": 4}),
    STOP,
)


def test_a_real_stream_folds_to_its_answer() -> None:
    assert fold(decoded(REAL)) == Answer(
        id="msg_01",
        model="claude-sonnet-4-6",
        parts=(
            Reasoning("Hm.", Opaque("anthropic", "c2ln")),
            Reasoning("", Opaque("anthropic", "ZGF0YQ", redacted=True)),
            Text("It is.", (Citation("https://example.com", "T", "so"),)),
            ToolCall("toolu_1", "f", '{"a": 1}'),
            ToolCall("toolu_1", "f", "{}"),
        ),
        stop=Stop.TOOL_CALLS,
        usage=Usage(3, 11, 7, 5, 4, UsageSource.PROVIDER),
        service_tier="default",
    )


def test_the_start_says_what_is_known_of_the_input() -> None:
    started = decoded(REAL)[0]
    assert isinstance(started, AnswerStarted)
    assert started.usage is not None
    assert (started.usage.input_tokens, started.usage.cache_read_tokens) == (3, 7)


def test_the_type_is_read_from_the_data_when_there_is_no_event_field() -> None:
    assert decoded(sse.Event("", event.data) for event in REAL) == decoded(REAL)


@given(answers(), st.integers(1, 9))
def test_what_the_wire_can_say_comes_back_as_it_was(answer: Answer, delta_chars: int) -> None:
    events = decoded(split(encoded(unfold(answer, delta_chars=delta_chars))))
    assert fold(events) == answer


@given(answers())
def test_a_stream_amounts_to_the_whole_answer(answer: Answer) -> None:
    assert fold(decoded(split(encoded(unfold(answer))))) == decode_answer(encode_answer(answer, PARSED))


@given(answers())
def test_the_vendors_sdk_reads_the_stream_as_the_whole_answer(answer: Answer) -> None:
    snapshot: Any = None
    json_bufs: dict[int, bytes] = {}
    for event in split(encoded(unfold(answer))):
        assert json.loads(event.data)["type"] == event.type
        snapshot = accumulate_event(
            event=SDK_EVENT.validate_json(event.data), current_snapshot=snapshot, json_bufs=json_bufs
        )
    whole = json.loads(encode_answer(answer, PARSED))
    read = json.loads(snapshot.to_json())
    # The SDK reads them in the first event, where they are not known yet. They stand in the last too.
    ending = json.loads(split(encoded(unfold(answer)))[-2].data)["usage"]
    for name in ("cache_creation", "service_tier"):
        assert read["usage"].pop(name) is None
        assert whole["usage"].pop(name) == ending.get(name)
    assert read == whole


@given(st.data())
def test_whatever_comes_the_grammar_holds_or_the_answer_is_invalid(data: st.DataObject) -> None:
    pool = [*REAL, *wire({"type": "error", "error": {"type": "overloaded_error", "message": "x"}})]
    chosen = data.draw(st.lists(st.sampled_from(pool), max_size=12))
    events: list[Event] = []
    decoder = EventDecoder()
    kind = FailureKind.UPSTREAM_INVALID_RESPONSE
    try:
        for event in [*REAL[: data.draw(st.integers(0, len(REAL)))], *chosen]:
            events += decoder.decode(event)
    except Failure as failure:
        kind = failure.kind
    assert kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    check_grammar(events)


@pytest.mark.parametrize(
    "broken",
    [
        [STOP],
        [START, START],
        [START, *block(0, TEXT)[:1], STOP],
        [START, *block(0, TEXT)[:1], *block(1, TEXT)],
        [START, *block(0, TEXT, {"type": "input_json_delta", "partial_json": "{"})],
        [START, *block(0, CALL, {"type": "text_delta", "text": "a"})],
        [START, *block(0, TEXT, {"type": "oracle_delta", "text": "a"})],
        [START, *block(0, {"type": "oracle"})],
        [START, *block(0, CALL | {"id": ""})],
        [START, *block(0, TEXT)[:1], {"type": "content_block_stop", "index": 1}],
        [START, {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}],
        [START | {"message": {}}],
    ],
)
def test_what_breaks_the_grammar_is_an_invalid_answer(broken: list[dict[str, Any]]) -> None:
    with pytest.raises(Failure) as caught:
        decoded(wire(*broken))
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_data_that_is_not_json_is_an_invalid_answer() -> None:
    for type_ in ("message_start", "", "content_block_delta"):
        with pytest.raises(Failure) as caught:
            decoded([*REAL[:3], sse.Event(type_, b"oops")])
        assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_what_a_block_starts_with_is_not_lost() -> None:
    events = decoded(
        wire(
            START,
            *block(0, {"type": "text", "text": "a", "citations": [CITED]}),
            *block(1, {"type": "thinking", "thinking": "b", "signature": "s"}),
            *block(2, CALL | {"input": {"c": 1}}),
            ending(),
            STOP,
        )
    )
    assert fold(events).parts == (
        Text("a", (Citation("https://example.com", "T", "so"),)),
        Reasoning("b", Opaque("anthropic", "s")),
        ToolCall("toolu_1", "f", '{"c": 1}'),
    )


def test_without_a_stop_reason_the_last_part_decides() -> None:
    assert fold(decoded(wire(START, *block(0, CALL), ending(None), STOP))).stop is Stop.TOOL_CALLS
    assert fold(decoded(wire(START, *block(0, TEXT), STOP))).stop is Stop.END


def test_a_stream_that_was_not_counted_has_no_usage() -> None:
    start = START | {"message": START["message"] | {"usage": {}}}
    assert fold(decoded(wire(start, *block(0, TEXT), ending(), STOP))).usage is None


def test_the_providers_error_is_an_event_and_the_last_one() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    events = decoded(wire(START, *block(0, TEXT)[:1], error, STOP))
    assert events[-1] == AnswerFailed("overloaded_error", "Overloaded")
    check_grammar(events)
    unreadable = decoded([sse.Event("error", b"oops")])
    assert unreadable == [AnswerFailed("api_error", "upstream reported an error inside the stream")]


# What the encoder writes.

STARTED = AnswerStarted("msg_1", "m")
USED = Usage(1, 2, 3, 4, 0, UsageSource.PROVIDER)


def test_a_text_delta_is_written_as_the_vendor_writes_it() -> None:
    encoder = EventEncoder(PARSED, now_s=1)
    encoder.encode(STARTED)
    assert encoder.encode(PartStarted(0, PartKind.TEXT)) == b""
    assert encoder.encode(Delta(0, PartKind.TEXT, "a\n")) == (
        b"event: content_block_start\n"
        b'data: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":"","citations":[]}}\n\n'
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\\n"}}\n\n'
    )


def test_a_part_in_which_nothing_is_said_has_no_block_and_takes_no_number() -> None:
    stream = encoded(
        [
            STARTED,
            PartStarted(0, PartKind.TEXT),
            PartStopped(0),
            PartStarted(1, PartKind.TOOL_CALL, "t", "f"),
            PartStopped(1),
            AnswerEnded(Stop.TOOL_CALLS),
        ]
    )
    datas = [json.loads(event.data) for event in split(stream)]
    assert [data["type"] for data in datas] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert datas[1]["index"] == 0


def test_the_end_says_why_and_how_much() -> None:
    stream = encoded([STARTED, AnswerEnded(Stop.SEQUENCE, "END", USED, "priority")])
    assert json.loads(split(stream)[-2].data) == {
        "type": "message_delta",
        "delta": {
            "stop_reason": "stop_sequence",
            "stop_sequence": "END",
            "stop_details": None,
            "container": None,
        },
        "usage": {
            "input_tokens": 1,
            "cache_creation_input_tokens": 4,
            "cache_read_input_tokens": 3,
            "output_tokens": 2,
            "output_tokens_details": {"thinking_tokens": 0},
            "server_tool_use": None,
            "service_tier": "priority",
        },
    }


def test_the_tier_is_told_at_the_start_where_the_provider_tells_it_then() -> None:
    assert [event.service_tier for event in decoded(REAL) if isinstance(event, AnswerStarted)] == ["default"]
    started = encoded([AnswerStarted("msg_1", "m", service_tier="priority")])
    assert json.loads(split(started)[0].data)["message"]["usage"]["service_tier"] == "priority"


def test_that_nothing_was_cached_is_told_where_it_is_known() -> None:
    nothing = Usage(1, 2, 3, 0, 0, UsageSource.PROVIDER)
    for used, told in (
        (nothing, {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0}),
        (USED, None),
    ):
        usage = json.loads(split(encoded([STARTED, AnswerEnded(Stop.END, None, used)]))[-2].data)["usage"]
        assert usage.get("cache_creation") == told


def test_a_call_starts_with_who_makes_it() -> None:
    started = encoded([STARTED, PartStarted(0, PartKind.TOOL_CALL, "t", "f")])
    assert json.loads(split(started)[-1].data)["content_block"] == {
        "type": "tool_use",
        "id": "t",
        "name": "f",
        "input": {},
        "caller": {"type": "direct"},
    }


def test_words_of_refusal_are_text_and_the_reason() -> None:
    stream = encoded(unfold(Answer(id="a", model="m", parts=(Refusal("No."),))))
    answer = fold(decoded(split(stream)))
    assert (answer.parts, answer.stop) == ((Text("No."),), Stop.REFUSED)


@pytest.mark.parametrize(
    ("type_", "code", "expected"),
    [
        ("overloaded_error", None, "overloaded_error"),
        ("server_error", None, "api_error"),
        ("server_error", "rate_limit_exceeded", "rate_limit_error"),
        ("tokens", "rate_limit_exceeded", "rate_limit_error"),
        ("insufficient_quota", "insufficient_quota", "billing_error"),
        ("invalid_request_error", "context_length_exceeded", "invalid_request_error"),
        ("", "unheard_of", "api_error"),
        ("too_many_requests", "too_many_requests", "rate_limit_error"),
        ("server_error", "429", "rate_limit_error"),
        ("server_error", "503", "overloaded_error"),
        ("server_error", "502", "api_error"),
    ],
)
def test_a_providers_failure_is_said_in_the_words_of_this_wire(
    type_: str, code: str | None, expected: str
) -> None:
    stream = encoded([STARTED, AnswerFailed(type_, "Sorry", code)])
    assert stream.endswith(
        b'event: error\ndata: {"type":"error","error":{"type":"%b","message":"Sorry"}}\n\n'
        % expected.encode()
    )


def test_a_sign_of_life_is_a_ping() -> None:
    assert encoded([Pinged()]) == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert decoded(split(encoded([Pinged()]))) == [Pinged()]
