"""Requests as the Anthropic wire writes them: what the one model says reaches the provider."""

import base64
import json
import re
from typing import Any

import msgspec
import pytest

from triptych.core.conversation import (
    Base64,
    CacheHint,
    Citation,
    Conversation,
    Document,
    FileId,
    Image,
    Message,
    Opaque,
    OutputFormat,
    PlainText,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from triptych.wires.anthropic_messages import encode_request
from triptych.wires.translation import Feature, Inexpressible

HELLO = Message(Role.USER, (Text("hello"),))
TOOL = Tool("f", msgspec.Raw(b'{"type":"object"}'))


def encoded(conversation: Conversation, *, default_max_tokens: int = 100) -> Any:
    return json.loads(encode_request(conversation, "m", default_max_tokens=default_max_tokens).body)


def said(*messages: Message, **rest: Any) -> Conversation:
    return Conversation(messages=messages or (HELLO,), **rest)


def test_system_and_developer_text_is_moved_up_in_order_wherever_it_was_said() -> None:
    body = encoded(
        said(
            Message(Role.DEVELOPER, (Text("a"),)),
            HELLO,
            Message(Role.SYSTEM, (Text("b", (), CacheHint()), Text("c"))),
        )
    )
    assert body["system"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "c"},
    ]
    assert body["messages"] == [{"role": "user", "content": "hello"}]


def test_a_single_system_text_is_a_string() -> None:
    assert encoded(said(Message(Role.SYSTEM, (Text("a"),)), HELLO))["system"] == "a"


def test_system_text_alone_is_not_a_request_of_this_wire() -> None:
    with pytest.raises(Inexpressible) as caught:
        encoded(said(Message(Role.SYSTEM, (Text("a"),))))
    assert caught.value.feature is Feature.SYSTEM_TEXT


def test_what_the_user_says_after_tool_results_stands_behind_them_in_one_message() -> None:
    body = encoded(
        said(
            HELLO,
            Message(Role.TOOL, (ToolResult("t", (Text("a"),)),)),
            HELLO,
            Message(Role.USER, (Text("b"),)),
        )
    )
    assert body["messages"][1:] == [
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "a"},
                {"type": "text", "text": "hello"},
            ],
        },
        {"role": "user", "content": "b"},
    ]


def test_reasoning_that_the_vendor_cannot_read_is_left_out_and_so_is_a_turn_of_nothing_else() -> None:
    request = encode_request(
        said(
            HELLO,
            Message(Role.ASSISTANT, (Reasoning("a", Opaque("openai", "x")), Text("b"))),
            Message(Role.ASSISTANT, (Reasoning("c"),)),
        ),
        "m",
        default_max_tokens=1,
    )
    assert json.loads(request.body)["messages"][1:] == [
        {"role": "assistant", "content": [{"type": "text", "text": "b"}]}
    ]
    assert request.left_out == (Feature.REASONING,)


def test_white_space_alone_is_no_text_of_this_wire() -> None:
    call, result = ToolCall("t", "ls", "{}"), ToolResult("t", (Text("\n"),))
    body = encoded(
        said(
            Message(Role.SYSTEM, (Text(" "),)),
            HELLO,
            Message(Role.ASSISTANT, (Text("\n\n", (), CacheHint()), call)),
            Message(Role.TOOL, (result,)),
            Message(Role.ASSISTANT, (Text(" \n"),)),
            Message(Role.USER, (Text(" "), Text(" more "))),
        )
    )
    assert "system" not in body
    assert body["messages"] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "ls", "input": {}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t"},
                {"type": "text", "text": " more "},
            ],
        },
    ]


def test_words_of_refusal_are_text() -> None:
    body = encoded(said(HELLO, Message(Role.ASSISTANT, (Refusal("No."),)), HELLO))
    assert body["messages"][1] == {"role": "assistant", "content": "No."}


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", "null", "{} x"])
def test_arguments_that_are_no_object_are_wrapped_as_the_vendor_says(arguments: str) -> None:
    conversation = said(HELLO, Message(Role.ASSISTANT, (ToolCall("t", "f", arguments),)))
    body = encoded(conversation)
    assert body["messages"][1]["content"][0]["input"] == {"INVALID_JSON": arguments}


def test_no_arguments_are_an_empty_object() -> None:
    body = encoded(said(HELLO, Message(Role.ASSISTANT, (ToolCall("t", "f", ""),))))
    assert body["messages"][1]["content"][0]["input"] == {}


def test_without_a_bound_the_default_is_asked_for() -> None:
    assert encoded(said(), default_max_tokens=4096)["max_tokens"] == 4096
    assert encoded(said(max_output_tokens=5), default_max_tokens=4096)["max_tokens"] == 5


