"""Requests as the chat wire writes them: what the one model says reaches the provider."""

import json
from typing import Any

import msgspec
import pytest

from tests.unit.wires.chat_requests import HELLO, USER, decoded, encoded, said, written, wrong
from triptych.core.conversation import (
    Base64,
    CacheHint,
    Conversation,
    Document,
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
)
from triptych.wires.openai_chat import encode_request
from triptych.wires.translation import Feature


def test_what_is_said_after_a_call_stands_before_it() -> None:
    (message,) = written(
        Message(Role.ASSISTANT, (Text("a"), ToolCall("c", "f", ""), Text("b"), Refusal("r")))
    )
    assert message == {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b"},
            {"type": "refusal", "refusal": "r"},
        ],
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


@pytest.mark.parametrize(("length", "kept"), [(40, True), (41, False), (400, False)])
def test_an_id_that_is_too_long_for_openai_is_spelled_anew_in_call_and_result_alike(
    length: int, kept: bool
) -> None:
    ids = [name.ljust(length, "-") for name in ("a", "b")]
    *_, call, first, second = written(
        Message(Role.ASSISTANT, tuple(ToolCall(id_, "f", "{}") for id_ in ids)),
        Message(Role.TOOL, tuple(ToolResult(id_, ()) for id_ in ids)),
    )
    called = [one["id"] for one in call["tool_calls"]]
    assert called == [first["tool_call_id"], second["tool_call_id"]]
    assert len(set(called)) == 2
    assert all(len(id_) <= 40 for id_ in called)
    assert (called == ids) is kept


SKIP = {"google": {"thought_signature": "skip_thought_signature_validator"}}
TWO_TURNS = (
    HELLO,
    Message(Role.ASSISTANT, (ToolCall("1", "f", "{}"),)),
    Message(Role.TOOL, (ToolResult("1", (Text("r"),)),)),
    Message(Role.ASSISTANT, (Text("done"),)),
    HELLO,
    Message(Role.ASSISTANT, (ToolCall("2", "f", "{}"), ToolCall("3", "f", "{}"))),
    Message(Role.TOOL, (ToolResult("2", (Text("r"),)), ToolResult("3", (Text("r"),)))),
    Message(Role.ASSISTANT, (ToolCall("4", "f", "{}"),)),
    Message(Role.TOOL, (ToolResult("4", (Text("r"),)),)),
)


@pytest.mark.parametrize(
    ("model", "marked"),
    [
        ("gemini-3.1-pro-preview", {"2", "4"}),
        ("google/Gemini-3-flash", {"2", "4"}),
        ("gemini-flash-latest", {"2", "4"}),
        ("gemini-10-pro", {"2", "4"}),
        ("gemini-2.5-pro", set()),
        ("gemini-1.5-flash", set()),
        ("gpt-5", set()),
    ],
)
def test_gemini_is_told_which_calls_of_the_running_turn_have_no_signature(
    model: str, marked: set[str]
) -> None:
    body = msgspec.json.decode(encode_request(Conversation(messages=TWO_TURNS), model).body)
    calls = [call for message in body["messages"] for call in message.get("tool_calls", ())]
    assert [call["id"] for call in calls] == ["1", "2", "3", "4"]
    assert {call["id"] for call in calls if call.get("extra_content") == SKIP} == marked
    assert {call["id"] for call in calls if "extra_content" in call} == marked


FETCH = Tool("f", msgspec.Raw(b"{}"))
THOUGHT_TURNS = (
    HELLO,
    Message(Role.ASSISTANT, (Reasoning("hm"), ToolCall("1", "f", "{}"))),
    Message(Role.TOOL, (ToolResult("1", (Text("r"),)),)),
    Message(Role.ASSISTANT, (Reasoning("", Opaque("anthropic", "c2ln")), Text("done"))),
    HELLO,
)


@pytest.mark.parametrize("model", ["deepseek-v4-pro", "deepseek/DeepSeek-Reasoner", "moonshotai/Kimi-K2.5"])
def test_models_that_want_their_reasoning_back_with_calls_of_tools_get_it(model: str) -> None:
    encoded = encode_request(Conversation(messages=THOUGHT_TURNS, tools=(FETCH,)), model)
    messages = msgspec.json.decode(encoded.body)["messages"]
    assert [message.get("reasoning_content") for message in messages] == [None, "hm", None, "", None]
    assert encoded.left_out == (Feature.REASONING, Feature.REASONING_OPAQUE)


def test_reasoning_goes_back_to_nobody_who_may_not_know_the_field() -> None:
    unthought = Conversation(messages=TWO_TURNS, tools=(FETCH,))
    for conversation, model in (
        (Conversation(messages=THOUGHT_TURNS, tools=(FETCH,)), "gpt-5"),
        (Conversation(messages=THOUGHT_TURNS), "deepseek-v4-pro"),
        (unthought, "moonshotai/kimi-k2-instruct"),
    ):
        assert b"reasoning_content" not in encode_request(conversation, model).body


