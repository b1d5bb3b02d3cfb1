"""Requests of the chat wire: what a client asks reaches the one model."""

import base64
import json

import pytest

from tests.unit.wires.chat_requests import AGENT_TURNS, WEATHER, decoded, said, wrong
from triptych.core.conversation import (
    Base64,
    CacheHint,
    Citation,
    Document,
    FileId,
    Image,
    Message,
    Opaque,
    PlainText,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Url,
)
from triptych.core.failure import Failure, FailureKind
from triptych.wires.openai_chat import decode_request, encode_request


def part(value: dict[str, object]) -> object:
    (message,) = said({"role": "user", "content": [value]})
    (found,) = message.parts
    return found


def test_a_request_survives_the_way_through_the_model_byte_for_meaning() -> None:
    encoded_request = encode_request(decode_request(json.dumps(AGENT_TURNS).encode()), "gpt-5")
    assert json.loads(encoded_request.body) == AGENT_TURNS
    assert encoded_request.left_out == ()


def test_results_that_follow_each_other_are_parts_of_one_message() -> None:
    messages = decode_request(json.dumps(AGENT_TURNS).encode()).messages
    assert [message.role for message in messages] == [
        Role.SYSTEM,
        Role.DEVELOPER,
        Role.USER,
        Role.ASSISTANT,
        Role.TOOL,
        Role.ASSISTANT,
        Role.SYSTEM,
        Role.USER,
    ]
    assert messages[4].parts == (
        ToolResult("c1", (Text("12 degrees"),)),
        ToolResult("c2", (Text("x"), Text("y"))),
    )


def test_schemas_stay_byte_for_byte() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function",'
        b'"function":{"name":"f","parameters":{ "b" : 1.50, "a":{"\\u0041":1e3} }}}]}'
    )
    (tool,) = decode_request(body).tools
    assert bytes(tool.schema) == b'{ "b" : 1.50, "a":{"\\u0041":1e3} }'


def test_a_function_without_parameters_takes_an_object() -> None:
    for function in ({"name": "f"}, {"name": "f", "parameters": None}):
        (tool,) = decoded(tools=[{"type": "function", "function": function}]).tools
        assert bytes(tool.schema) == b'{"type":"object","properties":{}}'
    failure = wrong(tools=[WEATHER, {"type": "function", "function": {"name": "f", "parameters": [1]}}])
    assert failure.param == "tools[1].function.parameters"


def test_of_two_bounds_the_lower_one_holds() -> None:
    assert decoded(max_tokens=7).max_output_tokens == 7
    assert decoded(max_tokens=7, max_completion_tokens=9).max_output_tokens == 7
    assert decoded(max_tokens=None, max_completion_tokens=9).max_output_tokens == 9


def test_the_assistants_turn_is_reasoning_then_text_then_calls() -> None:
    (message,) = said(
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "index": 0, "function": {"name": "f", "arguments": ""}}
            ],
            "refusal": "no",
            "content": "Let me see.",
            "reasoning_content": "hm",
            "annotations": [
                {"type": "url_citation", "url_citation": {"url": "https://a.test", "title": "A"}}
            ],
        }
    )
    assert message.parts == (
        Reasoning("hm"),
        Text("Let me see.", (Citation("https://a.test", "A"),)),
        Refusal("no"),
        ToolCall("c", "f", "{}"),
    )


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_of_an_earlier_turn_is_read_by_either_name(name: str) -> None:
    (message,) = said({"role": "assistant", "content": "x", name: "hm"})
    assert message.parts == (Reasoning("hm"), Text("x"))


def test_signed_reasoning_comes_back_from_the_client() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "sealed"},
        {"type": "thinking", "thinking": "unsigned"},
        {"type": "redacted_thinking", "data": "openai:not of ours"},
    ]
    (message,) = said({"role": "assistant", "reasoning_content": "hm", "thinking_blocks": blocks})
    assert message.parts == (
        Reasoning("hm", Opaque("anthropic", "sig")),
        Reasoning("", Opaque("anthropic", "sealed", redacted=True)),
        Reasoning("unsigned"),
        Reasoning("", Opaque("anthropic", "openai:not of ours", redacted=True)),
    )


def test_nothing_is_made_of_empty_texts() -> None:
    assert said(
        {"role": "system", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": ""}]},
        {"role": "assistant", "content": "", "refusal": "", "tool_calls": None},
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "x"}]},
    ) == (Message(Role.USER, (Text("x"),)),)
    assert wrong(messages=[{"role": "user", "content": ""}]).param == "messages"


def image(url: str) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "auto"}}


def file(**fields: object) -> dict[str, object]:
    return {"type": "file", "file": fields}


def test_an_image_is_a_url_or_base64() -> None:
    assert part(image("https://a.test/x.png")) == Image(Url("https://a.test/x.png"))
    assert part(image("DATA:image/PNG;charset=x;Base64,AA==")) == Image(Base64("image/png", "AA=="))


