"""The end of a stream that its provider left unfinished: two frames of our own."""

from collections.abc import Mapping

import msgspec

from triptych.core.failure import Failure
from triptych.wires.estimate import UNREADABLE, plausible
from triptych.wires.jsontext import members
from triptych.wires.splice import Edit, replace_value, splice
from triptych.wires.sse import frame

ERROR_TYPE = "server_error"
_FAILED = b'"failed"'
# What a response must have at least (openai.types.responses.Response), for a stream that told of
# none. Its id is the provider's to give: there is none.
_UNTOLD = (
    b'{"id":"","object":"response","created_at":0,"model":"","output":[],"parallel_tool_calls":true,'
    b'"tool_choice":"auto","tools":[]}'
)


class _Numbered(msgspec.Struct):
    sequence_number: object = None


class _Telling(msgspec.Struct):
    response: msgspec.Raw


_NUMBERED = msgspec.json.Decoder(_Numbered)
_TELLING = msgspec.json.Decoder(_Telling)


def failed_frames(telling: bytes, last: bytes, relayed: int, message: str, code: str) -> bytes:
    """``telling``: data of the last event with the response in it, or nothing; ``last``: data of the
    last event relayed; ``relayed``: how many there were, for a provider that does not number them.
    """
    error = {"message": message, "type": ERROR_TYPE, "code": code}
    # In a response the code is one of a closed list of the vendor's; ours is not on it.
    snapshot = _failed(telling, msgspec.json.encode({"code": ERROR_TYPE, "message": message}))
    return two_frames(error, snapshot, _next_number(last, relayed))


def two_frames(error: Mapping[str, str | None], snapshot: bytes, number: int) -> bytes:
    """``error`` is OpenAI's error object; ``snapshot``: the failed response; ``number``: the next."""
    return frame("error", msgspec.json.encode({"error": error})) + frame(
        "response.failed",
        b'{"type":"response.failed","sequence_number":%d,"response":%b}' % (number, snapshot),
    )


def as_failed(response: bytes, message: str) -> bytes:
    """A response object, byte for byte except for ``status`` and ``error``: it did not end."""
    return _failed(
        b'{"response":%b}' % response, msgspec.json.encode({"code": ERROR_TYPE, "message": message})
    )


def _next_number(last: bytes, relayed: int) -> int:
    """One more than the last event's; they begin at 0, so that otherwise their count will do."""
    try:
        number = plausible(_NUMBERED.decode(last).sequence_number)
    except UNREADABLE:
        number = None
    return relayed if number is None else number + 1


def _failed(telling: bytes, error: bytes) -> bytes:
    """The provider's response, byte for byte except for ``status`` and ``error``."""
    try:
        snapshot = bytes(_TELLING.decode(telling).response)
        found = members(snapshot)
    except (*UNREADABLE, Failure):
        snapshot = _UNTOLD
        found = members(snapshot)
    if not found:
        snapshot = _UNTOLD
        found = members(snapshot)
    values = {"status": _FAILED, "error": error}
    edits = [replace_value(member, values.pop(member.key)) for member in found if member.key in values]
    end = found[-1].value_end
    edits += [Edit(end, end, b',"%b":%b' % (name.encode(), value)) for name, value in values.items()]
    return splice(snapshot, edits)
