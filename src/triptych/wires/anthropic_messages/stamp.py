"""What a surface of ours puts on answers of this wire: an id of its own, and facts beside the message.

Every other byte stays: key order, unknown fields, white space and number spellings.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage
from triptych.wires.jsontext import Members, members
from triptych.wires.splice import Edit, replace_value, splice
from triptych.wires.sse import BLOCK_END, BOM, frame, parse_block

_encode = msgspec.json.encode
META = "meta"
_BRACKET = ord("[")


def stamp_answer(body: bytes, message_id: str | None, meta: Mapping[str, Any]) -> bytes:
    """A whole answer with ``message_id`` as its ``id`` (None: it has none) and ``meta`` at top level.

    Raises Failure UPSTREAM_INVALID_RESPONSE when it is no JSON object, has a member twice, or is to have
    an id and is no message: without ``content``, as an error under 200 is.
    """
    try:
        found = members(body)
    except Failure as error:
        raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from error
    edits = [_set(found, META, _encode(meta), body)]
    if message_id is not None:
        if not any(member.key == "content" and body[member.value_start] == _BRACKET for member in found):
            raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)
        edits.append(_set(found, "id", _encode(message_id), body))
    return splice(body, edits)


def _set(found: Members, key: str, value: bytes, body: bytes) -> Edit:
    for member in found:
        if member.key == key:
            return replace_value(member, value)
    if not found:
        start = body.index(b"{") + 1
        return Edit(start, start, b'"%b":%b' % (key.encode(), value))
    end = found[-1].value_end
    return Edit(end, end, b',"%b":%b' % (key.encode(), value))


class StreamMeter(Protocol):
    """A stream as it comes on this wire, a provider's own or a translated one."""

    @property
    def final(self) -> bytes | None: ...
    @property
    def ended(self) -> str | None: ...
    @property
    def started(self) -> bool: ...
    @property
    def held(self) -> int: ...
    def feed(self, chunk: bytes) -> bytes: ...
    def usage(self) -> Usage: ...


class StampedStream:
    """A stream of this wire whose ``message_start`` gets an id of ours; all else passes as it comes."""

    __slots__ = ("_inner", "_message_id", "_stamped")

    def __init__(self, inner: StreamMeter, message_id: str) -> None:
        self._inner = inner
        self._message_id = message_id
        self._stamped = False

    @property
    def final(self) -> bytes | None:
        return self._inner.final

    @property
    def ended(self) -> str | None:
        return self._inner.ended

    @property
    def started(self) -> bool:
        return self._inner.started

    @property
    def held(self) -> int:
        return self._inner.held

    def feed(self, chunk: bytes) -> bytes:
        ready = self._inner.feed(chunk)
        return ready if self._stamped or not ready else self._stamp(ready)

    def usage(self) -> Usage:
        return self._inner.usage()

    def _stamp(self, blocks: bytes) -> bytes:
        """``blocks`` are whole ones; the message starts in the first event that has data."""
        start = len(BOM) if blocks.startswith(BOM) else 0
        for end in BLOCK_END.finditer(blocks, start):
            event = parse_block(blocks[start : end.end()])
            if event is not None and event.type in ("message_start", ""):
                data = self._started(event.data)
                if data is not None:
                    self._stamped = True
                    return blocks[:start] + frame("message_start", data) + blocks[end.end() :]
            start = end.end()
        return blocks

    def _started(self, data: bytes) -> bytes | None:
        """The data with the id of its ``message`` replaced; None where there is no message in it."""
        try:
            for outer in members(data):
                if outer.key == "message":
                    message = data[outer.value_start : outer.value_end]
                    edit = _set(members(message), "id", _encode(self._message_id), message)
                    return splice(data, [replace_value(outer, splice(message, [edit]))])
        except Failure:
            pass  # what cannot be read is the client's to judge
        return None
