"""A provider's streamed events of this wire, read one by one."""

from collections.abc import Callable, Mapping

import msgspec

from triptych.core.conversation import Opaque, Reasoning, Refusal, Text, ToolCall
from triptych.core.events import (
    AnswerEnded,
    AnswerFailed,
    AnswerStarted,
    CitationGiven,
    Delta,
    Event,
    OpaqueGiven,
    PartKind,
    PartStarted,
    PartStopped,
    Pinged,
)
from triptych.wires import sse
from triptych.wires.calls_in_turn import Call, CallsInTurn
from triptych.wires.estimate import decode_answer as decode_data
from triptych.wires.openai_responses.answer_codec import (
    Annotation,
    EndOfResponse,
    OutputItem,
    Piece,
    ProviderError,
    call_of,
    citation_of,
    citations_of,
    not_understood,
    parts_of,
    stop_of,
    tier_of,
    time_of,
    usage_of,
)
from triptych.wires.openai_responses.request_decoder import SUMMARY_SEPARATOR

_FAILED_TYPE = "server_error"
_FAILED_MESSAGE = "The provider reported an error without words."
_DONE = b"[DONE]"


class _Delta(msgspec.Struct, gc=False):
    delta: str
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0


class _Done(msgspec.Struct, gc=False):
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    text: str = ""
    refusal: str = ""
    arguments: str = ""


class _PartDone(msgspec.Struct):
    part: Piece
    output_index: int = 0
    content_index: int = 0


class _Item(msgspec.Struct):
    item: OutputItem
    output_index: int = 0


class _Annotated(msgspec.Struct):
    annotation: Annotation
    output_index: int = 0
    content_index: int = 0


class _Begun(msgspec.Struct):
    id: str
    model: str
    created_at: float | None = None


class _Started(msgspec.Struct):
    response: _Begun


class _Ended(msgspec.Struct):
    response: EndOfResponse


class _Output(msgspec.Struct):
    output: list[OutputItem] | None = None


class _Whole(msgspec.Struct):
    response: _Output


class _ErrorEvent(ProviderError):
    error: ProviderError | None = None


class _Typed(msgspec.Struct):
    type: str = ""


_DELTA = msgspec.json.Decoder(_Delta)
_DONE_TEXT = msgspec.json.Decoder(_Done)
_PART_DONE = msgspec.json.Decoder(_PartDone)
_ITEM = msgspec.json.Decoder(_Item)
_ANNOTATED = msgspec.json.Decoder(_Annotated)
_STARTED = msgspec.json.Decoder(_Started)
_ENDED = msgspec.json.Decoder(_Ended)
_WHOLE = msgspec.json.Decoder(_Whole)
_ERROR_EVENT = msgspec.json.Decoder(_ErrorEvent)
_TYPED = msgspec.json.Decoder(_Typed)

_ITEM_TYPES = frozenset({"message", "function_call", "reasoning"})
# Reasoning and calls are one part an item, whatever stands in it.
_WHOLE_ITEM = -1


