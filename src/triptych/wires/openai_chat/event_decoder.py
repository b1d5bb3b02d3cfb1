"""A provider's streamed answer on this wire, read chunk by chunk."""

import msgspec

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
)
from triptych.core.usage import Usage
from triptych.wires import sse
from triptych.wires.calls_in_turn import Call as Called
from triptych.wires.calls_in_turn import CallsInTurn
from triptych.wires.estimate import UNREADABLE, decode_answer
from triptych.wires.openai_chat.answer_codec import derived_call_id
from triptych.wires.openai_chat.answer_shape import (
    NO_ARGUMENTS,
    Annotation,
    Call,
    Said,
    arguments_text,
    check_said,
    citations_of,
    contents,
    created_of,
    invalid,
    reasoning_text,
    stop_of,
    tier_of,
    usage_told,
)
from triptych.wires.openai_chat.thinking_blocks import Block, ThinkingBlock, reasoning_of

_DONE = b"[DONE]"
_OBJECT = b"{"
# Members of an enum are slow to look up.
_TEXT, _REASONING, _CALL, _REFUSAL = PartKind.TEXT, PartKind.REASONING, PartKind.TOOL_CALL, PartKind.REFUSAL
_KINDS = {"text": _TEXT, "reasoning": _REASONING, "refusal": _REFUSAL}


class _Choice(msgspec.Struct, gc=False):
    delta: Said | None = None
    finish_reason: str | None = None
    stop_reason: object = None
    index: int | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    id: str | None = None
    model: str | None = None
    created: object = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    service_tier: object = None
    error: object = None


class _Erring(msgspec.Struct):
    error: object = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_ERRING = msgspec.json.Decoder(_Erring)


