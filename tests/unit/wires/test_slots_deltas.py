"""Streamed text: which part it belongs to, what it is, and where it stands in the event's data."""

import json

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.wires import anthropic_messages, openai_chat, openai_responses
from triptych.wires.json_strings import escaped
from triptych.wires.slots import Delta, Kind
from triptych.wires.splice import Edit, splice
from triptych.wires.sse import Event

Seen = tuple[tuple[str | int, ...], Kind, str, bool]


def seen(deltas: list[Delta]) -> list[Seen]:
    return [(delta.part, delta.kind, delta.text, delta.is_fragment) for delta in deltas]


def messages_event(**members: object) -> Event:
    return Event(str(members["type"]), json.dumps(members).encode())


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"type": "text_delta", "text": "Hi"}, ((3, "text"), Kind.TEXT, "Hi")),
        ({"type": "input_json_delta", "partial_json": '{"a'}, ((3, "partial_json"), Kind.JSON_STRING, '{"a')),
        ({"type": "thinking_delta", "thinking": "Hm"}, ((3, "thinking"), Kind.REASONING, "Hm")),
        ({"type": "signature_delta", "signature": "EqQ="}, ((3, "signature"), Kind.OPAQUE, "EqQ=")),
    ],
)
def test_a_piece_of_a_block_names_its_block(delta: dict[str, str], expected: Seen) -> None:
    event = messages_event(type="content_block_delta", index=3, delta=delta)
    assert seen(anthropic_messages.text_deltas(event)) == [(*expected, True)]


def test_a_citation_and_what_starts_a_block_are_whole() -> None:
    citation = {"type": "char_location", "cited_text": "c", "document_title": "t", "document_index": 0}
    event = messages_event(
        type="content_block_delta", index=0, delta={"type": "citations_delta", "citation": citation}
    )
    assert seen(anthropic_messages.text_deltas(event)) == [
        ((), Kind.TEXT, "c", False),
        ((), Kind.TEXT, "t", False),
    ]
    block = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"k": "v"}}
    event = messages_event(type="content_block_start", index=0, content_block=block)
    assert [(d.kind, d.text, d.is_key, d.is_fragment) for d in anthropic_messages.text_deltas(event)] == [
        (Kind.NAME, "f", False, False),
        (Kind.NAME, "k", True, False),
        (Kind.TEXT, "v", False, False),
    ]


def test_events_without_text_have_none() -> None:
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
             "stop_reason": None, "usage": {"input_tokens": 1, "service_tier": "standard"}}  # fmt: skip
    for event in (
        messages_event(type="message_start", message=start),
        messages_event(type="ping"),
        messages_event(type="content_block_stop", index=0),
        messages_event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}),
        messages_event(type="message_stop"),
    ):
        assert anthropic_messages.text_deltas(event) == []


def chunk(*choices: dict[str, object]) -> Event:
    whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x",
             "choices": list(choices), "obfuscation": "9Xab"}  # fmt: skip
    return Event("", json.dumps(whole).encode())


def test_pieces_of_choices_and_calls_are_told_apart_by_the_providers_indexes() -> None:
    calls = [
        {"index": 2, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 5, "function": {"arguments": '{"a'}},
    ]
    event = chunk(
        {"index": 1, "delta": {"content": "Hi", "tool_calls": calls}},
        {"index": 0, "delta": {"role": "assistant", "reasoning_content": "Hm", "refusal": "No"}},
    )
    assert seen(openai_chat.text_deltas(event)) == [
        ((1, "content"), Kind.TEXT, "Hi", True),
        ((1, "tool_calls", 2, "function", "name"), Kind.NAME, "f", True),
        ((1, "tool_calls", 5, "function", "arguments"), Kind.JSON_STRING, '{"a', True),
        ((0, "reasoning_content"), Kind.REASONING, "Hm", True),
        ((0, "refusal"), Kind.TEXT, "No", True),
    ]


def test_calls_without_an_index_are_told_apart_by_their_place() -> None:
    calls = [{"function": {"arguments": "{"}}, {"index": None, "function": {"arguments": "["}}]
    assert [delta.part[2] for delta in openai_chat.text_deltas(chunk({"delta": {"tool_calls": calls}}))] == [
        0,
        1,
    ]


def test_the_tokens_of_logprobs_repeat_the_text() -> None:
    event = chunk({"index": 0, "delta": {}, "logprobs": {"content": [{"token": "Hi", "top_logprobs": []}]}})
    assert seen(openai_chat.text_deltas(event)) == [((), Kind.TEXT, "Hi", False)]


def test_the_end_of_a_chat_stream_has_no_text() -> None:
    assert openai_chat.text_deltas(Event("", b"[DONE]")) == []


def response_event(**members: object) -> Event:
    return Event(str(members["type"]), json.dumps(members).encode())


