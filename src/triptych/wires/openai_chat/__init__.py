"""The OpenAI Chat Completions wire (https://platform.openai.com/docs/api-reference/chat), sans-IO."""

from triptych.wires.governed_fields import STRIPPED_FIELDS
from triptych.wires.openai_chat.answer_codec import decode_answer, encode_answer
from triptych.wires.openai_chat.event_decoder import EventDecoder
from triptych.wires.openai_chat.event_encoder import EventEncoder
from triptych.wires.openai_chat.fields import EXPRESSES, FIELDS, LEAVES_OUT
from triptych.wires.openai_chat.request import ChatRequest, parse_request, rewrite_request, with_body
from triptych.wires.openai_chat.request_decoder import decode_request
from triptych.wires.openai_chat.request_encoder import encode_request
from triptych.wires.openai_chat.slots import answer_slots, text_deltas, text_slots
from triptych.wires.openai_chat.stream import ChatStream
from triptych.wires.openai_chat.usage import read_answer

__all__ = [
    "EXPRESSES",
    "FIELDS",
    "LEAVES_OUT",
    "STRIPPED_FIELDS",
    "ChatRequest",
    "ChatStream",
    "EventDecoder",
    "EventEncoder",
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
    "with_body",
]
