"""The request bodies the load generators send and the answers the mock provider gives, built once, per wire.

Everything is deterministic, so that a client can check an answer byte for byte and a run can be repeated.
Shapes follow the vendors' references: Anthropic Messages, OpenAI Chat Completions, OpenAI Responses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MODEL_ID = "claude-haiku-4-5"
"""One model id for every target: peers with a built-in catalogue of models must know it."""

DELTA_COUNT = 64
DELTA_TEXT = "the quick fox, "
ANSWER_TEXT = ("The patient was seen on the ward and is well. " * 16)[:720]
USAGE_INPUT_TOKENS = 212
USAGE_OUTPUT_TOKENS = 180
FRAGMENT = "Summarise the following note in one sentence and keep every number that it contains. "


class Wire(StrEnum):
    """The three API dialects the mock provider and the load generators speak."""

    MESSAGES = "messages"
    CHAT = "chat"
    RESPONSES = "responses"


PATHS: dict[Wire, str] = {
    Wire.MESSAGES: "/v1/messages",
    Wire.CHAT: "/v1/chat/completions",
    Wire.RESPONSES: "/v1/responses",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the mock provider sends on one wire: a JSON body, and the separate events of a stream."""

    json_body: bytes
    events: tuple[bytes, ...]

    @property
    def stream_body(self) -> bytes:
        """The whole stream as a client sees it, without the HTTP chunk framing."""
        return b"".join(self.events)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _named(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: {_compact(value)}\n\n".encode()


def _unnamed(value: dict[str, Any]) -> bytes:
    return f"data: {_compact(value)}\n\n".encode()


def _messages_answer() -> Answer:
    message: dict[str, Any] = {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": MODEL_ID,
        "content": [{"type": "text", "text": ANSWER_TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": USAGE_INPUT_TOKENS,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": USAGE_OUTPUT_TOKENS,
            "service_tier": "standard",
        },
    }
    opening = message | {"content": [], "stop_reason": None}
    opening["usage"] = message["usage"] | {"output_tokens": 1}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": DELTA_TEXT}}
    closing = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": USAGE_OUTPUT_TOKENS},
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": opening},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *[delta] * DELTA_COUNT,
        {"type": "content_block_stop", "index": 0},
        closing,
        {"type": "message_stop"},
    ]
    return Answer(_compact(message).encode(), tuple(_named(event) for event in events))


def _chat_answer() -> Answer:
    head = {"id": "chatcmpl-BQ1xTzQ0c0LkYb7nq3", "created": 1_760_000_000, "model": MODEL_ID}
    usage = {
        "prompt_tokens": USAGE_INPUT_TOKENS,
        "completion_tokens": USAGE_OUTPUT_TOKENS,
        "total_tokens": USAGE_INPUT_TOKENS + USAGE_OUTPUT_TOKENS,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    message = {"role": "assistant", "content": ANSWER_TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = head | {"object": "chat.completion", "choices": [choice], "usage": usage}

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _unnamed(head | {"object": "chat.completion.chunk", "choices": [choice]})

    events = [
        chunk({"role": "assistant", "content": ""}),
        *[chunk({"content": DELTA_TEXT})] * DELTA_COUNT,
        chunk({}, "stop"),
        _unnamed(head | {"object": "chat.completion.chunk", "choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    ]
    return Answer(_compact(body).encode(), tuple(events))


def _responses_answer() -> Answer:
    def response(status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "id": "resp_68af4030592c81938ec0a5fbab4a3e9f",
            "object": "response",
            "created_at": 1_760_000_000,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": MODEL_ID,
            "output": output,
            "store": False,
            "usage": usage,
        }

    def item(text: str, status: str) -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": []}
        content = [part] if text else []
        return {"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": content}

    usage = {
        "input_tokens": USAGE_INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": USAGE_OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": USAGE_INPUT_TOKENS + USAGE_OUTPUT_TOKENS,
    }
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    streamed_text = DELTA_TEXT * DELTA_COUNT
    part = {"type": "output_text", "text": "", "annotations": []}
    streamed = item(streamed_text, "completed")
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response("in_progress", [], None)},
        {"type": "response.in_progress", "response": response("in_progress", [], None)},
        {"type": "response.output_item.added", "output_index": 0, "item": item("", "in_progress")},
        where
        | {
            "type": "response.content_part.added",
            "part": {"type": "output_text", "text": "", "annotations": []},
        },
        *[where | {"type": "response.output_text.delta", "delta": DELTA_TEXT}] * DELTA_COUNT,
        where | {"type": "response.output_text.done", "text": streamed_text},
        where | {"type": "response.content_part.done", "part": part | {"text": streamed_text}},
        {"type": "response.output_item.done", "output_index": 0, "item": streamed},
        {
            "type": "response.completed",
            "response": response("completed", [streamed], usage),
        },
    ]
    numbered = [_named(event | {"sequence_number": number}) for number, event in enumerate(events)]
    body = response("completed", [item(ANSWER_TEXT, "completed")], usage)
    return Answer(_compact(body).encode(), tuple(numbered))


def build_answers() -> dict[Wire, Answer]:
    """The mock provider's answers for all wires: JSON bodies of about 1 kB, streams of 64 deltas."""
    return {
        Wire.MESSAGES: _messages_answer(),
        Wire.CHAT: _chat_answer(),
        Wire.RESPONSES: _responses_answer(),
    }


def _tool(number: int) -> dict[str, Any]:
    properties = {
        "patient_id": {"type": "string", "description": "Identifier of the record to read."},
        "from_date": {"type": "string", "format": "date", "description": "First day, inclusive."},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
    }
    return {
        "name": f"lookup_{number:02d}",
        "description": "Looks up one kind of record of one patient and answers the newest first.",
        "input_schema": {"type": "object", "properties": properties, "required": ["patient_id"]},
    }


def build_request(
    wire: Wire, model: str = MODEL_ID, size_bytes: int = 1_000, *, stream: bool = False, tools: int = 0
) -> bytes:
    """A request body with three messages (user, assistant, user) of `size_bytes` before tools are added.

    `stream` asks for server-sent events; `tools` is the number of tool definitions put beside the messages.
    """

    def body(texts: tuple[str, str, str]) -> dict[str, Any]:
        turns = [
            {"role": role, "content": text}
            for role, text in zip(("user", "assistant", "user"), texts, strict=True)
        ]
        value: dict[str, Any] = {"model": model}
        if wire is Wire.RESPONSES:
            value |= {"input": turns, "max_output_tokens": 1024}
        else:
            value |= {"max_tokens": 1024, "messages": turns}
        if stream:
            value["stream"] = True
        return value

    missing_bytes = max(3, size_bytes - len(_compact(body(("", "", "")))))
    text = (FRAGMENT * (missing_bytes // len(FRAGMENT) + 1))[:missing_bytes]
    third = missing_bytes // 3
    value = body((text[:third], text[third : 2 * third], text[2 * third :]))
    if tools:
        plain = [_tool(number) for number in range(tools)]
        value["tools"] = plain if wire is Wire.MESSAGES else [_openai_tool(tool, wire) for tool in plain]
    return _compact(value).encode()


def _openai_tool(tool: dict[str, Any], wire: Wire) -> dict[str, Any]:
    function = {
        "name": tool["name"],
        "description": tool["description"],
        "parameters": tool["input_schema"],
    }
    return (
        {"type": "function", "function": function} if wire is Wire.CHAT else {"type": "function"} | function
    )
