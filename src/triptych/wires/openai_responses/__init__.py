"""The OpenAI Responses wire (https://platform.openai.com/docs/api-reference/responses), sans-IO."""

from triptych.wires.governed_fields import STRIPPED_FIELDS
from triptych.wires.openai_responses.answer_codec import decode_answer, encode_answer
from triptych.wires.openai_responses.event_decoder import EventDecoder
from triptych.wires.openai_responses.event_encoder import EventEncoder
from triptych.wires.openai_responses.fields import EXPRESSES, FIELDS, LEAVES_OUT
from triptych.wires.openai_responses.request import ResponsesRequest, parse_request, rewrite_request
from triptych.wires.openai_responses.request_decoder import decode_request
from triptych.wires.openai_responses.request_encoder import encode_request
from triptych.wires.openai_responses.slots import answer_slots, text_deltas, text_slots
from triptych.wires.openai_responses.stream import ResponsesStream
from triptych.wires.openai_responses.usage import read_answer

__all__ = [
    "EXPRESSES",
    "FIELDS",
    "LEAVES_OUT",
    "STRIPPED_FIELDS",
    "EventDecoder",
    "EventEncoder",
    "ResponsesRequest",
    "ResponsesStream",
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