@pytest.mark.parametrize(
    "url", ["data:", "data:image/png,AA", "data:;base64,AA", "data:image/svg+xml;utf8,<svg/>"]
)
def test_a_data_url_that_is_not_base64_is_refused_by_its_place(url: str) -> None:
    failure = wrong(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, image(url)]}])
    assert failure.param == "messages[0].content[1].image_url.url"


def test_a_document_is_base64_text_or_a_file_of_the_vendor() -> None:
    text = base64.b64encode("Straße".encode()).decode()
    latin = base64.b64encode("Straße".encode("latin-1")).decode()
    assert part(file(file_data=f"data:text/plain;base64,{text}", filename="a.txt")) == Document(
        PlainText("Straße"), "a.txt"
    )
    assert part(file(file_data=f"data:text/plain;base64,{latin}")) == Document(Base64("text/plain", latin))
    assert part(file(file_data="AAEC", filename="A.PDF")) == Document(
        Base64("application/pdf", "AAEC"), "A.PDF"
    )
    assert part(file(file_id="file-1", filename="")) == Document(FileId("openai", "file-1"))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "messages[0].content[0].file"),
        ({"file_data": "data:a/b;base64,AA", "file_id": "f"}, "messages[0].content[0].file"),
        ({"file_data": "AAEC", "filename": "a.doc"}, "messages[0].content[0].file.file_data"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_its_place(fields: dict[str, object], param: str) -> None:
    assert wrong(messages=[{"role": "user", "content": [file(**fields)]}]).param == param


def test_cache_hints_are_read_in_both_forms() -> None:
    text = {"type": "text", "text": "x"}
    hints = [
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, CacheHint()),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, CacheHint("1h")),
        ({"cache_control": {"type": "ephemeral"}}, CacheHint()),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, CacheHint("5m")),
    ]
    for fields, hint in hints:
        assert part({**text, **fields}) == Text("x", (), hint)
    (tool,) = decoded(tools=[{**WEATHER, "cache_control": {"type": "ephemeral"}}]).tools
    assert tool.cache == CacheHint()


def test_a_tools_message_may_repeat_the_name_of_its_call() -> None:
    assert said({"role": "tool", "tool_call_id": "c", "name": "f", "content": "x"}) == (
        Message(Role.TOOL, (ToolResult("c", (Text("x"),)),)),
    )


def test_a_name_that_tells_nobody_from_another_is_left_out_and_the_caller_told() -> None:
    turns: list[dict[str, object]] = [
        {"role": "user", "name": "ana", "content": "x"},
        {"role": "assistant", "name": "planner", "content": "y"},
        {"role": "user", "name": "ana", "content": "z"},
        {"role": "assistant", "content": "w"},
    ]
    conversation = decoded(messages=turns)
    assert conversation.left_out == ("messages[].name",)
    unsigned = [{key: value for key, value in turn.items() if key != "name"} for turn in turns]
    assert conversation.messages == decoded(messages=unsigned).messages


def test_names_that_tell_who_of_one_role_spoke_stand_in_front_of_what_was_said() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    turns: list[dict[str, object]] = [
        {"role": "system", "name": "rules", "content": "be brief"},
        {"role": "user", "name": "ana", "content": "x"},
        {"role": "assistant", "name": "writer", "content": "y", "thinking_blocks": [thought]},
        {"role": "user", "name": "critic", "content": "z"},
        {"role": "user", "content": "nobody"},
        {"role": "assistant", "name": "planner", "tool_calls": AGENT_TURNS["messages"][3]["tool_calls"]},
    ]
    conversation = decoded(messages=turns)
    assert [message.parts[:2] for message in conversation.messages[:2]] == [
        (Text("be brief"),),
        (Text("ana:"), Text("x")),
    ]
    of_writer, of_critic, of_nobody, of_planner = (message.parts for message in conversation.messages[2:])
    assert isinstance(of_writer[0], Reasoning) and of_writer[1:] == (Text("writer:"), Text("y"))
    assert of_critic == (Text("critic:"), Text("z")) and of_nobody == (Text("nobody"),)
    assert of_planner[0] == Text("planner:") and isinstance(of_planner[1], ToolCall)
    assert conversation.left_out == ("messages[].name",), "that of the system"
    assert decoded(messages=turns[1:]).left_out == ()


def test_fast_is_priority_and_one_stop_is_a_list_of_one() -> None:
    assert decoded(service_tier="fast").service_tier == "priority"
    assert decoded(stop="END").stop == ("END",)
    assert decoded(stop=[]).stop == decoded(stop=None).stop == ()


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("literal", ["0", "-1", "1e999", "9223372036854775808", "9" * 5000])
def test_a_bound_on_tokens_that_is_none_is_not_translated(field: str, literal: str) -> None:
    body = f'{{"model":"m","messages":[{{"role":"user","content":"x"}}],"{field}":{literal}}}'
    with pytest.raises(Failure, match=f"^{field} is out of range$") as raised:
        decode_request(body.encode())
    assert (raised.value.kind, raised.value.param) == (FailureKind.INVALID_BODY, field)
