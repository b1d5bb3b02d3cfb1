"""An id of ours and facts beside the message: nothing else of an answer changes."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.core.failure import Failure, FailureKind
from triptych.wires.anthropic_messages import MessagesStream
from triptych.wires.anthropic_messages.stamp import StampedStream, stamp_answer

META = {"request_id": "req_1"}


@pytest.mark.parametrize(
    ("body", "stamped"),
    [
        (
            b'{"id":"a","content":[],"x": 1.0}',
            b'{"id":"msg_1","content":[],"x": 1.0,"meta":{"request_id":"req_1"}}',
        ),
        (
            b' { "content" : [1] } \n',
            b' { "content" : [1],"id":"msg_1","meta":{"request_id":"req_1"} } \n',
        ),
        (
            b'{"meta":5,"content":[],"id":"a"}',
            b'{"meta":{"request_id":"req_1"},"content":[],"id":"msg_1"}',
        ),
    ],
)
def test_only_what_is_ours_changes(body: bytes, stamped: bytes) -> None:
    assert stamp_answer(body, "msg_1", META) == stamped


def test_a_count_has_no_id() -> None:
    assert stamp_answer(b'{"input_tokens":3}', None, META) == (
        b'{"input_tokens":3,"meta":{"request_id":"req_1"}}'
    )
    assert stamp_answer(b"{}", None, META) == b'{"meta":{"request_id":"req_1"}}'


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"",
        b'{"content":[],"content":[]}',
        b"{}",
        b'{"content":null}',
        b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}',
    ],
)
def test_what_is_no_answer_is_the_providers_failure(body: bytes) -> None:
    with pytest.raises(Failure) as caught:
        stamp_answer(body, "msg_1", META)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


START = b'event: message_start\ndata: {"type":"message_start","message":{"id":"a", "x": 1.0}}\n\n'
STAMPED = START.replace(b'"a"', b'"msg_1"')
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
REST = PING + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def fed(chunks: list[bytes]) -> bytes:
    stream = StampedStream(MessagesStream(), "msg_1")
    body = b"".join(map(stream.feed, chunks))
    return body + (stream.final or b"")


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (START + REST, STAMPED + REST),
        (b": hi\n\n" + START + REST, b": hi\n\n" + STAMPED + REST),
        (REST, REST),
        (PING + START + REST, PING + STAMPED + REST),
        (START.replace(b"event: message_start\n", b"") + REST, STAMPED + REST),
        (
            b"event: message_start\ndata: nonsense\n\n" + REST,
            b"event: message_start\ndata: nonsense\n\n" + REST,
        ),
    ],
)
def test_the_start_of_a_message_gets_the_id_and_the_rest_passes(stream: bytes, expected: bytes) -> None:
    assert json.loads(STAMPED.split(b"data: ")[1])["message"] == {"id": "msg_1", "x": 1.0}
    assert fed([stream]) == expected


@given(st.lists(st.integers(0, len(START + REST)), max_size=6))
def test_it_does_not_matter_how_the_stream_is_cut(cuts: list[int]) -> None:
    stream = START + REST
    places = sorted({0, *cuts, len(stream)})
    assert fed([stream[a:b] for a, b in itertools.pairwise(places)]) == STAMPED + REST


def test_a_second_start_is_the_clients_to_judge() -> None:
    assert fed([START + START + REST]) == STAMPED + START + REST
