"""What the caller of a kept response is told, and what is written down of it: the same bytes.

The provider is told to keep nothing and says so; the caller is told where his response is kept.
Three members of the response object are ours then, wherever it stands in the answer: ``store``,
``conversation`` and ``previous_response_id``. Everything else is relayed as it comes.
"""

import re

import msgspec

from triptych.core.failure import FACTS, Failure, FailureKind
from triptych.wires.estimate import UNREADABLE
from triptych.wires.jsontext import members
from triptych.wires.openai_responses.failed import as_failed
from triptych.wires.splice import Edit, replace_value, splice
from triptych.wires.sse import BLOCK_END, frame, parse_block

FAILED = "failed"
_TELLING = frozenset(
    f"response.{word}" for word in ("created", "queued", "in_progress", "completed", "incomplete", FAILED)
)
_MAY_TELL = re.compile(rb"response\.(?:created|queued|in_progress|completed|incomplete|failed)")
_ENDED = ("completed", "incomplete")
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


class _Response(msgspec.Struct):
    id: object = None
    status: object = None


class _Part(msgspec.Struct):
    type: str = ""
    text: str = ""


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_Part] | None = None


class _Output(msgspec.Struct):
    output: list[_Item] = []


class _Numbered(msgspec.Struct):
    type: str = ""
    sequence_number: int | None = None


_RESPONSE = msgspec.json.Decoder(_Response)
_OUTPUT = msgspec.json.Decoder(_Output)
_NUMBERED = msgspec.json.Decoder(_Numbered)


class Recording:
    """One response as its caller sees it, plain or streamed."""

    __slots__ = ("_told", "id", "response", "status")

    def __init__(self, conversation_id: str, previous_response_id: str | None) -> None:
        told: dict[str, bytes] = {
            "store": b"true",
            "conversation": msgspec.json.encode({"id": conversation_id}),
        }
        if previous_response_id is not None:
            told["previous_response_id"] = msgspec.json.encode(previous_response_id)
        self._told = told
        self.id: object = None
        """The provider's, of whatever type; None as long as it told none."""
        self.status: object = None
        self.response = b""
        """The response object as it was told of last."""

    @property
    def ended(self) -> str:
        """How it is kept: ``completed``, ``incomplete`` or ``failed``."""
        return self.status if isinstance(self.status, str) and self.status in _ENDED else FAILED

    def plain(self, body: bytes) -> bytes:
        """A whole answer, as the caller gets it."""
        told = self._note(body)
        if self.status is None:
            self.status = "completed"
        told = self.response = with_output_text(told)
        return told

    def events(self, piece: bytes) -> bytes:
        """Whole events of the stream, as the caller gets them."""
        if not _MAY_TELL.search(piece):
            return piece
        told: list[bytes] = []
        position = 0
        for end in BLOCK_END.finditer(piece):
            told.append(self._block(piece[position : end.end()]))
            position = end.end()
        told.append(piece[position:])
        return b"".join(told)

    def kept(self) -> bytes:
        """The response object as it is read back, when nothing follows any more."""
        if self.ended in _ENDED:
            return with_output_text(self.response)
        if self.status == FAILED:
            return self.response
        # The stream broke off, or ended with an error event: no later snapshot says so.
        return as_failed(self.response, FACTS[FailureKind.UPSTREAM_INTERRUPTED].sentence)

    def _block(self, block: bytes) -> bytes:
        event = parse_block(block)
        if event is None:
            return block
        try:
            found = members(event.data)
        except Failure:
            return block
        by_key = {member.key: member for member in found}
        response = by_key.get("response")
        type_ = event.type
        if not type_ and "type" in by_key:
            type_ = event.data[by_key["type"].value_start + 1 : by_key["type"].value_end - 1].decode()
        if response is None or type_ not in _TELLING:
            return block
        told = self._note(event.data[response.value_start : response.value_end])
        self.response = told
        data = splice(event.data, [replace_value(response, told)])
        if block.count(event.data) == 1:
            return block.replace(event.data, data)
        # Data of several lines: put together again on one.
        return frame(type_, data)

    def _note(self, response: bytes) -> bytes:
        """The response object with what is ours in it."""
        try:
            read = _RESPONSE.decode(response)
            found = members(response)
        except (*UNREADABLE, Failure):
            return response
        if read.id:
            self.id = read.id
        self.status = read.status
        return _with(response, self._told) if found else response


def with_output_text(response: bytes) -> bytes:
    """With the top-level ``output_text`` that the vendor's clients make up for themselves, unless it
    has one: all text of its messages."""
    try:
        found = members(response)
        if not found or any(member.key == "output_text" for member in found):
            return response
        output = _OUTPUT.decode(response).output
    except (*UNREADABLE, Failure):
        return response
    text = "".join(
        part.text
        for item in output
        if item.type == "message"
        for part in item.content or ()
        if part.type == "output_text"
    )
    return _with(response, {"output_text": msgspec.json.encode(text)})


def _with(text: bytes, values: dict[str, bytes]) -> bytes:
    """A JSON object with these members: replaced where they stand, else added at its end."""
    left = dict(values)
    found = members(text)
    edits = [replace_value(member, left.pop(member.key)) for member in found if member.key in left]
    end = found[-1].value_end
    edits += [Edit(end, end, b',"%b":%b' % (name.encode(), value)) for name, value in left.items()]
    return splice(text, edits)


class Replay:
    """A stream that was written down, told again from behind an event on."""

    __slots__ = ("_after", "ended", "last")

    def __init__(self, after: int) -> None:
        """``after``: the ``sequence_number`` the caller saw last; -1 for all."""
        self._after = after
        self.ended = False
        """Whether the terminal event was among them."""
        self.last = b""
        """Data of the last event."""

    def feed(self, events: bytes) -> bytes:
        """Of whole events those that the caller has not seen, byte for byte."""
        news: list[bytes] = []
        position = 0
        for end in BLOCK_END.finditer(events):
            block = events[position : end.end()]
            position = end.end()
            event = parse_block(block)
            if event is None:
                continue
            try:
                told = _NUMBERED.decode(event.data)
            except UNREADABLE:
                told = _Numbered()
            self.last = event.data
            self.ended = self.ended or (event.type or told.type) in _TERMINAL
            # An error event of ours has no number: it stands before the last, and is always news.
            if told.sequence_number is None or told.sequence_number > self._after:
                news.append(block)
        return b"".join(news)
