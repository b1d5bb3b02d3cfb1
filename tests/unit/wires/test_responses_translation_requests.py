"""Requests of the Responses wire: what a client asks reaches the one model."""

import json

import msgspec
import pytest

from tests.unit.wires.responses_bodies import CODEX, PDF, PDF_URL, PNG, SCHEMA
from triptych.core.conversation import (
    CacheHint,
    Conversation,
    Document,
    FileId,
    Image,
    Message,
    Opaque,
    OutputFormat,
    PlainText,
    Reasoning,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from triptych.core.failure import Failure, FailureKind
from triptych.wires.openai_responses import decode_request, encode_request, parse_request


def decoded(**fields: object) -> Conversation:
    body = json.dumps({"model": "m", "input": "hello", **fields}).encode()
    parse_request(body)
    return decode_request(body)


def items(*given: dict[str, object]) -> tuple[Message, ...]:
    return decoded(input=list(given)).messages


def refusal(**fields: object) -> Failure:
    with pytest.raises(Failure) as raised:
        decode_request(json.dumps({"model": "m", "input": "hello", **fields}).encode())
    return raised.value


def test_a_turn_of_codex_is_understood() -> None:
    body = json.dumps(CODEX).encode()
    assert parse_request(body).stateless
    assert decode_request(body) == Conversation(
        messages=(
            Message(Role.SYSTEM, (Text("You are Codex."),)),
            Message(Role.DEVELOPER, (Text("<permissions>"),)),
            Message(Role.USER, (Text("list files"),)),
            Message(
                Role.ASSISTANT,
                (
                    Reasoning("**Listing**\n\nb", Opaque("openai", "gAAAAB")),
                    Text("I look."),
                    ToolCall("call_1", "shell", '{"command":["ls"]}'),
                    ToolCall("call_2", "shell", "{}"),
                ),
            ),
            Message(
                Role.TOOL,
                (ToolResult("call_1", (Text("a\nb"),)), ToolResult("call_2", (Text("exit 1"),), True)),
            ),
        ),
        stream=True,
        tools=(Tool("shell", msgspec.Raw(b"{}"), "Runs", False),),
        tool_choice=ToolChoice("auto"),
        parallel_tool_calls=True,
        thinking=Thinking("high", shown=True),
        verbosity="low",
        prompt_cache_key="0199",
        left_out=("client_metadata", "input[].phase"),
    )


def test_every_setting_has_its_place() -> None:
    conversation = decoded(
        max_output_tokens=77,
        temperature=0.5,
        top_p=0.25,
        tool_choice={"type": "function", "name": "f"},
        service_tier="fast",
        user="u",
        safety_identifier="s",
        prompt_cache_retention="24h",
        reasoning={"generate_summary": "concise"},
        text={"format": {"type": "json_object"}},
    )
    assert conversation == Conversation(
        messages=(Message(Role.USER, (Text("hello"),)),),
        max_output_tokens=77,
        temperature=0.5,
        top_p=0.25,
        tool_choice=ToolChoice("named", "f"),
        output_format=OutputFormat(),
        thinking=Thinking(shown=True),
        service_tier="priority",
        user="u",
        safety_identifier="s",
        prompt_cache_retention="24h",
    )


def test_settings_that_are_null_or_empty_say_nothing() -> None:
    names = "instructions max_output_tokens temperature tool_choice text reasoning include stream_options"
    empty = {"reasoning": {"effort": None}, "text": {"format": {"type": "text"}}, "instructions": ""}
    assert decoded(**dict.fromkeys(names.split())) == decoded(**empty) == decoded()


def test_a_schema_keeps_every_byte() -> None:
    body = (
        b'{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"n","strict":null,"schema":%b}},'
        b'"tools":[{"type":"function","name":"f","parameters":%b}]}' % (bytes(SCHEMA), bytes(SCHEMA))
    )
    conversation = decode_request(body)
    assert conversation.output_format == OutputFormat(SCHEMA, "n")
    written = encode_request(conversation, "m").body
    assert written.count(bytes(SCHEMA)) == 2


def test_a_tool_without_parameters_takes_none() -> None:
    (tool,) = decoded(tools=[{"type": "function", "name": "f", "parameters": None}]).tools
    assert json.loads(bytes(tool.schema)) == {"type": "object", "properties": {}}
    assert refusal(tools=[{"type": "function", "name": "f", "parameters": []}]).param == "tools[].parameters"


def test_empty_texts_are_nothing() -> None:
    assert decoded(input="").messages == ()
    said: dict[str, object] = {"role": "user", "content": [{"type": "input_text", "text": ""}]}
    assert items({"role": "user", "content": ""}, said) == ()
    assert items({"type": "reasoning", "id": "rs_1", "summary": []}) == ()


def test_images_and_files_are_read_from_wherever_they_are() -> None:
    (message,) = items(
        {
            "role": "user",
            "content": [
                {"type": "input_image", "detail": "auto", "image_url": "https://a.test/a.png"},
                {"type": "input_image", "detail": "high", "image_url": "data:image/png;base64,iVBORw0KGgo="},
                {"type": "input_image", "file_id": "file-1"},
                {
                    "type": "input_file",
                    "filename": "a.pdf",
                    "file_data": PDF_URL,
                },
                {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="},
                {"type": "input_file", "file_url": "https://a.test/a.pdf", "detail": "auto"},
                {"type": "input_file", "file_id": "file-2"},
            ],
        }
    )
    assert message.parts == (
        Image(Url("https://a.test/a.png")),
        Image(PNG, "high"),
        Image(FileId("openai", "file-1")),
        Document(PDF, "a.pdf"),
        Document(PlainText("hi"), "a.txt"),
        Document(Url("https://a.test/a.pdf")),
        Document(FileId("openai", "file-2")),
    )


@pytest.mark.parametrize(
    ("part", "kind", "param"),
    [
        ({"type": "input_image"}, FailureKind.INVALID_BODY, "input[].content[]"),
        (
            {"type": "input_image", "image_url": "https://a.test", "file_id": "f"},
            FailureKind.INVALID_BODY,
            "input[].content[]",
        ),
        (
            {"type": "input_image", "image_url": "data:image/png,raw"},
            FailureKind.INVALID_BODY,
            "input[].content[].image_url",
        ),
        (
            {"type": "input_file", "file_data": "JVBERi0="},
            FailureKind.INVALID_BODY,
            "input[].content[].file_data",
        ),
        (
            {"type": "input_file", "file_data": "data:text/plain;base64,/w=="},
            FailureKind.INVALID_BODY,
            "input[].content[].file_data",
        ),
        (
            {"type": "input_file", "file_id": "f", "detail": "low"},
            FailureKind.UNSUPPORTED_PARAMETER,
            "input[].content[].detail",
        ),
        (
            {"type": "input_image", "file_id": "f", "detail": "huge"},
            FailureKind.UNSUPPORTED_PARAMETER,
            "input[].content[].detail",
        ),
        ({"type": "output_text", "text": "x"}, FailureKind.UNSUPPORTED_PARAMETER, "input[].content[].type"),
        ({"type": "input_text", "text": 7}, FailureKind.INVALID_BODY, "input[].content[].text"),
        ({"type": "input_text"}, FailureKind.INVALID_BODY, "input[].content[].text"),
    ],
)
def test_a_part_that_cannot_be_understood_is_named(
    part: dict[str, object], kind: FailureKind, param: str
) -> None:
    failure = refusal(input=[{"role": "user", "content": [part]}])
    assert (failure.kind, failure.param) == (kind, param)


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "input[].call_id"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "input[].name"),
        ({"type": "function_call", "call_id": "c", "name": "f"}, "input[].arguments"),
        ({"type": "function_call_output", "call_id": None, "output": "x"}, "input[].call_id"),
        ({"type": "function_call_output", "call_id": "c"}, "input[].output"),
        ({"role": "user"}, "input[].content"),
        ({"content": "x"}, "input[].role"),
        ({"type": "reasoning", "content": "x"}, "input[].content"),
    ],
)
def test_what_an_item_must_have_is_named(item: dict[str, object], param: str) -> None:
    failure = refusal(input=[item])
    assert (failure.kind, failure.param) == (FailureKind.INVALID_BODY, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning": {"effort": "colossal"}}, "reasoning.effort"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"text": {"verbosity": "chatty"}}, "text.verbosity"),
        ({"service_tier": "ultrafast"}, "service_tier"),
        ({"tool_choice": "any"}, "tool_choice"),
        (
            {"input": [{"role": "system", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[].content[].type",
        ),
        ({"input": [{"role": "critic", "content": "x"}]}, "input[].role"),
    ],
)
def test_a_value_that_cannot_be_translated_is_named(fields: dict[str, object], param: str) -> None:
    failure = refusal(**fields)
    assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED_PARAMETER, param)


def test_a_breakpoint_is_a_cache_hint() -> None:
    def hint(**fields: str) -> CacheHint | None:
        mark = {"mode": "explicit", **fields}
        part = {"type": "input_text", "text": "x", "prompt_cache_breakpoint": mark}
        ((text,),) = [message.parts for message in items({"role": "user", "content": [part]})]
        assert isinstance(text, Text)
        return text.cache

    assert hint() == CacheHint()
    assert hint(ttl="30m") == hint(ttl="12h") == CacheHint("1h")


@pytest.mark.parametrize(
    ("sealed", "opaque"),
    [
        ("gAAA", Opaque("openai", "gAAA", id="rs_9")),
        ("anthropic:c2ln", Opaque("anthropic", "c2ln")),
        ("anthropic-redacted:ZGF0YQ==", Opaque("anthropic", "ZGF0YQ==", redacted=True)),
    ],
)
def test_reasoning_comes_back_to_the_vendor_that_sealed_it(sealed: str, opaque: Opaque) -> None:
    item: dict[str, object] = {"type": "reasoning", "id": "rs_9", "summary": [], "encrypted_content": sealed}
    assert items(item) == (Message(Role.ASSISTANT, (Reasoning("", opaque),)),)


@pytest.mark.parametrize("bound", [0, -1, 2**63, 10**30])
def test_a_bound_on_tokens_that_is_none_is_not_translated(bound: int) -> None:
    failure = refusal(max_output_tokens=bound)
    assert (failure.kind, failure.param) == (FailureKind.INVALID_BODY, "max_output_tokens")
    assert failure.message == "max_output_tokens is out of range"
