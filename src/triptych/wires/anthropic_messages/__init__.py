"""The Anthropic Messages wire (https://docs.claude.com/en/api/messages), sans-IO."""

from triptych.wires.anthropic_messages.request import MessagesRequest, parse_request, rewrite_request
from triptych.wires.anthropic_messages.stream import MessagesStream
from triptych.wires.anthropic_messages.usage import read_answer
from triptych.wires.governed_fields import STRIPPED_FIELDS

__all__ = [
    "STRIPPED_FIELDS",
    "MessagesRequest",
    "MessagesStream",
    "parse_request",
    "read_answer",
    "rewrite_request",
]
