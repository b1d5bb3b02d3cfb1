"""Every kind of failure in the one form of the emotion surface; the ids of its requests."""

import json
import re

import pytest

from triptych.core.failure import Blame, Failure, FailureKind
from triptych.core.ids import UlidSource
from triptych.surfaces.emotion.failures import (
    ROWS,
    emotion_error,
    emotion_stream_error,
    error_member,
    request_id,
)

K = FailureKind
ULID = "01M8MTB5MR19RC944DND047304"
TYPES = {
    400: {"invalid_request_error"},
    401: {"authentication_error"},
    403: {"forbidden_error"},
    404: {"not_found_error"},
    405: {"invalid_request_error"},
    406: {"invalid_request_error"},
    408: {"invalid_request_error"},
    409: {"conflict_error"},
    413: {"invalid_request_error"},
    415: {"invalid_request_error"},
    422: {"invalid_request_error"},
    429: {"rate_limit_error"},
    431: {"invalid_request_error"},
    500: {"server_error"},
    503: {"server_error"},
}
"""Written down from the contract's page."""
WITHOUT_PARAM = {401, 405, 406, 408, 415, 429, 431, 500, 503}


@pytest.mark.parametrize("kind", FailureKind)
def test_a_kind_has_the_type_of_its_status_and_a_param_only_where_one_is_at_fault(kind: FailureKind) -> None:
    answer = emotion_error(Failure(kind, "What was wrong.", param="messages[0]"), ULID)
    told = json.loads(answer.body)["error"]
    assert told["type"] in TYPES[answer.status]
    assert list(told) == [n for n in ("type", "code", "message", "param", "request_id") if n in told]
    assert answer.status not in WITHOUT_PARAM or "param" not in told
    assert told["request_id"] == request_id(ULID)
    frame = emotion_stream_error(Failure(kind, "x\n\ndata: y", param="messages[0]"), ULID)
    assert frame.startswith(b'data: {"error":{') and frame.endswith(b"}}\n\n") and frame.count(b"\n") == 2


def test_every_kind_has_a_row() -> None:
    assert set(ROWS) == set(FailureKind)


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if ROWS[kind].status == 503])
def test_what_is_unavailable_points_to_the_status(kind: FailureKind) -> None:
    failure = Failure(kind, "What was wrong.")
    message = error_member(failure, "req-0000000000")["message"]
    assert "/v2/status" in message
    # What a provider said of itself is not the caller's business.
    assert ("What was wrong." in message) == (failure.blame is not Blame.PROVIDER)


def test_nothing_internal_is_told() -> None:
    told = error_member(Failure(K.INTERNAL_ERROR, "Report it with the request id req_01."), "req-0000000000")
    assert told["message"].startswith("Unexpected error.") and "req_" not in told["message"]


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if ROWS[kind].status == 429])
def test_every_429_says_how_long_to_wait(kind: FailureKind) -> None:
    for failure, wait in ((Failure(kind), b"1"), (Failure(kind, retry_after_s=7), b"7")):
        headers = emotion_error(failure, ULID).headers
        assert [value for name, value in headers if name == b"retry-after"] == [wait]


def test_request_ids_are_ten_hex_digits_of_their_exchange() -> None:
    assert request_id("0" * 26) == "req-0000000000"
    assert request_id("7" + "Z" * 25) == "req-ffffffffff"
    new = UlidSource().new
    shown = {request_id(new()) for _ in range(2000)}
    assert len(shown) == 2000
    assert all(re.fullmatch("req-[0-9a-f]{10}", one) for one in shown)
