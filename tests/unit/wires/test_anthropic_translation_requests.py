"""Requests of the Anthropic wire: what a client asks reaches the one model, and comes back as it was."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given

from tests.unit.wires.anthropic_strategies import conversations
from triptych.core.conversation import (
    CacheHint,
    Citation,
    Conversation,
    Message,
    Opaque,
    Reasoning,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from triptych.core.failure import Failure, FailureKind
from triptych.wires.anthropic_messages import decode_request, encode_request, parse_request


def decoded(**body: Any) -> Conversation:
    whole = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]} | body
    return decode_request(json.dumps(whole).encode())


@given(conversations())
def test_what_the_wire_can_say_comes_back_as_it_was(conversation: Conversation) -> None:
    request = encode_request(conversation, "m", default_max_tokens=1)
    assert request.left_out == ()
    parse_request(request.body, counting=False)
    assert decode_request(request.body) == conversation


REAL = json.dumps(
    {
        "model": "claude-sonnet-4-6",
        "max_tokens": 32000,
        "system": [
            {"type": "text", "text": "You are Claude Code."},
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "messages": [
            {"role": "user", "content": "Which files are here?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "I should look.", "signature": "c2ln"},
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "ls", "input": {"path": "."}},
                    {"type": "tool_use", "id": "toolu_2", "name": "ls", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.py"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_2",
                        "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "way"}],
                        "is_error": True,
                    },
                    {"type": "text", "text": "Go on.", "cache_control": {"type": "ephemeral"}},
                ],
            },
        ],
        "tools": [
            {
                "name": "ls",
                "description": "Lists files.",
                "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
            }
        ],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "stream": True,
    },
    separators=(",", ":"),
).encode()


def test_a_real_request_becomes_the_canonical_conversation() -> None:
    conversation = decode_request(REAL)
    assert [message.role for message in conversation.messages] == [
        Role.SYSTEM,
        Role.USER,
        Role.ASSISTANT,
        Role.TOOL,
        Role.USER,
    ]
    assert conversation.messages[0].parts == (
        Text("You are Claude Code."),
        Text("Be brief.", (), CacheHint("1h")),
    )
    assert conversation.messages[2].parts == (
        Reasoning("I should look.", Opaque("anthropic", "c2ln")),
        Text("Let me look."),
        ToolCall("toolu_1", "ls", '{"path":"."}'),
        ToolCall("toolu_2", "ls", "{}"),
    )
    assert conversation.messages[3].parts == (
        ToolResult("toolu_1", (Text("a.py"),)),
        ToolResult("toolu_2", (Text("no"), Text("way")), True),
    )
    assert conversation.thinking == Thinking("high")
    assert conversation.max_output_tokens == 32000
    assert conversation.stream


def test_a_real_request_comes_back_as_the_same_json() -> None:
    request = encode_request(decode_request(REAL), "claude-sonnet-4-6", default_max_tokens=1)
    assert json.loads(request.body) == json.loads(REAL)


def test_consecutive_assistant_messages_are_one_turn_and_user_messages_stay_apart() -> None:
    conversation = decoded(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "c"},
            {"role": "assistant", "content": [{"type": "text", "text": "d"}]},
        ]
    )
    assert conversation.messages == (
        Message(Role.USER, (Text("a"),)),
        Message(Role.USER, (Text("b"),)),
        Message(Role.ASSISTANT, (Text("c"), Text("d"))),
    )


def test_empty_texts_and_empty_messages_are_left_out() -> None:
    conversation = decoded(
        system="",
        messages=[
            {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": ""}]},
        ],
    )
    assert conversation.messages == (
        Message(Role.USER, (Text("a"),)),
        Message(Role.TOOL, (ToolResult("t", ()),)),
    )


def test_a_request_in_which_nothing_is_said_is_refused() -> None:
    with pytest.raises(Failure) as caught:
        decoded(messages=[{"role": "user", "content": ""}])
    assert (caught.value.kind, caught.value.param) == (FailureKind.INVALID_BODY, "messages")


def test_the_input_of_a_call_and_the_schema_of_a_tool_keep_every_byte() -> None:
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use",'
        b'"id":"t","name":"f","input":{"b" : 1.0, "a":"\\u00e9"}}]}],"tools":[{"name":"f",'
        b'"input_schema":{"type" : "object", "x":1e2}}]}'
    )
    conversation = decode_request(body)
    call = conversation.messages[0].parts[0]
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"b" : 1.0, "a":"\\u00e9"}'
    assert bytes(conversation.tools[0].schema) == b'{"type" : "object", "x":1e2}'
    request = encode_request(conversation, "m", default_max_tokens=1)
    assert b'{"b" : 1.0, "a":"\\u00e9"}' in request.body
    assert b'{"type" : "object", "x":1e2}' in request.body


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({}, None),
        ({"thinking": {"type": "adaptive"}}, Thinking()),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Thinking(shown=False)),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Thinking(budget_tokens=2000)),
        ({"thinking": {"type": "disabled"}}, Thinking("none")),
        ({"output_config": {"effort": "max"}}, Thinking("max")),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
            Thinking("low", None, True),
        ),
    ],
)
def test_thinking_and_effort_are_one_thing(fields: Any, thinking: Thinking | None) -> None:
    assert decoded(**fields).thinking == thinking


def test_an_effort_beside_disabled_thinking_is_left_out_and_reported() -> None:
    conversation = decoded(thinking={"type": "disabled"}, output_config={"effort": "low"})
    assert conversation.thinking == Thinking("none")
    assert conversation.left_out == ("output_config.effort",)


def test_another_vendors_reasoning_is_given_back_from_a_signature_and_from_redacted_data() -> None:
    carried = base64.urlsafe_b64encode(b'{"data":"enc","id":"rs_1","text":"why"}').decode()
    blocks = [
        {"type": "thinking", "thinking": "why", "signature": "openai:" + carried.rstrip("=")},
        {"type": "redacted_thinking", "data": "openai:" + carried},
        {"type": "thinking", "thinking": "mine", "signature": ""},
        {"type": "redacted_thinking", "data": "openai:%%%"},
    ]
    conversation = decoded(messages=[{"role": "assistant", "content": blocks}])
    foreign = Reasoning("why", Opaque("openai", "enc", id="rs_1"))
    assert conversation.messages[0].parts == (
        foreign,
        foreign,
        Reasoning("mine"),
        Reasoning("", Opaque("anthropic", "openai:%%%", redacted=True)),
    )


def test_citations_of_web_pages_are_carried() -> None:
    cited = {
        "type": "web_search_result_location",
        "url": "https://example.com",
        "title": None,
        "cited_text": "so it is",
        "encrypted_index": "x",
    }
    text = {"type": "text", "text": "It is.", "citations": [cited]}
    conversation = decoded(messages=[{"role": "assistant", "content": [text]}])
    citation = Citation("https://example.com", None, "so it is")
    assert conversation.messages[0].parts == (Text("It is.", (citation,)),)


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
            FailureKind.UNSUPPORTED_PARAMETER,
            "messages[].content[].type",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "t", "name": "f", "input": []}],
                    }
                ]
            },
            FailureKind.INVALID_BODY,
            "messages[].content[].input",
        ),
        ({"tools": [{"name": "f"}]}, FailureKind.INVALID_BODY, "tools[].input_schema"),
        ({"tools": [{"name": "f", "input_schema": "x"}]}, FailureKind.INVALID_BODY, "tools[].input_schema"),
        (
            {"tools": [{"max_uses": 5, "type": "web_search_20250305", "name": "web_search"}]},
            FailureKind.UNSUPPORTED_PARAMETER,
            "tools[].type",
        ),
        ({"temperature": "hot"}, FailureKind.INVALID_BODY, "temperature"),
        ({"output_config": {"effort": "huge"}}, FailureKind.UNSUPPORTED_PARAMETER, "output_config.effort"),
        ({"service_tier": "flex"}, FailureKind.UNSUPPORTED_PARAMETER, "service_tier"),
        (
            {"thinking": {"type": "adaptive", "display": "updates"}},
            FailureKind.UNSUPPORTED_PARAMETER,
            "thinking.display",
        ),
        (
            {"cache_control": {"type": "ephemeral", "ttl": "9h"}},
            FailureKind.UNSUPPORTED_PARAMETER,
            "cache_control.ttl",
        ),
        ({"cache_control": {"type": "eternal"}}, FailureKind.UNSUPPORTED_PARAMETER, "cache_control.type"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": 1}}},
            FailureKind.INVALID_BODY,
            "output_config.format.schema",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_by_its_path(body: Any, kind: FailureKind, param: str) -> None:
    with pytest.raises(Failure) as caught:
        decoded(**body)
    assert (caught.value.kind, caught.value.param) == (kind, param)


def test_an_ignored_field_may_hold_anything() -> None:
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}],"diagnostics":{"a":1e999}}'
    )
    assert decode_request(body).left_out == ("diagnostics",)
    assert decode_request(body.replace(b'{"a":1e999}', b"null")).left_out == ()