def test_reasoning_alone_makes_no_message_for_the_provider() -> None:
    turns = (HELLO, Message(Role.ASSISTANT, (Reasoning("hm"),)), HELLO)
    assert written(*turns) == [{"role": "user", "content": "hello"}] * 2


def test_an_error_of_a_tool_is_said_in_its_text() -> None:
    results = (
        ToolResult("1", (Text("boom"), Text("more")), is_error=True),
        ToolResult("2", (), is_error=True),
        ToolResult("3", ()),
    )
    messages = written(Message(Role.TOOL, results))
    assert [message["content"] for message in messages] == [
        [{"type": "text", "text": "[tool error] boom"}, {"type": "text", "text": "more"}],
        "[tool error] ",
        "",
    ]
    assert said(*messages) == (Message(Role.TOOL, results),)


def test_a_document_without_a_name_gets_one() -> None:
    sources = (Base64("application/pdf", "AA"), PlainText("x"), Base64("a/b", "AA"))
    (message,) = written(Message(Role.USER, tuple(map(Document, sources))))
    assert [found["file"]["filename"] for found in message["content"]] == [
        "document.pdf",
        "document.txt",
        "document",
    ]


def test_cache_hints_become_a_key_that_every_turn_shares() -> None:
    tool = Tool("f", msgspec.Raw(b"{}"))
    system = Message(Role.SYSTEM, (Text("long", (), CacheHint("1h")),))

    def key(*messages: Message, **fields: Any) -> str | None:
        return encoded(Conversation(messages=messages, **fields)).get("prompt_cache_key")

    first = key(system, HELLO, tools=(tool,))
    assert first is not None and first.startswith("trp-") and len(first) == 36
    assert key(system, HELLO, HELLO, tools=(tool,)) == first
    assert key(system, HELLO, Message(Role.SYSTEM, (Text("late"),)), tools=(tool,)) == first
    assert key(system, HELLO) != first
    assert key(HELLO) is None
    assert key(HELLO, cache=CacheHint()) is not None
    assert key(Message(Role.TOOL, (ToolResult("c", (), cache=CacheHint()),))) is not None
    assert key(system, prompt_cache_key="mine") == "mine"


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (Thinking(), None),
        (Thinking(shown=True), None),
        (Thinking("none"), "none"),
        (Thinking("minimal"), "minimal"),
        (Thinking("max"), "xhigh"),
        (Thinking("low", 30_000), "low"),
        (Thinking(budget_tokens=4096), "low"),
        (Thinking(budget_tokens=4097), "medium"),
        (Thinking(budget_tokens=16_384), "medium"),
        (Thinking(budget_tokens=16_385), "high"),
    ],
)
def test_reasoning_is_an_effort(thinking: Thinking, effort: str | None) -> None:
    assert encoded(Conversation(messages=(HELLO,), thinking=thinking)).get("reasoning_effort") == effort


def test_choices_without_tools_are_not_said() -> None:
    body = encoded(Conversation(messages=(HELLO,), tool_choice=ToolChoice("auto"), parallel_tool_calls=True))
    assert not {"tool_choice", "parallel_tool_calls", "tools"} & set(body)
    assert (
        encoded(Conversation(messages=(HELLO,), tool_choice=ToolChoice("required")))["tool_choice"]
        == "required"
    )


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-5", "max_completion_tokens"),
        ("my-deployment", "max_completion_tokens"),
        ("deepseek-v4-pro", "max_tokens"),
        ("mistralai/Magistral-Small-2509", "max_tokens"),
        ("labs-devstral-small-2512", "max_tokens"),
    ],
)
def test_the_bound_has_the_name_that_the_models_vendor_knows(model: str, name: str) -> None:
    body = json.loads(encode_request(Conversation(messages=(HELLO,), max_output_tokens=7), model).body)
    assert {key: value for key, value in body.items() if "tokens" in key} == {name: 7}


def test_an_output_schema_without_a_name_is_strict() -> None:
    schema = msgspec.Raw(b'{"type":"object","additionalProperties":false}')
    body = encoded(Conversation(messages=(HELLO,), output_format=OutputFormat(schema)))
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": json.loads(bytes(schema)), "strict": True},
    }
    assert decoded(
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    ).output_format == (OutputFormat(msgspec.Raw(b"{}"), "n", None, False))
    assert decoded(response_format={"type": "text"}).output_format is None
    failure = wrong(response_format={"type": "json_schema", "json_schema": {"name": "n"}})
    assert failure.param == "response_format.json_schema.schema"


def test_a_plain_request_says_nothing_that_was_not_said() -> None:
    assert encoded(decoded()) == {"model": "m", "messages": [USER]}
