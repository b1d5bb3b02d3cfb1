"""A provider's streamed answer on this wire: its regular form, its end, its usage.

The events are those of https://platform.openai.com/docs/api-reference/responses-streaming.
"""

import re

import msgspec

from triptych.core.usage import NO_USAGE, Usage
from triptych.wires.estimate import UNREADABLE
from triptych.wires.openai_responses.failed import failed_frames
from triptych.wires.openai_responses.usage import FAILED, Counts, counted, read_counts
from triptych.wires.relay_stream import MAX_EVENT_BYTES, RelayStream, Verdict
from triptych.wires.sse import CR, Event

_HEAD = b"event: response."
_DELTA = b".delta\ndata: "
# The vendor's longest name of a delta has less than half of that.
_LONGEST_NAME_BYTES = 96
# What a model wrote, as the JSON string of a delta holds it.
_TEXT = re.compile(rb'"delta"[ \t]?:[ \t]?"((?:[^"\\]++|\\.)*+)"', re.DOTALL)

_SNAPSHOTS = frozenset({"response.created", "response.queued", "response.in_progress"})
_ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": FAILED,
}


class _Error(msgspec.Struct):
    type: object = None
    code: object = None


class _Response(msgspec.Struct):
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Ended(msgspec.Struct):
    response: _Response


class _ErrorEvent(msgspec.Struct):
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    code: object = None


class _Typed(msgspec.Struct):
    type: str = ""


_ENDED = msgspec.json.Decoder(_Ended)
_ERROR_EVENT = msgspec.json.Decoder(_ErrorEvent)
_ERROR = msgspec.json.Decoder(_Error)
_TYPED = msgspec.json.Decoder(_Typed)


class ResponsesStream(RelayStream):
    """The terminal event is the first of:

    - ``response.completed`` or ``response.incomplete``: ``ended`` is ``completed`` or
      ``incomplete``, both are regular ends;
    - ``response.failed``: ``failed``, the provider's verdict, relayed like any other event;
      ``error_type`` is the code in it;
    - ``error``: ``error``. It is terminal at once, because nothing needs to follow it. A
      ``response.failed`` that does follow goes with it unchanged: in ``final`` when it came in
      the same chunk, out of ``feed`` when it came later.
    """

    __slots__ = ("_counts", "_deltas", "_last", "_relayed", "_request_bytes", "_snapshot", "_text_bytes")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES, request_bytes: int = 0) -> None:
        """``request_bytes`` is the length of the request's body, for an estimate of the input
        when the provider does not count."""
        super().__init__(max_event_bytes)
        self._request_bytes = request_bytes
        self._counts: Counts | None = None
        self._deltas = 0
        self._text_bytes = 0
        self._relayed = 0
        # Data of the last event relayed and of the last one that tells of the whole response:
        # read only if the stream has to be ended by us.
        self._last = b""
        self._snapshot = b""

    def _take_delta(self, block: bytes) -> bool:
        """One delta of whatever kind in the form OpenAI writes it: two lines and a blank one."""
        if not block.startswith(_HEAD):
            return False
        name_end = block.find(_DELTA, len(_HEAD), _LONGEST_NAME_BYTES)
        # Three line feeds, the last two at the end: the first is the one just found.
        if name_end < 0 or not block.endswith(b"\n\n") or block.count(b"\n") != 3 or CR in block:
            return False
        self.started = True
        self._delta(block[name_end + len(_DELTA) : -2])
        return True

    def _delta(self, data: bytes) -> None:
        self._relayed += 1
        self._last = data
        self._deltas += 1
        text = _TEXT.search(data)
        if text is not None:
            self._text_bytes += text.end(1) - text.start(1)

    def take_event(self, event: Event) -> Verdict:
        data = event.data
        type_ = event.type or _type_of(data)
        if type_ == "error":
            self.ended = type_
            self.error_type = _word_of_error(data)
            return Verdict.FINAL
        if type_ in _ENDS:
            self.ended = _ENDS[type_]
            self._read_end(data)
            return Verdict.FINAL
        if type_.endswith(".delta"):
            self._delta(data)
            return Verdict.RELAYED
        self._relayed += 1
        self._last = data
        if type_ in _SNAPSHOTS:
            self._snapshot = data
        return Verdict.RELAYED

    def _read_end(self, data: bytes) -> None:
        try:
            response = _ENDED.decode(data).response
        except UNREADABLE:
            return
        self._counts = read_counts(response.usage)
        if self.ended == FAILED:
            self.error_type = _word(response.error)

    def usage(self) -> Usage:
        """What the provider worked on so far, as far as it can be known.

        The provider's counts when the terminal event had some and they are believable; else an
        estimate from the request and the length of the deltas. NO_USAGE when nothing began, or
        when the provider gave up before it wrote anything and counts nothing.
        """
        if self._counts is None and not self._deltas:
            began = bool(self._snapshot) or self._relayed > 0 or self.ended in ("completed", "incomplete")
            if not began or self.ended in (FAILED, "error"):
                return NO_USAGE
        return counted(
            self._counts or Counts(),
            request_bytes=self._request_bytes,
            text_bytes=self._text_bytes,
            whole=self._counts is not None,
        )

    def failed_frames(self, message: str, code: str) -> bytes:
        """What ends a stream that its provider did not end: ``event: error`` with OpenAI's error
        object, then ``event: response.failed`` with the response as it was last told of, now
        ``status`` ``failed``, numbered after the last event that was relayed.

        Pure: changes nothing here. May be called at any time, after the terminal event too (which
        then must not be sent).
        """
        return failed_frames(self._snapshot, self._last, self._relayed, message, code)


def _word_of_error(data: bytes) -> str | None:
    """Documented is a ``code`` at top level; sent is often an ``error`` object."""
    try:
        event = _ERROR_EVENT.decode(data)
    except UNREADABLE:
        return None
    return _word(event.error) or _said(event.code)


def _word(raw: msgspec.Raw | msgspec.UnsetType) -> str | None:
    """The provider's word for its error: the type, else the code."""
    if raw is msgspec.UNSET:
        return None
    try:
        error = _ERROR.decode(raw)
    except UNREADABLE:
        return None
    return _said(error.type) or _said(error.code)


def _said(word: object) -> str | None:
    return word if isinstance(word, str) and word else None


def _type_of(data: bytes) -> str:
    """The ``type`` of an event that has no ``event`` field."""
    try:
        return _TYPED.decode(data).type
    except UNREADABLE:
        return ""
