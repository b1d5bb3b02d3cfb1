"""Whole answers of the Anthropic wire to the one model and back."""

import json
from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given

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
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage, UsageSource
from triptych.wires.anthropic_messages import decode_answer, encode_answer, parse_request

PARSED = parse_request(
    b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]}', counting=False
)
REAL: dict[str, Any] = {
    "model": "claude-sonnet-4-6",
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ"},
        {
            "type": "text",
            "text": "It is.",
            "citations": [
                {
                    "type": "web_search_result_location",
                    "url": "https://example.com",
                    "title": "T",
                    "cited_text": "so",
                    "encrypted_index": "x",
                },
                {"type": "char_location", "cited_text": "so", "document_index": 0},
            ],
        },
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}, "caller": {"type": "direct"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "stop_details": None,
    "usage": {
        "input_tokens": 3,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 11,
        "output_tokens_details": {"thinking_tokens": 4},
        "service_tier": "standard",
    },
}


def answered(**fields: Any) -> Answer:
    return decode_answer(json.dumps(REAL | fields).encode())


def written(**fields: Any) -> Any:
    return json.loads(encode_answer(Answer(id="msg_1", model="m", **fields), PARSED))


@given(answers())
def test_what_the_wire_can_say_comes_back_as_it_was(answer: Answer) -> None:
    body = encode_answer(answer, PARSED)
    assert decode_answer(body) == answer
    Message.model_validate_json(body)


def test_a_real_answer_is_read() -> None:
    assert answered() == Answer(
        id="msg_01",
        model="claude-sonnet-4-6",
        parts=(
            Reasoning("Hm.", Opaque("anthropic", "c2ln")),
            Reasoning("", Opaque("anthropic", "ZGF0YQ", redacted=True)),
            Text("It is.", (Citation("https://example.com", "T", "so"),)),
            ToolCall("toolu_1", "f", '{"a": 1}'),
        ),
        stop=Stop.TOOL_CALLS,
        usage=Usage(3, 11, 7, 5, 4, UsageSource.PROVIDER),
        service_tier="default",
    )


@pytest.mark.parametrize(
    ("word", "stop"),
    [
        ("end_turn", Stop.END),
        ("max_tokens", Stop.MAX_TOKENS),
        ("stop_sequence", Stop.SEQUENCE),
        ("tool_use", Stop.TOOL_CALLS),
        ("pause_turn", Stop.END),
        ("refusal", Stop.REFUSED),
        ("model_context_window_exceeded", Stop.CONTEXT_WINDOW),
        ("a_word_of_next_year", Stop.END),
        (None, Stop.TOOL_CALLS),
    ],
)
def test_every_stop_reason_is_understood(word: str | None, stop: Stop) -> None:
    assert answered(stop_reason=word).stop is stop


def test_an_answer_without_a_stop_reason_and_without_a_call_has_ended() -> None:
    assert answered(content=[], stop_reason=None).stop is Stop.END


@pytest.mark.parametrize(
    "usage",
    [
        {},
        None,
        {"input_tokens": 1},
        {"input_tokens": -1, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": "many"},
    ],
)
def test_usage_that_is_not_counted_believably_is_none(usage: Any) -> None:
    assert answered(usage=usage).usage is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b'{"type":"error","error":{"type":"api_error","message":"x"}}',
        json.dumps(REAL | {"content": [{"type": "oracle"}]}).encode(),
        json.dumps(REAL | {"content": [{"type": "tool_use", "id": "t", "name": "f", "input": []}]}).encode(),
        json.dumps(REAL | {"content": [{"type": "tool_use", "name": "f", "input": {}}]}).encode(),
        json.dumps(REAL).encode().replace(b'"a": 1', b'"a": "\xff"'),
    ],
)
def test_what_cannot_be_understood_is_an_invalid_answer(body: bytes) -> None:
    with pytest.raises(Failure) as caught:
        decode_answer(body)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_half_an_emoji_is_read_as_a_replacement_character() -> None:
    body = json.dumps(REAL).encode().replace(b"It is.", b"It is \\ud83d")
    text = decode_answer(body).parts[2]
    assert isinstance(text, Text)
    assert text.text == "It is \ufffd"


def test_an_empty_text_is_no_part() -> None:
    assert answered(content=[{"type": "text", "text": ""}]).parts == ()


def test_words_of_refusal_are_text_and_the_reason() -> None:
    body = written(parts=(Refusal("No."),))
    assert body["content"] == [{"type": "text", "text": "No.", "citations": []}]
    assert body["stop_reason"] == "refusal"
    assert written(parts=(Refusal("No."),), stop=Stop.MAX_TOKENS)["stop_reason"] == "max_tokens"


def test_an_answer_that_was_not_counted_says_zero() -> None:
    body = written(parts=(Text("a"),))
    assert body["usage"]["input_tokens"] == body["usage"]["output_tokens"] == 0


def test_another_vendors_reasoning_is_shown_and_comes_back_as_it_was() -> None:
    reasoning = Reasoning("why", Opaque("openai", "enc", id="rs_1"))
    body = written(parts=(reasoning,))
    block = body["content"][0]
    assert block["type"] == "thinking"
    assert block["thinking"] == "why"
    assert block["signature"].startswith("openai:")
    assert decode_answer(json.dumps(body).encode()).parts == (reasoning,)


def test_arguments_that_were_cut_off_are_wrapped_and_come_back() -> None:
    call = ToolCall("t", "f", '{"path": "/et')
    body = written(parts=(call,), stop=Stop.MAX_TOKENS)
    assert body["content"][0]["input"] == {"INVALID_JSON": '{"path": "/et'}
    assert decode_answer(json.dumps(body).encode()).parts == (call,)


def test_a_message_has_every_field_that_the_vendor_writes() -> None:
    call = ToolCall("t", "f", "{}")
    used = Usage(1, 9, 2, 0, 4, UsageSource.PROVIDER)
    assert written(parts=(Text("a"), call), stop=Stop.TOOL_CALLS, usage=used, service_tier="default") == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "text", "text": "a", "citations": []},
            {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {
            "input_tokens": 1,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 2,
            "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
            "output_tokens": 9,
            "output_tokens_details": {"thinking_tokens": 4},
            "server_tool_use": None,
            "inference_geo": None,
            "service_tier": "standard",
        },
    }


@pytest.mark.parametrize("usage", [None, Usage(1, 2, 0, 3, 0, UsageSource.PROVIDER)])
def test_for_how_long_something_was_cached_is_not_made_up(usage: Usage | None) -> None:
    assert written(usage=usage)["usage"]["cache_creation"] is None


def test_a_tier_that_nobody_told_is_null() -> None:
    assert written()["usage"]["service_tier"] is None