class EventDecoder:
    """One object per stream. Feed it whole SSE events; see ``core/events.py`` for what comes out.

    A part begins with its first text, not with the event that announces it: what is announced and
    stays empty is no part. What a provider tells only at the end of a part (a text without deltas,
    citations, encrypted reasoning) is read there. Calls whose events are mixed come one by one.
    """

    __slots__ = (
        "_announced",
        "_calls",
        "_citations",
        "_closed",
        "_ended",
        "_index",
        "_kind",
        "_output_index",
        "_piece",
        "_place",
        "_said",
        "_started",
        "_turns",
    )

    def __init__(self) -> None:
        self._started = False
        self._ended = False
        # Of the open part; kind None: none is open.
        self._kind: PartKind | None = None
        self._index = -1
        self._output_index = 0
        self._place = 0
        self._said = False
        # Which piece of a reasoning was said last: ("summary" | "content", its index).
        self._piece: tuple[str, int] = ("", 0)
        self._citations = 0
        # Places that cannot be opened again.
        self._closed: set[tuple[int, int]] = set()
        self._calls: dict[int, Call] = {}
        self._turns = CallsInTurn()
        # Whether there was any item.
        self._announced = False

    def decode(self, event: sse.Event) -> list[Event]:
        """Raises Failure UPSTREAM_INVALID_RESPONSE for what is no event of this wire, comes out of
        order, or has an item that no other wire has. After the last event there is nothing."""
        type_ = event.type
        if type_ == "response.output_text.delta" and self._kind is PartKind.TEXT:
            # The many: everything else is looked up.
            return self._text_delta(event.data)
        if self._ended or event.data == _DONE:
            return []
        if not type_:
            type_ = decode_data(_TYPED, event.data).type
        reader = _READERS.get(type_)
        return [] if reader is None else reader(self, event.data)

    # Deltas

    def _text_delta(self, data: bytes) -> list[Event]:
        return self._delta(PartKind.TEXT, data)

    def _refusal_delta(self, data: bytes) -> list[Event]:
        return self._delta(PartKind.REFUSAL, data)

    def _delta(self, kind: PartKind, data: bytes) -> list[Event]:
        given = decode_data(_DELTA, data)
        if (
            self._kind is kind
            and given.content_index == self._place
            and given.output_index == self._output_index
            and given.delta
        ):
            self._said = True
            return [Delta(self._index, kind, given.delta)]
        return self._more(kind, given.output_index, given.content_index, given.delta)

    def _summary_delta(self, data: bytes) -> list[Event]:
        given = decode_data(_DELTA, data)
        return self._thought(given.output_index, ("summary", given.summary_index), given.delta)

    def _reasoning_delta(self, data: bytes) -> list[Event]:
        given = decode_data(_DELTA, data)
        return self._thought(given.output_index, ("content", given.content_index), given.delta)

    def _arguments_delta(self, data: bytes) -> list[Event]:
        given = decode_data(_DELTA, data)
        call = self._calls.get(given.output_index)
        if call is None:
            not_understood()
        return self._argued(call, given.delta) + self._given_turns()

    def _thought(self, output_index: int, piece: tuple[str, int], text: str) -> list[Event]:
        if not text:
            return []
        events = self._opened(PartKind.REASONING, output_index, _WHOLE_ITEM)
        if self._said and piece != self._piece:
            text = SUMMARY_SEPARATOR + text
        self._piece = piece
        self._said = True
        events.append(Delta(self._index, PartKind.REASONING, text))
        return events

    def _more(self, kind: PartKind, output_index: int, place: int, text: str) -> list[Event]:
        if not text:
            return []
        events = self._opened(kind, output_index, place)
        self._said = True
        events.append(Delta(self._index, kind, text))
        return events

    # What was said, once more and whole

    def _text_done(self, data: bytes) -> list[Event]:
        done = decode_data(_DONE_TEXT, data)
        return self._unsaid(PartKind.TEXT, done.output_index, done.content_index, done.text)

    def _refusal_done(self, data: bytes) -> list[Event]:
        done = decode_data(_DONE_TEXT, data)
        return self._unsaid(PartKind.REFUSAL, done.output_index, done.content_index, done.refusal)

    def _arguments_done(self, data: bytes) -> list[Event]:
        done = decode_data(_DONE_TEXT, data)
        call = self._calls.get(done.output_index)
        if call is None or not (call.said or done.arguments):
            # The item's own end tells the arguments too.
            return []
        return self._call_over(call, done.arguments)

    def _summary_done(self, data: bytes) -> list[Event]:
        done = decode_data(_DONE_TEXT, data)
        return self._unthought(done.output_index, ("summary", done.summary_index), done.text)

    def _reasoning_done(self, data: bytes) -> list[Event]:
        done = decode_data(_DONE_TEXT, data)
        return self._unthought(done.output_index, ("content", done.content_index), done.text)

    def _unthought(self, output_index: int, piece: tuple[str, int], text: str) -> list[Event]:
        if self._said and self._is_open(PartKind.REASONING, output_index) and piece == self._piece:
            return []
        return self._thought(output_index, piece, text)

    def _unsaid(self, kind: PartKind, output_index: int, place: int, text: str) -> list[Event]:
        """The text, of a provider that sent no deltas of it."""
        if (output_index, place) in self._closed:
            return []
        if self._said and self._is_open(kind, output_index, place):
            return []
        return self._more(kind, output_index, place, text)

    def _part_done(self, data: bytes) -> list[Event]:
        done = decode_data(_PART_DONE, data)
        part, output_index, place = done.part, done.output_index, done.content_index
        if part.type == "refusal":
            events = self._unsaid(PartKind.REFUSAL, output_index, place, part.refusal)
            return events + self._closing(output_index, place)
        if part.type == "reasoning_text":
            return []
        if part.type != "output_text":
            not_understood()
        events = self._unsaid(PartKind.TEXT, output_index, place, part.text)
        if self._is_open(PartKind.TEXT, output_index, place):
            for citation in citations_of(part.annotations)[self._citations :]:
                events.append(CitationGiven(self._index, citation))
        return events + self._closing(output_index, place)

    def _annotated(self, data: bytes) -> list[Event]:
        given = decode_data(_ANNOTATED, data)
        if given.annotation.type != "url_citation":
            return []
        events = self._opened(PartKind.TEXT, given.output_index, given.content_index)
        self._citations += 1
        events.append(CitationGiven(self._index, citation_of(given.annotation)))
        return events

    # Items

    def _item_added(self, data: bytes) -> list[Event]:
        added = decode_data(_ITEM, data)
        if added.item.type not in _ITEM_TYPES:
            not_understood()
        if not self._started:
            not_understood()
        self._announced = True
        if added.item.type == "function_call":
            self._call_begun(call_of(added.item), added.output_index)
            return self._given_turns()
        return self._closing_all()

    def _item_done(self, data: bytes) -> list[Event]:
        done = decode_data(_ITEM, data)
        item, output_index = done.item, done.output_index
        self._announced = True
        if item.type == "message":
            return (
                self._closing(output_index) if self._seen(output_index) else self._whole(item, output_index)
            )
        if (output_index, _WHOLE_ITEM) in self._closed:
            return []
        if item.type == "function_call":
            return self._whole(item, output_index)
        open_ = self._kind is not None and (self._output_index, self._place) == (output_index, _WHOLE_ITEM)
        if not open_ or not self._said:
            return self._whole(item, output_index)
        return self._sealing(parts_of(item)) + self._closing(output_index)

    def _whole(self, item: OutputItem, output_index: int) -> list[Event]:
        """An item of which nothing was said but this; of a call, whatever was said."""
        events: list[Event] = []
        for place, part in enumerate(parts_of(item)):
            if isinstance(part, Text):
                events += self._more(PartKind.TEXT, output_index, place, part.text)
                events += [CitationGiven(self._index, citation) for citation in part.citations]
            elif isinstance(part, Refusal):
                events += self._more(PartKind.REFUSAL, output_index, place, part.text)
            elif isinstance(part, ToolCall):
                call = self._calls.get(output_index) or self._call_begun(part, output_index)
                events += self._given_turns() + self._call_over(call, part.arguments)
            else:
                events += self._opened(PartKind.REASONING, output_index, _WHOLE_ITEM)
                events += self._more(PartKind.REASONING, output_index, _WHOLE_ITEM, part.text)
                events += self._sealing([part])
        return events + self._closing(output_index)

    def _sealing(self, parts: list[Text | Refusal | Reasoning | ToolCall]) -> list[Event]:
        opaques: list[Opaque] = [p.opaque for p in parts if isinstance(p, Reasoning) and p.opaque is not None]
        return [OpaqueGiven(self._index, opaque) for opaque in opaques]

    # Calls

    def _call_begun(self, part: ToolCall, output_index: int) -> Call:
        if not self._started or output_index in self._calls or (output_index, _WHOLE_ITEM) in self._closed:
            not_understood()
        call = self._calls[output_index] = Call(part.id, part.name, output_index)
        self._turns.add(call)
        return call

    def _argued(self, call: Call, arguments: str) -> list[Event]:
        if arguments and self._turns.take(call, arguments):
            return [Delta(self._index, PartKind.TOOL_CALL, arguments)]
        return []

    def _call_over(self, call: Call, arguments: str) -> list[Event]:
        """``arguments`` are all of them."""
        events = [] if call.said else self._argued(call, arguments)
        call.over = True
        if call is self._turns.open:
            events += self._closing(call.order)
        return events + self._given_turns()

    def _given_turns(self) -> list[Event]:
        """Calls that waited begin, as far as the one before them is over; those that are whole end."""
        events: list[Event] = []
        while (turn := self._turns.next()) is not None:
            call, held = turn
            events += self._closing(self._output_index)
            events.append(self._begin(PartKind.TOOL_CALL, call.order, _WHOLE_ITEM, call))
            events += [Delta(self._index, PartKind.TOOL_CALL, piece) for piece in held]
            if call.over:
                events += self._closing(call.order)
        return events

    # The one open part

    def _is_open(self, kind: PartKind, output_index: int, place: int = _WHOLE_ITEM) -> bool:
        return self._kind is kind and self._output_index == output_index and self._place == place

    def _seen(self, output_index: int) -> bool:
        if self._kind is not None and self._output_index == output_index:
            return True
        return any(closed[0] == output_index for closed in self._closed)

    def _opened(self, kind: PartKind, output_index: int, place: int) -> list[Event]:
        """Nothing when the part, no call, is open; else it is opened, and what was open is closed."""
        if self._is_open(kind, output_index, place):
            return []
        if not self._started or (output_index, place) in self._closed:
            not_understood()
        return [*self._closing_all(), self._begin(kind, output_index, place)]

    def _begin(self, kind: PartKind, output_index: int, place: int, call: Call | None = None) -> PartStarted:
        self._kind, self._output_index, self._place = kind, output_index, place
        self._index += 1
        self._said = False
        self._citations = 0
        self._turns.open = call
        if call is None:
            return PartStarted(self._index, kind)
        return PartStarted(self._index, kind, call.id, call.name)

    def _closing_all(self) -> list[Event]:
        """Stops the open part, and gives out the calls that wait: nothing more of them will come."""
        events = self._closing(self._output_index)
        while self._turns.waits():
            events += self._given_turns() + self._closing(self._output_index)
        return events

    def _closing(self, output_index: int, place: int | None = None) -> list[Event]:
        """Stops the open part when it is of this item, and at this place if one is named."""
        if self._kind is None or self._output_index != output_index:
            return []
        if place is not None and self._place != place:
            return []
        self._kind = None
        self._turns.open = None
        self._closed.add((self._output_index, self._place))
        return [PartStopped(self._index)]

    # The answer

    def _began(self, data: bytes) -> list[Event]:
        if self._started:
            return []
        response = decode_data(_STARTED, data).response
        self._started = True
        return [AnswerStarted(response.id, response.model, time_of(response.created_at))]

    def _finished(self, data: bytes) -> list[Event]:
        if not self._started:
            not_understood()
        response = decode_data(_ENDED, data).response
        events = self._closing_all()
        if self._index < 0 and not self._announced:
            # Nothing was told on the way: a provider that makes its stream of a whole answer.
            for place, item in enumerate(decode_data(_WHOLE, data).response.output or ()):
                events += self._whole(item, place)
        self._ended = True
        stop = stop_of(response, calls=bool(self._calls))
        events.append(AnswerEnded(stop, None, usage_of(response), tier_of(response)))
        return events

    def _failed(self, data: bytes) -> list[Event]:
        error = decode_data(_ENDED, data).response.error
        # Azure says nothing here where a limit was exceeded: its words come in the event after this one.
        return self._broken(error) if error and (error.code or error.message) else []

    def _error(self, data: bytes) -> list[Event]:
        # Documented is an error's words at top level; sent is often an object of them.
        event = decode_data(_ERROR_EVENT, data)
        return self._broken(event.error or ProviderError(None, event.code, event.message))

    def _broken(self, error: ProviderError) -> list[Event]:
        self._ended = True
        self._kind = None
        code = None if error.code is None else str(error.code)
        return [AnswerFailed(error.type or code or _FAILED_TYPE, error.message or _FAILED_MESSAGE, code)]

    def _alive(self, data: bytes) -> list[Event]:
        return [Pinged()]