@pytest.mark.parametrize(
    ("thinking", "expected", "effort"),
    [
        (Thinking("none"), {"type": "disabled"}, None),
        (Thinking("minimal"), {"type": "adaptive"}, "low"),
        (Thinking("xhigh"), {"type": "adaptive"}, "xhigh"),
        (Thinking(), {"type": "adaptive"}, None),
        (
            Thinking(None, 2000, True),
            {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
            None,
        ),
        (Thinking("high", None, False), {"type": "adaptive", "display": "omitted"}, "high"),
    ],
)
def test_effort_becomes_thinking(thinking: Thinking, expected: Any, effort: str | None) -> None:
    body = encoded(said(thinking=thinking))
    assert body["thinking"] == expected
    assert body.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "word"),
    [
        ("claude-haiku-4-5-20251001", "low", {"type": "enabled", "budget_tokens": 4096}, None),
        ("claude-sonnet-4-20250514", "medium", {"type": "enabled", "budget_tokens": 16384}, None),
        ("anthropic.claude-opus-4-1-20250805-v1:0", None, {"type": "enabled", "budget_tokens": 16384}, None),
        ("claude-3-7-sonnet-latest", "max", {"type": "enabled", "budget_tokens": 24576}, None),
        ("claude-sonnet-4-5", "none", {"type": "disabled"}, None),
        ("claude-opus-4-6", "xhigh", {"type": "adaptive"}, "high"),
        ("claude-opus-4-7", "xhigh", {"type": "adaptive"}, "xhigh"),
        ("claude-sonnet-4-6", "max", {"type": "adaptive"}, "max"),
        ("claude-opus-4-10", "low", {"type": "adaptive"}, "low"),
        ("claude-sonnet-5", "high", {"type": "adaptive"}, "high"),
        ("claude-haiku-30", "high", {"type": "adaptive"}, "high"),
        ("a-model-of-ours", None, {"type": "adaptive"}, None),
    ],
)
def test_a_model_is_asked_to_think_in_the_way_of_its_generation(
    model: str, effort: str | None, thinking: Any, word: str | None
) -> None:
    conversation = said(thinking=Thinking(effort), max_output_tokens=64_000)
    body = json.loads(encode_request(conversation, model, default_max_tokens=1).body)
    assert (body["thinking"], body.get("output_config", {}).get("effort")) == (thinking, word)


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("named", "f")])
@pytest.mark.parametrize(
    ("model", "asked", "left_out", "word"),
    [
        ("claude-sonnet-4-6", Thinking("high"), (Feature.THINKING_EFFORT,), "high"),
        (
            "claude-sonnet-4-6",
            Thinking("high", shown=True),
            (Feature.THINKING_SHOWN, Feature.THINKING_EFFORT),
            "high",
        ),
        ("claude-haiku-4-5", Thinking("high"), (Feature.THINKING_EFFORT,), None),
        ("claude-haiku-4-5", Thinking(budget_tokens=2_000), (Feature.THINKING_BUDGET,), None),
        ("claude-sonnet-4-6", Thinking(), (Feature.THINKING_EFFORT,), None),
    ],
)
def test_where_a_tool_is_forced_thinking_is_left_out_and_the_effort_stays(
    choice: ToolChoice, model: str, asked: Thinking, left_out: tuple[Feature, ...], word: str | None
) -> None:
    """The vendor answers 400 for both: "Thinking may not be enabled when tool_choice forces tool use"."""
    conversation = said(thinking=asked, tools=(TOOL,), tool_choice=choice)
    request = encode_request(conversation, model, default_max_tokens=100)
    body = json.loads(request.body)
    assert "thinking" not in body
    assert body.get("output_config", {}).get("effort") == word
    assert request.left_out == left_out


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_where_no_tool_is_forced_thinking_is_sent(mode: str) -> None:
    body = encoded(said(thinking=Thinking("high"), tools=(TOOL,), tool_choice=ToolChoice(mode)))
    assert body["thinking"] == {"type": "adaptive"}
    body = encoded(said(thinking=Thinking("none"), tools=(TOOL,), tool_choice=ToolChoice("required")))
    assert body["thinking"] == {"type": "disabled"}


def test_a_budget_leaves_room_for_the_answer_or_is_refused() -> None:
    def budget(max_tokens: int) -> Any:
        conversation = said(thinking=Thinking("high"), max_output_tokens=max_tokens)
        body = encode_request(conversation, "claude-haiku-4-5", default_max_tokens=1).body
        return json.loads(body)["thinking"]["budget_tokens"]

    assert budget(4000) == 3000
    assert budget(1366) == 1024
    with pytest.raises(Inexpressible) as caught:
        budget(1365)
    assert caught.value.feature is Feature.THINKING_EFFORT


def test_a_top_p_that_asks_for_nothing_does_not_stand_beside_a_temperature() -> None:
    assert "top_p" not in encoded(said(temperature=0.7, top_p=1.0))
    assert encoded(said(top_p=0.9))["top_p"] == 0.9


