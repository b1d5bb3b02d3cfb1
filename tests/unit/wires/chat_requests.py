"""Requests of the chat wire: built, read and written."""

import json
from typing import Any

import pytest

from triptych.core.conversation import Conversation, Message, Role, Text
from triptych.core.failure import Failure, FailureKind
from triptych.wires.openai_chat import decode_request, encode_request

USER = {"role": "user", "content": "What is the weather in Paris?"}
HELLO = Message(Role.USER, (Text("hello"),))
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "strict": True,
    },
}
AGENT_TURNS: dict[str, Any] = {
    "model": "gpt-5",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city":1}'},
                },
                {"id": "c2", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "12 degrees"},
        {
            "role": "tool",
            "tool_call_id": "c2",
            "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}],
        },
        {"role": "assistant", "refusal": "No.", "content": None},
        {"role": "system", "content": "Now in French."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "And this?"},
                {"type": "image_url", "image_url": {"url": "https://a.test/cat.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC"}},
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAEC"},
                },
                {"type": "file", "file": {"file_id": "file-1"}},
            ],
        },
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_completion_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": ["END", "STOP"],
    "tools": [WEATHER],
    "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "w", "description": "d", "schema": {"type": "object"}, "strict": False},
    },
    "reasoning_effort": "low",
    "verbosity": "high",
    "service_tier": "flex",
    "user": "u-1",
    "safety_identifier": "s-1",
    "prompt_cache_key": "k-1",
    "prompt_cache_retention": "24h",
}


def decoded(**fields: object) -> Conversation:
    return decode_request(json.dumps({"model": "m", "messages": [USER], **fields}).encode())


def said(*messages: dict[str, object]) -> tuple[Message, ...]:
    return decoded(messages=[USER, *messages]).messages[1:]


def encoded(conversation: Conversation) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode_request(conversation, "m").body)
    return body


def written(*messages: Message, **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = encoded(Conversation(messages=messages, **fields))["messages"]
    return found


def wrong(**fields: object) -> Failure:
    with pytest.raises(Failure) as raised:
        decoded(**fields)
    assert raised.value.kind is FailureKind.INVALID_BODY
    return raised.value
