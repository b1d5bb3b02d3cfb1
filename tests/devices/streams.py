"""Streams of the three wires that bring given pieces of a text, and what a client makes of a stream."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from triptych.wires.anthropic_messages.stream import MessagesStream
from triptych.wires.openai_chat.stream import ChatStream
from triptych.wires.openai_responses.stream import ResponsesStream
from triptych.wires.sse import BLOCK_END, parse_block

TEXT, ARGUMENTS, REASONING = "text", "arguments", "reasoning"


def _event(data: dict[str, Any], name: str | None = None, *, ascii_only: bool = False) -> bytes:
    told = json.dumps(data, ensure_ascii=ascii_only, separators=(",", ":")).encode()
    return (b"event: %b\n" % name.encode() if name else b"") + b"data: %b\n\n" % told


def _typed(data: dict[str, Any], ascii_only: bool) -> bytes:
    return _event(data, data["type"], ascii_only=ascii_only)


def messages_stream(pieces: Sequence[str], what: str = TEXT, *, ascii_only: bool = False) -> bytes:
    block: dict[str, Any]
    block, kind, member = {
        TEXT: ({"type": "text", "text": ""}, "text_delta", "text"),
        ARGUMENTS: (
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
            "input_json_delta",
            "partial_json",
        ),
        REASONING: ({"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"),
    }[what]
    start = {
        "type": "message",
        "role": "assistant",
        "id": "msg_1",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": kind, member: piece}}
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    return b"".join(_typed(event, ascii_only) for event in events)


def messages_text(stream: bytes) -> str:
    said = ""
    for event in events_of(stream):
        delta = event.get("delta", {})
        said += delta.get("text", "") + delta.get("partial_json", "") + delta.get("thinking", "")
    return said


def chat_stream(pieces: Sequence[str], what: str = TEXT, *, ascii_only: bool = False) -> bytes:
    def delta(piece: str) -> dict[str, Any]:
        if what == TEXT:
            return {"content": piece}
        if what == REASONING:
            return {"reasoning_content": piece}
        return {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}

    first: dict[str, Any] = {"role": "assistant", "content": ""}
    if what == ARGUMENTS:
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
        first = {"role": "assistant", "content": None, "tool_calls": [call]}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        told = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return _event(told, ascii_only=ascii_only)

    chunks = [chunk(first), *(chunk(delta(piece)) for piece in pieces), chunk({}, "stop")]
    return b"".join(chunks) + b"data: [DONE]\n\n"


def chat_text(stream: bytes) -> str:
    said = ""
    for chunk in events_of(stream):
        for choice in chunk["choices"]:
            delta = choice["delta"]
            said += delta.get("content") or ""
            said += delta.get("reasoning_content") or ""
            said += "".join(call["function"]["arguments"] for call in delta.get("tool_calls", ()))
    return said


def responses_stream(pieces: Sequence[str], what: str = TEXT, *, ascii_only: bool = False) -> bytes:
    whole = "".join(pieces)
    part: dict[str, Any] = {}
    if what == TEXT:
        family, member = "response.output_text", "text"
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        part = {"type": "output_text", "text": whole, "annotations": []}
        item: dict[str, Any] = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    elif what == REASONING:
        family, member = "response.reasoning_summary_text", "text"
        place = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
        item = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": whole}]}
    else:
        family, member = "response.function_call_arguments", "arguments"
        place = {"item_id": "fc_1", "output_index": 0}
        item = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": whole}
    begun = {
        **item,
        **{name: [] for name in ("content", "summary") if name in item},
        **({"arguments": ""} if what == ARGUMENTS else {}),
    }
    response: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "in_progress",
        "output": [],
    }
    ended = {
        **response,
        "status": "completed",
        "output": [item],
        "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12},
    }
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        *(
            [{"type": "response.content_part.added", **place, "part": {**part, "text": ""}}]
            if what == TEXT
            else []
        ),
        *({"type": f"{family}.delta", **place, "delta": piece} for piece in pieces),
        {"type": f"{family}.done", **place, member: whole},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": ended},
    ]
    return b"".join(
        _typed({**event, "sequence_number": number}, ascii_only) for number, event in enumerate(events)
    )


def responses_text(stream: bytes) -> str:
    """Checks that what is repeated whole is what was told in pieces."""
    said = ""
    numbers = []
    for event in events_of(stream):
        numbers.append(event["sequence_number"])
        if event["type"].endswith(".delta"):
            said += event["delta"]
        elif event["type"].endswith(("text.done", "arguments.done")):
            assert event.get("text", event.get("arguments")) == said
        elif event["type"] == "response.completed":
            (item,) = event["response"]["output"]
            repeated = item.get("content") or item.get("summary") or [{"text": item.get("arguments")}]
            assert repeated[0]["text"] == said
    assert numbers == list(range(len(numbers)))
    return said


def events_of(stream: bytes) -> list[dict[str, Any]]:
    found = []
    position = 0
    for end in BLOCK_END.finditer(stream):
        event = parse_block(stream[position : end.end()])
        position = end.end()
        if event is not None and event.data != b"[DONE]":
            found.append(json.loads(event.data))
    assert position == len(stream)
    return found


class WireStream(NamedTuple):
    name: str
    stream: Callable[..., bytes]
    text: Callable[[bytes], str]
    meter: Callable[[], Any]


WIRES = (
    WireStream("anthropic-messages", messages_stream, messages_text, MessagesStream),
    WireStream("openai-chat", chat_stream, chat_text, lambda: ChatStream(include_usage=True)),
    WireStream("openai-responses", responses_stream, responses_text, ResponsesStream),
)
