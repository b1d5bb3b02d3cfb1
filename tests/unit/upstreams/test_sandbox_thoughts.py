"""Thinking, structured answers and insisted calls: the same on every wire and every speaking model."""

import asyncio
import base64
import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from triptych.core.call import UpstreamCall
from triptych.upstreams.sandbox import SandboxUpstream
from triptych.wires.anthropic_messages import MessagesStream
from triptych.wires.anthropic_messages import read_answer as read_message
from triptych.wires.openai_chat import ChatStream
from triptych.wires.openai_chat import read_answer as read_completion
from triptych.wires.openai_responses import ResponsesStream
from triptych.wires.openai_responses import read_answer as read_response
from triptych.wires.sse import parse_block

MESSAGES, CHAT, RESPONSES = "anthropic-messages", "openai-chat", "openai-responses"
PATHS = {MESSAGES: "/v1/messages", CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses"}
MESSAGE_EVENTS: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)
RESPONSE_EVENTS: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
SPEAKERS = ["sandbox-echo", "sandbox-lorem", "sandbox-tool", "a-real-model"]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
FITTING = {"city": "sample", "days": 2}
THINK: dict[str, dict[str, Any]] = {
    MESSAGES: {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    CHAT: {"reasoning_effort": "low"},
    RESPONSES: {
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    },
}
STRUCTURE: dict[str, dict[str, Any]] = {
    MESSAGES: {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    CHAT: {"response_format": {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}},
    RESPONSES: {"text": {"format": {"type": "json_schema", "name": "weather", "schema": SCHEMA}}},
}
TOOLS: dict[str, list[dict[str, Any]]] = {
    MESSAGES: [{"name": "look", "input_schema": SCHEMA}],
    CHAT: [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}],
    RESPONSES: [{"type": "function", "name": "look", "parameters": SCHEMA}],
}
LIMIT = {MESSAGES: "max_tokens", CHAT: "max_completion_tokens", RESPONSES: "max_output_tokens"}
THOUGHTS = "The last message says: Hello there"


def answer(wire: str, model: str = "sandbox-echo", asked: object = "Hello there", *, stream: bool = False,
           **fields: Any) -> bytes:  # fmt: skip
    turns = asked if isinstance(asked, list) else [{"role": "user", "content": asked}]
    request = {"model": model, "stream": stream, "input" if wire == RESPONSES else "messages": turns}
    body = json.dumps({**request, **({"max_tokens": 500} if wire == MESSAGES else {}), **fields}).encode()

    async def exchange() -> bytes:
        until = asyncio.get_running_loop().time() + 20
        call = UpstreamCall(wire, PATHS[wire], b"", (), body, model, stream, until)
        got = await SandboxUpstream(idle_timeout_s=5, pace_s=0).call(call)
        found = b""
        while chunk := await got.read():
            found += chunk
        assert got.status == 200, found
        return found

    return asyncio.run(exchange())


def events(body: bytes) -> list[Any]:
    found = []
    for block in body.split(b"\n\n")[:-1]:
        event = parse_block(block)
        assert event is not None
        if event.data != b"[DONE]":
            found.append(json.loads(event.data))
    return found


def said(wire: str, body: bytes) -> tuple[str | None, str | None, Any, int]:
    """Of a plain answer: the thoughts, the text, the arguments of the call, the thinking tokens."""
    whole = json.loads(body)
    thoughts = text = call = None
    if wire == MESSAGES:
        Message.model_validate(whole, strict=True)
        for block in whole["content"]:
            thoughts = block.get("thinking", thoughts)
            text = block.get("text", text)
            call = block.get("input", call)
        return thoughts, text, call, whole["usage"]["output_tokens_details"]["thinking_tokens"]
    if wire == CHAT:
        ChatCompletion.model_validate(whole, strict=True)
        message = whole["choices"][0]["message"]
        calls = message.get("tool_calls") or ()
        arguments = [json.loads(call["function"]["arguments"]) for call in calls]
        details = whole["usage"]["completion_tokens_details"]
        called = arguments[0] if arguments else None
        return message.get("reasoning_content"), message["content"], called, details["reasoning_tokens"]
    Response.model_validate_json(body, strict=True)
    for item in whole["output"]:
        if item["type"] == "reasoning":
            thoughts = "".join(part["text"] for part in item["summary"])
        elif item["type"] == "message":
            text = item["content"][0]["text"]
        else:
            call = json.loads(item["arguments"])
    return thoughts, text, call, whole["usage"]["output_tokens_details"]["reasoning_tokens"]


def gathered(wire: str, body: bytes) -> tuple[str | None, str | None, Any, int]:
    """The same of a streamed answer, as a client puts it together; every event has the official form."""
    found = events(body)
    if wire == RESPONSES:
        for number, event in enumerate(found):
            RESPONSE_EVENTS.validate_json(json.dumps(event), strict=True)
            assert event["sequence_number"] == number
        texts = {"response.reasoning_summary_text.delta": "", "response.output_text.delta": ""}
        for event in found:
            if event["type"] in texts:
                texts[event["type"]] += event["delta"]
        whole = said(wire, json.dumps(found[-1]["response"]).encode())
        assert tuple(texts.values()) == (whole[0] or "", whole[1] or "")
        done = [event["item"] for event in found if event["type"] == "response.output_item.done"]
        assert done == found[-1]["response"]["output"]
        return whole
    thoughts = text = None
    arguments = ""
    if wire == CHAT:
        for event in found:
            ChatCompletionChunk.model_validate(event, strict=True)
        for delta in [choice["delta"] for event in found for choice in event["choices"]]:
            thoughts = _joined(thoughts, delta.get("reasoning_content"))
            text = _joined(text, delta.get("content"))
            for call in delta.get("tool_calls") or ():
                arguments += call["function"]["arguments"]
        count = found[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"]
    else:
        opened: list[int] = []
        for event in found:
            if event["type"] != "ping":
                MESSAGE_EVENTS.validate_python(event, strict=True)
            if event["type"] == "content_block_start":
                opened.append(event["index"])
            delta = event.get("delta", {})
            thoughts = _joined(thoughts, delta.get("thinking"))
            text = _joined(text, delta.get("text"))
            arguments += delta.get("partial_json", "")
        assert opened == list(range(len(opened)))
        count = found[-2]["usage"]["output_tokens_details"]["thinking_tokens"]
    return thoughts, text, json.loads(arguments) if arguments else None, count


def _joined(before: str | None, piece: str | None) -> str | None:
    return before if piece is None else (before or "") + piece


def both(wire: str, model: str, **fields: Any) -> tuple[str | None, str | None, Any, int]:
    plain = said(wire, answer(wire, model, **fields))
    options = {"stream_options": {"include_usage": True}} if wire == CHAT else {}
    streamed = gathered(wire, answer(wire, model, stream=True, **options, **fields))
    assert streamed == plain or streamed == (*plain[:1], plain[1] or None, *plain[2:])
    return plain


@pytest.mark.parametrize("wire", PATHS)
@pytest.mark.parametrize("model", SPEAKERS)
def test_thoughts_come_first_when_they_are_asked_for(wire: str, model: str) -> None:
    thoughts, text, _, tokens = both(wire, model, **THINK[wire])
    assert (thoughts, tokens) == (THOUGHTS, 8)
    assert text == said(wire, answer(wire, model))[1]


@pytest.mark.parametrize("wire", PATHS)
def test_nobody_thinks_unasked(wire: str) -> None:
    unasked: dict[str, list[dict[str, Any]]] = {
        MESSAGES: [{}, {"thinking": {"type": "disabled"}}, {"thinking": None}],
        CHAT: [{}, {"reasoning_effort": "none"}, {"reasoning_effort": None}],
        RESPONSES: [
            {},
            {"reasoning": None},
            {"reasoning": {"effort": None}},
            {"reasoning": {"effort": "none", "summary": "auto"}},
        ],
    }
    for fields in unasked[wire]:
        assert both(wire, "sandbox-echo", **fields) == (None, "Hello there", None, 0)


@pytest.mark.parametrize("wire", PATHS)
def test_a_call_is_thought_about_too(wire: str) -> None:
    assert both(wire, "sandbox-tool", tools=TOOLS[wire], **THINK[wire]) == (THOUGHTS, None, FITTING, 8)


def test_a_streamed_call_begins_when_the_thoughts_have_ended() -> None:
    found = events(answer(CHAT, "sandbox-tool", stream=True, tools=TOOLS[CHAT], **THINK[CHAT]))
    keys = [key for event in found for key in event["choices"][0]["delta"]]
    parts = [key for key in keys if key in ("reasoning_content", "tool_calls")]
    assert parts == sorted(parts) and len(set(parts)) == 2


@pytest.mark.parametrize("wire", PATHS)
def test_thoughts_count_as_output_and_may_use_it_all_up(wire: str) -> None:
    key = {MESSAGES: "output_tokens", CHAT: "completion_tokens", RESPONSES: "output_tokens"}[wire]
    whole = json.loads(answer(wire, **THINK[wire]))
    assert whole["usage"][key] == 8 + 2
    cut = both(wire, "sandbox-echo", **THINK[wire], **{LIMIT[wire]: 9})
    assert cut == (THOUGHTS, "Hell", None, 8)
    for limit, told in ((2, "The last"), (8, THOUGHTS)):
        thoughts, text, _, tokens = both(wire, "sandbox-echo", **THINK[wire], **{LIMIT[wire]: limit})
        assert (thoughts, text or None, tokens) == (told, None, limit)


def test_a_thinking_block_is_signed_and_its_signature_streamed_last() -> None:
    fields = THINK[MESSAGES]
    block = json.loads(answer(MESSAGES, **fields))["content"][0]
    assert block["type"] == "thinking"
    assert len(base64.b64decode(block["signature"], validate=True)) == 64
    assert block == json.loads(answer(MESSAGES, **fields))["content"][0]
    assert block["signature"] != json.loads(answer(MESSAGES, asked="x", **fields))["content"][0]["signature"]
    found = events(answer(MESSAGES, stream=True, **fields))
    assert found[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    kinds = [event["delta"]["type"] for event in found if event["type"] == "content_block_delta"]
    assert kinds == [*["thinking_delta"] * 6, "signature_delta", *["text_delta"] * 2]


def test_thoughts_may_be_left_out_and_only_signed() -> None:
    fields = {"thinking": {"type": "adaptive", "display": "omitted"}}
    block = json.loads(answer(MESSAGES, **fields))["content"][0]
    assert block["thinking"] == "" and block["signature"]
    found = events(answer(MESSAGES, stream=True, **fields))
    kinds = [event["delta"]["type"] for event in found if event["type"] == "content_block_delta"]
    assert kinds == ["signature_delta", "text_delta", "text_delta"]


def test_a_reasoning_item_has_what_was_asked_for() -> None:
    def item(**fields: Any) -> dict[str, Any]:
        body = answer(RESPONSES, **fields)
        found = events(answer(RESPONSES, stream=True, **fields))
        added = [event["item"] for event in found if event["type"] == "response.output_item.added"]
        assert added[0]["summary"] == [] and "encrypted_content" not in added[0]
        first: dict[str, Any] = json.loads(body)["output"][0]
        assert first["type"] == "reasoning"
        return first

    assert item(reasoning={"effort": "high"})["summary"] == []
    assert "encrypted_content" not in item(reasoning={"effort": "high"})
    told = item(reasoning={"summary": "auto"})
    assert told["summary"] == [{"type": "summary_text", "text": THOUGHTS}]
    sealed = item(**THINK[RESPONSES])
    assert base64.b64decode(sealed["encrypted_content"], validate=True)
    assert answer(RESPONSES, **THINK[RESPONSES]) == answer(RESPONSES, **THINK[RESPONSES])


def test_the_events_of_a_summary_have_the_providers_order() -> None:
    found = events(answer(RESPONSES, stream=True, **THINK[RESPONSES]))
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        *["reasoning_summary_text.delta"] * 6,
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 2,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


@pytest.mark.parametrize("wire", PATHS)
def test_thoughts_are_taken_back_in_a_later_turn(wire: str) -> None:
    whole = json.loads(answer(wire, **THINK[wire]))
    hello, again = {"role": "user", "content": "Hello there"}, {"role": "user", "content": "again"}
    turns = {
        MESSAGES: lambda: [hello, {"role": "assistant", "content": whole["content"]}, again],
        CHAT: lambda: [hello, whole["choices"][0]["message"], again],
        RESPONSES: lambda: [hello, *whole["output"], again],
    }[wire]()
    assert said(wire, answer(wire, asked=turns))[1] == "again"


@pytest.mark.parametrize("wire", PATHS)
def test_our_own_reading_of_a_thoughtful_stream_agrees(wire: str) -> None:
    options = {"stream_options": {"include_usage": True}} if wire == CHAT else {}
    body = answer(wire, stream=True, **THINK[wire], **options)
    stream = {
        MESSAGES: MessagesStream,
        CHAT: lambda: ChatStream(include_usage=True),
        RESPONSES: ResponsesStream,
    }[wire]()
    read = {MESSAGES: read_message, CHAT: read_completion, RESPONSES: read_response}[wire]
    assert stream.feed(body) + (stream.final or b"") == body
    assert stream.usage() == read(answer(wire, **THINK[wire]))


@pytest.mark.parametrize("wire", PATHS)
@pytest.mark.parametrize("model", SPEAKERS)
def test_a_structured_answer_satisfies_its_schema(wire: str, model: str) -> None:
    _, text, _, _ = both(wire, model, **STRUCTURE[wire])
    assert json.loads(text or "") == FITTING


@pytest.mark.parametrize("wire", [CHAT, RESPONSES])
def test_any_object_will_do_where_any_is_asked_for(wire: str) -> None:
    wanted = {"type": "json_object"}
    fields = {"response_format": wanted} if wire == CHAT else {"text": {"format": wanted}}
    assert json.loads(both(wire, "sandbox-echo", **fields)[1] or "") == {"answer": "Hello there"}


@pytest.mark.parametrize("wire", PATHS)
@pytest.mark.parametrize("model", SPEAKERS)
def test_a_call_that_is_insisted_on_is_made_by_every_model(wire: str, model: str) -> None:
    insisting: dict[str, list[Any]] = {
        MESSAGES: [{"type": "any"}, {"type": "tool", "name": "look"}],
        CHAT: ["required", {"type": "function", "function": {"name": "look"}}],
        RESPONSES: [
            "required",
            {"type": "function", "name": "look"},
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "look"}],
            },
        ],
    }
    for choice in insisting[wire]:
        assert both(wire, model, tools=TOOLS[wire], tool_choice=choice)[2] == FITTING
        assert said(wire, answer(wire, model, tool_choice=choice))[2] is None


@pytest.mark.parametrize("wire", PATHS)
def test_the_tool_model_echoes_when_there_is_no_tool(wire: str) -> None:
    assert both(wire, "sandbox-tool") == (None, "Hello there", None, 0)