@pytest.mark.parametrize(
    ("type_", "indexes", "inner", "kind"),
    [
        ("response.output_text", {"content_index": 2}, 2, Kind.TEXT),
        ("response.refusal", {"content_index": 0}, 0, Kind.TEXT),
        ("response.function_call_arguments", {}, -1, Kind.JSON_STRING),
        ("response.mcp_call_arguments", {}, -1, Kind.JSON_STRING),
        ("response.custom_tool_call_input", {}, -1, Kind.TEXT),
        ("response.code_interpreter_call_code", {}, -1, Kind.TEXT),
        ("response.reasoning_text", {"content_index": 1}, 1, Kind.REASONING),
        ("response.reasoning_summary_text", {"summary_index": 1}, 1, Kind.REASONING),
        ("response.shell_call_command", {"command_index": 4}, 4, Kind.TEXT),
        ("response.audio", {}, -1, Kind.OPAQUE),
        ("response.audio.transcript", {}, -1, Kind.TEXT),
    ],
)
def test_a_piece_of_a_response_names_its_text(
    type_: str, indexes: dict[str, int], inner: int, kind: Kind
) -> None:
    event = response_event(
        delta="Hi", type=f"{type_}.delta", output_index=7, item_id="msg_1", obfuscation="9Xab", **indexes
    )
    expected: list[Seen] = [((type_, 7, inner), kind, "Hi", True)]
    assert seen(openai_responses.text_deltas(event)) == expected
    untyped = Event(event.type, event.data.replace(f', "type": "{type_}.delta"'.encode(), b""))
    assert untyped.data != event.data
    assert seen(openai_responses.text_deltas(untyped)) == expected


@pytest.mark.parametrize(
    ("type_", "member", "kind"),
    [
        ("response.output_text", "text", Kind.TEXT),
        ("response.reasoning_text", "text", Kind.REASONING),
        ("response.function_call_arguments", "arguments", Kind.JSON_STRING),
        ("response.refusal", "refusal", Kind.TEXT),
    ],
)
def test_the_text_repeated_whole_is_of_the_same_part(type_: str, member: str, kind: Kind) -> None:
    event = response_event(**{"type": f"{type_}.done", "output_index": 1, "content_index": 0, member: "Hi"})
    assert seen(openai_responses.text_deltas(event)) == [((type_, 1, 0), kind, "Hi", False)]


def test_what_a_shell_says_on_two_channels_is_two_parts() -> None:
    event = response_event(
        type="response.shell_call_output_content.delta",
        output_index=0,
        command_index=1,
        delta={"stdout": "o", "stderr": "e"},
    )
    family = "response.shell_call_output_content"
    assert seen(openai_responses.text_deltas(event)) == [
        ((family, 0, 1, "stdout"), Kind.TEXT, "o", True),
        ((family, 0, 1, "stderr"), Kind.TEXT, "e", True),
    ]


def test_the_whole_response_at_the_end_is_read_too() -> None:
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}  # fmt: skip
    response = {"id": "resp_1", "status": "completed", "output": [item], "instructions": "Be kind"}
    event = response_event(type="response.completed", response=response)
    assert seen(openai_responses.text_deltas(event)) == [
        ((), Kind.TEXT, "Hi", False),
        ((), Kind.TEXT, "Be kind", False),
    ]


def test_a_pair_cut_in_two_comes_back_as_it_was() -> None:
    data = rb'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\ud83d"}}'
    (delta,) = anthropic_messages.text_deltas(Event("content_block_delta", data))
    assert delta.text == "a\ud83d"
    assert delta.part == (0, "text")
    assert splice(data, [Edit(delta.start, delta.end, escaped(delta.text))]) == data


def test_a_delta_can_be_replaced_where_it_stands() -> None:
    event = chunk({"index": 0, "delta": {"content": "[PERSON_1] \n"}, "finish_reason": None})
    (delta,) = openai_chat.text_deltas(event)
    changed = splice(event.data, [Edit(delta.start, delta.end, escaped('Ada "L" é\n'))])
    expected = json.loads(event.data)
    expected["choices"][0]["delta"]["content"] = 'Ada "L" é\n'
    assert json.loads(changed) == expected


@pytest.mark.parametrize("wire", [anthropic_messages, openai_chat, openai_responses])
@pytest.mark.parametrize("data", [b"", b"{", b"<html>", b'{"a":1}}'])
def test_an_event_that_is_no_json_is_the_providers_fault(wire: object, data: bytes) -> None:
    with pytest.raises(Failure) as broken:
        wire.text_deltas(Event("x", data))  # type: ignore[attr-defined]
    assert broken.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


@pytest.mark.parametrize("data", [b'"text"', b"[1]", b"null", b'["choices",[{"delta":{"content":"x"}}]]'])
def test_an_event_that_is_no_object_has_text_of_no_part(data: bytes) -> None:
    for wire in (anthropic_messages, openai_chat, openai_responses):
        assert all(not delta.part for delta in wire.text_deltas(Event("x.delta", data)))