_READERS: Mapping[str, Callable[[EventDecoder, bytes], list[Event]]] = {
    "response.created": EventDecoder._began,
    "response.queued": EventDecoder._began,
    "response.in_progress": EventDecoder._began,
    "response.output_item.added": EventDecoder._item_added,
    "response.output_item.done": EventDecoder._item_done,
    "response.content_part.done": EventDecoder._part_done,
    "response.output_text.delta": EventDecoder._text_delta,
    "response.output_text.done": EventDecoder._text_done,
    "response.output_text.annotation.added": EventDecoder._annotated,
    "response.refusal.delta": EventDecoder._refusal_delta,
    "response.refusal.done": EventDecoder._refusal_done,
    "response.function_call_arguments.delta": EventDecoder._arguments_delta,
    "response.function_call_arguments.done": EventDecoder._arguments_done,
    "response.reasoning_summary_text.delta": EventDecoder._summary_delta,
    "response.reasoning_summary_text.done": EventDecoder._summary_done,
    "response.reasoning_text.delta": EventDecoder._reasoning_delta,
    "response.reasoning_text.done": EventDecoder._reasoning_done,
    "response.completed": EventDecoder._finished,
    "response.incomplete": EventDecoder._finished,
    "response.failed": EventDecoder._failed,
    "error": EventDecoder._error,
    "keepalive": EventDecoder._alive,
}