class EventDecoder:
    """One stream. What follows ``[DONE]``, or the provider's error, is not looked at."""

    __slots__ = (
        "_called",
        "_calls",
        "_ended",
        "_finish_reason",
        "_id",
        "_index",
        "_kind",
        "_opaque_given",
        "_started",
        "_stop_reason",
        "_text_chars",
        "_text_chars_before",
        "_thought",
        "_tier",
        "_turns",
        "_usage",
    )

    def __init__(self) -> None:
        self._started = self._ended = False
        self._id = ""
        self._index = 0
        """Of the open part; of the next one when none is open."""
        self._kind: PartKind | None = None
        """Of the open part."""
        self._opaque_given = False
        self._thought: list[str] = []
        """Of the open part of reasoning."""
        self._calls: dict[int, Called] = {}
        self._called = 0
        self._turns = CallsInTurn()
        self._text_chars = self._text_chars_before = 0
        """Of all texts, and of those before the open one."""
        self._finish_reason: str | None = None
        self._stop_reason: object = None
        self._usage: Usage | None = None
        self._tier: str | None = None

    def decode(self, event: sse.Event) -> list[Event]:
        """Raises Failure UPSTREAM_INVALID_RESPONSE for what cannot be understood, a fragment of a
        call that another part has ended, and an end before anything came."""
        data = event.data
        if self._ended:
            return []
        if event.type == "error":
            return self._failed(_named_error(data))
        if not data.startswith(_OBJECT) and data.lstrip().startswith(_DONE):
            return self._done()
        chunk = decode_answer(_CHUNK, data)
        if chunk.error:
            return self._failed(chunk.error)
        if chunk.usage is not msgspec.UNSET:
            self._usage = usage_told(chunk.usage) or self._usage
        if chunk.service_tier is not None:
            self._tier = tier_of(chunk.service_tier)
        events: list[Event] = []
        # Azure tells of its filters in a chunk that names neither the answer nor the model.
        for choice in chunk.choices or ():
            if choice.index:
                raise invalid("it has a choice that was not asked for")
            if not self._started:
                self._started = True
                self._id = chunk.id or ""
                created_s = created_of(chunk.created)
                events.append(AnswerStarted(self._id, chunk.model or "", created_s, None, self._tier))
            if choice.delta is not None:
                self._take(choice.delta, events)
            if choice.finish_reason:
                self._finish_reason = choice.finish_reason
                self._stop_reason = choice.stop_reason
                self._stop_parts(events)
        return events

    def _take(self, delta: Said, events: list[Event]) -> None:
        if delta.images or delta.audio or delta.function_call:
            check_said(delta)
        thought = reasoning_text(delta)
        if thought:
            self._think(thought, events)
        if delta.thinking_blocks:
            for block in delta.thinking_blocks:
                self._take_block(block, bool(thought), events)
        content = delta.content
        if content:
            if isinstance(content, str):
                self._say(_TEXT, content, events)
            else:
                for kind, text in contents(content):
                    if kind == "reasoning":
                        self._think(text, events)
                    else:
                        self._say(_KINDS[kind], text, events)
        if delta.refusal:
            self._say(_REFUSAL, delta.refusal, events)
        if delta.annotations:
            self._cite(delta.annotations, events)
        if delta.tool_calls:
            for call in delta.tool_calls:
                self._call(call, events)

    def _say(self, kind: PartKind, text: str, events: list[Event]) -> None:
        if self._kind is not kind:
            self._start_part(PartStarted(self._begin(events), kind), events)
        if kind is _TEXT:
            self._text_chars += len(text)
        events.append(Delta(self._index, kind, text))

    def _think(self, text: str, events: list[Event]) -> None:
        if self._opaque_given:
            self._stop_part(events)
        self._say(_REASONING, text, events)
        self._thought.append(text)

    def _take_block(self, block: Block, repeats: bool, events: list[Event]) -> None:
        """What is signed comes whole, or its text came before as ``reasoning_content``. ``repeats``:
        this chunk has that too, and the block only says it again."""
        if isinstance(block, ThinkingBlock) and not block.signature:
            if block.thinking and not repeats:
                self._think(block.thinking, events)
            return
        reasoning = reasoning_of(block)
        opaque, text = reasoning.opaque, reasoning.text
        told = self._kind is _REASONING and not self._opaque_given
        if told and not isinstance(block, ThinkingBlock):
            # A redacted block of Anthropic's has no text: it is another one.
            told = text == "".join(self._thought)
        if not told:
            self._stop_parts(events)
            if text:
                self._think(text, events)
            else:
                self._start_part(PartStarted(self._index, _REASONING), events)
        if opaque is not None:
            events.append(OpaqueGiven(self._index, opaque))
            self._opaque_given = True

    def _cite(self, annotations: list[Annotation], events: list[Event]) -> None:
        """Citations that come when no text is open are left out: there is nothing to cite them."""
        if self._kind is _TEXT:
            cited = citations_of(annotations, self._text_chars_before)
            events += [CitationGiven(self._index, citation) for citation in cited]

    def _call(self, call: Call, events: list[Event]) -> None:
        function = call.function
        name = function.name if function else None
        arguments = arguments_text(function.arguments) if function else ""
        known = self._known(call, name)
        if known is None:
            if not name:
                raise invalid("a tool call has no name")
            order = self._called if call.index is None else call.index
            known = Called(call.id or derived_call_id(self._id, self._called), name, order)
            self._calls[order] = known
            self._called += 1
            self._turns.add(known)
            self._give_turns(events)
        if arguments and self._turns.take(known, arguments):
            events.append(Delta(self._index, _CALL, arguments))
        self._give_turns(events)

    def _give_turns(self, events: list[Event]) -> None:
        """Calls that waited begin, as far as the one before them is over."""
        while (turn := self._turns.next()) is not None:
            call, held = turn
            self._stop_part(events)
            self._turns.open = call
            self._start_part(PartStarted(self._index, _CALL, call.id, call.name), events)
            events += [Delta(self._index, _CALL, piece) for piece in held]

    def _known(self, call: Call, name: str | None) -> Called | None:
        """The call that a fragment belongs to; None when it begins one. Gemini's endpoint gives
        every call the same index, or none: then a name with an id of its own begins one."""
        if call.index is None:
            known = next(reversed(self._calls.values()), None)
            if call.id and known is not None and known.id != call.id:
                known = next((called for called in self._calls.values() if called.id == call.id), None)
            elif name and not call.id:
                return None
            return known
        known = self._calls.get(call.index)
        if known is not None and name and call.id and call.id != known.id:
            return None
        return known

    def _begin(self, events: list[Event]) -> int:
        """The index of a part, other than a call, that is to begin now."""
        self._stop_parts(events)
        return self._index

    def _start_part(self, started: PartStarted, events: list[Event]) -> None:
        self._kind = started.kind
        self._text_chars_before = self._text_chars
        events.append(started)

    def _stop_parts(self, events: list[Event]) -> None:
        """Also of the calls that wait: nothing more of them will come."""
        self._stop_part(events)
        while self._turns.waits():
            self._give_turns(events)
            self._stop_part(events)

    def _stop_part(self, events: list[Event]) -> None:
        if self._kind is None:
            return
        call = self._turns.open
        if call is not None:
            if not call.said:
                events.append(Delta(self._index, _CALL, NO_ARGUMENTS))
            self._turns.open = None
        events.append(PartStopped(self._index))
        self._index += 1
        self._kind = None
        if self._thought:
            self._thought = []
        self._opaque_given = False

    def _done(self) -> list[Event]:
        if not self._started:
            raise invalid("the stream ended before it began")
        self._ended = True
        events: list[Event] = []
        self._stop_parts(events)
        stop, sequence = stop_of(self._finish_reason, self._stop_reason, called=self._called > 0)
        events.append(AnswerEnded(stop, sequence, self._usage, self._tier))
        return events

    def _failed(self, error: object) -> list[Event]:
        self._ended = True
        return [_failure(error)]


def _named_error(data: bytes) -> object:
    """The error of an event that is called ``error``: beneath ``error``, or the object itself."""
    try:
        erring = _ERRING.decode(data)
        return erring.error or msgspec.json.decode(data)
    except UNREADABLE:
        return None


def _failure(error: object) -> AnswerFailed:
    if isinstance(error, str):
        return AnswerFailed("server_error", error)
    told = error if isinstance(error, dict) else {}
    message, code = told.get("message"), told.get("code")
    word = next((word for word in (told.get("type"), code) if isinstance(word, str) and word), None)
    return AnswerFailed(
        word or "server_error",
        message if isinstance(message, str) and message else "upstream reported an error inside the stream",
        str(code) if isinstance(code, str | int) and not isinstance(code, bool) and code != "" else None,
    )
