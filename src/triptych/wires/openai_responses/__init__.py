"""The OpenAI Responses wire (https://platform.openai.com/docs/api-reference/responses), sans-IO."""

from triptych.wires.governed_fields import STRIPPED_FIELDS
from triptych.wires.openai_responses.request import ResponsesRequest, parse_request, rewrite_request
from triptych.wires.openai_responses.stream import ResponsesStream
from triptych.wires.openai_responses.usage import read_answer

__all__ = [
    "STRIPPED_FIELDS",
    "ResponsesRequest",
    "ResponsesStream",
    "parse_request",
    "read_answer",
    "rewrite_request",
]
