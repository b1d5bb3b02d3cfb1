"""Requests of the Responses wire, whatever they say, however wrong or long they are."""

import json
import time

from hypothesis import given

from tests.unit.wires.misplaced_json import misplaced
from tests.unit.wires.responses_bodies import CODEX
from tests.unit.wires.responses_strategies import conversations
from triptych.core.conversation import Conversation
from triptych.core.failure import Failure, FailureKind
from triptych.wires.openai_responses import decode_request, encode_request, parse_request


@given(conversations)
def test_what_the_wire_can_say_comes_back_as_it_was(conversation: Conversation) -> None:
    result = encode_request(conversation, "m")
    assert result.left_out == ()
    parse_request(result.body)
    assert decode_request(result.body) == conversation


RICH = {
    **CODEX,
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
    "input": [
        *CODEX["input"],
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                {"type": "input_file", "filename": "a", "file_data": "data:text/plain;base64,aGk="},
            ],
        },
    ],
}


@given(misplaced(RICH))
def test_whatever_stands_in_the_place_of_a_value_is_translated_or_refused(body: bytes) -> None:
    try:
        conversation = decode_request(body)
    except Failure as failure:
        assert failure.kind in (FailureKind.INVALID_BODY, FailureKind.UNSUPPORTED_PARAMETER)  # noqa: PT017
        return
    assert decode_request(encode_request(conversation, "m").body).messages


def test_a_long_conversation_takes_no_longer_than_its_length() -> None:
    def seconds(turns: int) -> float:
        body = json.dumps({"model": "m", "input": CODEX["input"] * turns}).encode()
        started = time.perf_counter()
        encode_request(decode_request(body), "m")
        return time.perf_counter() - started

    seconds(10)
    assert min(seconds(800) for _ in range(3)) < 40 * min(seconds(100) for _ in range(3))
