"""The OpenAI Chat Completions wire (https://platform.openai.com/docs/api-reference/chat), sans-IO."""

from triptych.wires.governed_fields import STRIPPED_FIELDS
from triptych.wires.openai_chat.request import ChatRequest, parse_request, rewrite_request
from triptych.wires.openai_chat.stream import ChatStream
from triptych.wires.openai_chat.usage import read_answer

__all__ = [
    "STRIPPED_FIELDS",
    "ChatRequest",
    "ChatStream",
    "parse_request",
    "read_answer",
    "rewrite_request",
]
