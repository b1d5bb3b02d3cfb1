"""Requests as the Responses wire writes them: what the one model says reaches the provider."""

import base64
import json
from typing import Any

import msgspec
import pytest

from tests.unit.wires.responses_bodies import PDF, PNG, SCHEMA
from triptych.core.conversation import (
    Base64,
    CacheHint,
    Conversation,
    Document,
    Image,
    Message,
    Opaque,
    OutputFormat,
    Part,
    PlainText,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from triptych.wires.openai_responses import encode_request


def encoded(conversation: Conversation) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(encode_request(conversation, "up").body)
    return written


def of(*parts: Part, role: Role = Role.USER, **fields: Any) -> Conversation:
    return Conversation(messages=(Message(role, parts),), **fields)


def test_a_provider_is_asked_to_keep_nothing() -> None:
    assert encoded(of(Text("hi"))) == {
        "model": "up",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "stream": False,
        "store": False,
    }


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        (Thinking(), {"summary": "auto"}),
        (Thinking(shown=False), None),
        (Thinking("none"), {"effort": "none"}),
        (Thinking("none", shown=True), {"effort": "none"}),
        (Thinking("high"), {"effort": "high"}),
        (Thinking("max", shown=True), {"effort": "xhigh", "summary": "auto"}),
        (Thinking(budget_tokens=4096), {"effort": "low", "summary": "auto"}),
        (Thinking(budget_tokens=4097, shown=False), {"effort": "medium"}),
        (Thinking(budget_tokens=16_385), {"effort": "high", "summary": "auto"}),
    ],
)
def test_thinking_is_asked_for_in_words(thinking: Thinking, reasoning: object) -> None:
    body = encoded(of(Text("x"), thinking=thinking))
    assert body.get("reasoning") == reasoning
    wanted = None if thinking.effort == "none" else ["reasoning.encrypted_content"]
    assert body.get("include") == wanted


def test_what_is_not_said_of_tools_and_formats_is_said_as_elsewhere() -> None:
    closed = msgspec.Raw(b'{"type":"object","additionalProperties":false}')
    body = encoded(of(Text("x"), tools=(Tool("f", SCHEMA),), output_format=OutputFormat(closed)))
    assert body["tools"][0]["strict"] is False
    assert body["text"]["format"] == {
        "type": "json_schema",
        "name": "response",
        "schema": json.loads(bytes(closed)),
        "strict": True,
    }


def test_reasoning_that_the_provider_cannot_read_is_left_out_and_reported() -> None:
    own = Reasoning("a", Opaque("openai", "gAAA", id="rs_1"))
    foreign = Reasoning("b", Opaque("anthropic", "c2ln"))
    result = encode_request(of(own, foreign, Reasoning("c"), Text("x"), role=Role.ASSISTANT), "m")
    assert [feature.name for feature in result.left_out] == ["REASONING"]
    assert json.loads(result.body)["input"] == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "a"}],
            "encrypted_content": "gAAA",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "x", "annotations": []}],
        },
    ]


def test_texts_of_a_turn_are_one_message_until_something_else_is_said() -> None:
    parts = (Text("a"), Refusal("b"), ToolCall("c", "f", "{}"), Text("d"))
    types = [item["type"] for item in encoded(of(*parts, role=Role.ASSISTANT))["input"]]
    assert types == ["message", "function_call", "message"]


def test_an_error_of_a_tool_is_marked_in_its_text() -> None:
    def output(*content: Text | Image, is_error: bool = True) -> object:
        return encoded(of(ToolResult("c", content, is_error), role=Role.TOOL))["input"][0]["output"]

    assert output(Text("no")) == "[tool error] no"
    assert output() == "[tool error] "
    assert output(is_error=False) == ""
    assert output(Image(PNG))[0] == {"type": "input_text", "text": "[tool error] "}  # type: ignore[index]
    assert output(Image(PNG), Text("no"))[1]["text"] == "[tool error] no"  # type: ignore[index]


def test_a_document_without_a_name_gets_one_by_its_type() -> None:
    body = encoded(of(Document(PDF), Document(PlainText("é")), Document(Base64("text/csv", "YQ=="))))
    files = body["input"][0]["content"]
    assert [file["filename"] for file in files] == ["document.pdf", "document.txt", "document"]
    assert files[1]["file_data"] == "data:text/plain;base64," + base64.b64encode("é".encode()).decode()


def test_a_cache_hint_becomes_a_key_of_what_does_not_change() -> None:
    def key(system: str, question: str, **fields: Any) -> object:
        said = Message(Role.SYSTEM, (Text(system, cache=CacheHint("1h")),))
        late = Message(Role.SYSTEM, (Text(question),))
        messages = (said, Message(Role.USER, (Text(question),)), late)
        return encoded(Conversation(messages=messages, **fields)).get("prompt_cache_key")

    first = key("s", "a")
    assert isinstance(first, str) and first.startswith("trp-") and len(first) == 36
    assert key("s", "b") == first
    assert key("t", "a") != first
    assert key("s", "a", tools=(Tool("f", SCHEMA),)) != first
    assert key("s", "a", prompt_cache_key="mine") == "mine"
    assert "prompt_cache_key" not in encoded(of(Text("x")))
    assert "prompt_cache_key" in encoded(of(Text("x"), cache=CacheHint()))
    assert "prompt_cache_key" in encoded(of(Text("x"), tools=(Tool("f", SCHEMA, cache=CacheHint()),)))
    inside = ToolResult("c", (Text("x", cache=CacheHint()),))
    assert "prompt_cache_key" in encoded(of(inside, role=Role.TOOL))


@pytest.mark.parametrize(("length", "kept"), [(64, True), (65, False), (400, False)])
def test_an_id_that_is_too_long_for_openai_is_spelled_anew_in_call_and_result_alike(
    length: int, kept: bool
) -> None:
    ids = [name.ljust(length, "-") for name in ("a", "b")]
    calls = Message(Role.ASSISTANT, tuple(ToolCall(id_, "f", "{}") for id_ in ids))
    results = Message(Role.TOOL, tuple(ToolResult(id_, ()) for id_ in ids))
    sent = [item["call_id"] for item in encoded(Conversation(messages=(calls, results)))["input"]]
    assert sent[:2] == sent[2:]
    assert sent[0] != sent[1]
    assert all(len(id_) <= 64 for id_ in sent)
    assert (sent[:2] == ids) is kept
