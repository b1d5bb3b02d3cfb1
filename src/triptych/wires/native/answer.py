"""A whole answer of native chat, as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from triptych.core.conversation import Answer, Reasoning, Refusal, Text, ToolCall
from triptych.wires.anthropic_messages.tool_input import tool_input
from triptych.wires.anthropic_messages.vocabulary import STOP_REASONS

_encode = msgspec.json.encode


def content_blocks(parts: Sequence[Text | Refusal | Reasoning | ToolCall]) -> list[dict[str, Any]]:
    """What was said, as blocks of Anthropic's format: they can be sent back as they are. Reasoning is not
    among them."""
    blocks: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case Text() | Refusal():
                blocks.append(text_block(part.text))
            case ToolCall():
                blocks.append(tool_use_block(part.id, part.name, part.arguments))
    return blocks


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def tool_use_block(id_: str, name: str, arguments: str) -> dict[str, Any]:
    """``arguments``: JSON text, as the model wrote it."""
    return {"type": "tool_use", "id": id_, "name": name, "input": tool_input(arguments)}


def encode_answer(
    answer: Answer, *, message_id: str, conversation_id: str | None, meta: Mapping[str, Any]
) -> tuple[bytes, list[dict[str, Any]]]:
    """The body, and the content that stands in it."""
    content = content_blocks(answer.parts)
    message = {
        "id": message_id,
        "role": "assistant",
        "content": content,
        "stop_reason": STOP_REASONS[answer.stop],
    }
    data = {"message": message, "conversation_id": conversation_id}
    return _encode({"success": True, "data": data, "meta": meta}), content