def test_an_id_that_the_vendor_rejects_is_spelled_anew_in_call_and_result_alike() -> None:
    ids = ["functions.ls:0", "functions_ls:0", "", "call_1"]
    body = encoded(
        said(
            HELLO,
            Message(Role.ASSISTANT, tuple(ToolCall(id_, "ls", "{}") for id_ in ids)),
            Message(Role.TOOL, tuple(ToolResult(id_, ()) for id_ in ids)),
        )
    )
    called = [block["id"] for block in body["messages"][1]["content"]]
    assert called == [block["tool_use_id"] for block in body["messages"][2]["content"]]
    assert len(set(called)) == 4
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", id_) for id_ in called)
    assert called[-1] == "call_1"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"tools": (TOOL,), "parallel_tool_calls": False},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
        ({"tools": (TOOL,), "parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, None),
        (
            {"tools": (TOOL,), "tool_choice": ToolChoice("named", "f"), "parallel_tool_calls": False},
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
        ({"tools": (TOOL,), "tool_choice": ToolChoice("required")}, {"type": "any"}),
        (
            {"tools": (TOOL,), "tool_choice": ToolChoice("none"), "parallel_tool_calls": False},
            {"type": "none"},
        ),
    ],
)
def test_one_call_at_a_time_is_part_of_the_choice(fields: Any, expected: Any) -> None:
    assert encoded(said(**fields)).get("tool_choice") == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (b"{}", b'{"type":"object"}'),
        (b'{ "properties": {}}', b'{"type":"object", "properties": {}}'),
        (b'{"properties":{"type":1}}', b'{"type":"object","properties":{"type":1}}'),
        (b'{"type":null}', b'{"type":null}'),
    ],
)
def test_a_schema_without_a_type_gets_the_one_that_arguments_have(schema: bytes, expected: bytes) -> None:
    request = encode_request(said(tools=(Tool("f", msgspec.Raw(schema)),)), "m", default_max_tokens=1)
    assert b'"input_schema":' + expected + b"}" in request.body


def test_a_cache_key_asks_for_the_longest_prefix_to_be_cached() -> None:
    assert encoded(said(prompt_cache_key="k"))["cache_control"] == {"type": "ephemeral"}
    hint = CacheHint("1h")
    assert encoded(said(prompt_cache_key="k", cache=hint))["cache_control"] == {
        "type": "ephemeral",
        "ttl": "1h",
    }


def test_what_changes_nothing_of_the_answer_is_left_out_and_reported() -> None:
    request = encode_request(
        said(
            Message(Role.USER, (Image(Url("https://example.com/a.png"), "low"),)),
            Message(Role.ASSISTANT, (Text("a", (Citation("https://example.com"),)),)),
            output_format=OutputFormat(msgspec.Raw(b"{}"), "n", "d", True),
            user="u",
            safety_identifier="s",
            prompt_cache_retention="24h",
            verbosity="medium",
        ),
        "m",
        default_max_tokens=1,
    )
    assert set(request.left_out) == {
        Feature.IMAGE_DETAIL,
        Feature.CITATION,
        Feature.OUTPUT_SCHEMA_NAME,
        Feature.USER,
        Feature.SAFETY_IDENTIFIER,
        Feature.PROMPT_CACHE_RETENTION,
    }


def document(source: Any) -> Conversation:
    return said(Message(Role.USER, (Document(source),)))


@pytest.mark.parametrize(
    ("conversation", "feature"),
    [
        (said(temperature=1.1), Feature.TEMPERATURE),
        (said(verbosity="low"), Feature.VERBOSITY),
        (said(service_tier="flex"), Feature.SERVICE_TIER),
        (said(output_format=OutputFormat()), Feature.OUTPUT_JSON),
        (said(Message(Role.USER, (Image(FileId("openai", "f")),))), Feature.IMAGE_FILE),
        (said(Message(Role.USER, (Image(Base64("image/tiff", "aGk=")),))), Feature.IMAGE_BASE64),
        (document(FileId("openai", "f")), Feature.DOCUMENT_FILE),
        (document(Base64("application/zip", "aGk=")), Feature.DOCUMENT_BASE64),
        (document(Base64("text/plain", "/w==")), Feature.DOCUMENT_BASE64),
        (document(Base64("text/plain", "%")), Feature.DOCUMENT_BASE64),
    ],
)
def test_what_the_wire_has_nothing_for_is_refused_by_name(
    conversation: Conversation, feature: Feature
) -> None:
    with pytest.raises(Inexpressible) as caught:
        encoded(conversation)
    assert caught.value.feature is feature


def test_a_jpeg_that_is_called_jpg_has_the_name_that_the_vendor_knows() -> None:
    body = encoded(said(Message(Role.USER, (Image(Base64("image/jpg", "aGk=")),))))
    (image,) = body["messages"][0]["content"]
    assert image["source"] == {"type": "base64", "media_type": "image/jpeg", "data": "aGk="}


def test_a_text_file_is_a_document_of_text() -> None:
    body = encoded(document(Base64("text/plain", base64.b64encode("é".encode()).decode())))
    assert body["messages"][0]["content"][0]["source"] == {
        "type": "text",
        "media_type": "text/plain",
        "data": "é",
    }
    assert encoded(document(PlainText("x")))["messages"][0]["content"][0]["source"]["data"] == "x"
