"""The Anthropic Messages wire (https://docs.claude.com/en/api/messages), sans-IO."""

from triptych.wires.anthropic_messages.answer_codec import decode_answer, encode_answer
from triptych.wires.anthropic_messages.event_decoder import EventDecoder
from triptych.wires.anthropic_messages.event_encoder import EventEncoder
from triptych.wires.anthropic_messages.fields import EXPRESSES, FIELDS, LEAVES_OUT
from triptych.wires.anthropic_messages.request import MessagesRequest, parse_request, rewrite_request
from triptych.wires.anthropic_messages.request_decoder import decode_request
from triptych.wires.anthropic_messages.request_encoder import encode_request
from triptych.wires.anthropic_messages.slots import answer_slots, text_deltas, text_slots
from triptych.wires.anthropic_messages.stream import MessagesStream
from triptych.wires.anthropic_messages.usage import read_answer
from triptych.wires.governed_fields import STRIPPED_FIELDS

__all__ = [
    "EXPRESSES",
    "FIELDS",
    "LEAVES_OUT",
    "STRIPPED_FIELDS",
    "EventDecoder",
    "EventEncoder",
    "MessagesRequest",
    "MessagesStream",
    "answer_slots",
    "decode_answer",
    "decode_request",
    "encode_answer",
    "encode_request",
    "parse_request",
    "read_answer",
    "rewrite_request",
    "text_deltas",
    "text_slots",
]
