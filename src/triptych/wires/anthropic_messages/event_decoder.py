"""A provider's stream of this wire as events of the one model
(https://platform.claude.com/docs/en/build-with-claude/streaming).

Events and fields that are unknown are skipped, as the vendor asks for; an unknown block or delta
breaks the answer, as leaving it out would change it.
"""

import msgspec

from triptych.core.conversation import Reasoning
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
from triptych.core.failure import FACTS, Failure, FailureKind
from triptych.core.usage import Usage, UsageSource
from triptych.wires import sse
from triptych.wires.anthropic_messages.answer_codec import (
    AnsweredBlock,
    AnsweredCitation,
    read_arguments,
    read_citation,
    read_stop,
)
from triptych.wires.anthropic_messages.meter import StreamMeter
from triptych.wires.anthropic_messages.reasoning import redacted_thinking, thinking
from triptych.wires.anthropic_messages.vocabulary import Tiered, read_tier
from triptych.wires.estimate import UNREADABLE, decode_answer, read_optional


class _Change(msgspec.Struct, gc=False):
    type: str
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: AnsweredCitation | None = None


class _BlockDelta(msgspec.Struct, gc=False):
    index: int
    delta: _Change


class _BlockStart(msgspec.Struct):
    index: int
    content_block: AnsweredBlock


class _BlockStop(msgspec.Struct, gc=False):
    index: int


class _Message(msgspec.Struct):
    id: str
    model: str
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _MessageStart(msgspec.Struct):
    message: _Message


class _Ending(msgspec.Struct):
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _MessageDelta(msgspec.Struct):
    delta: _Ending
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Error(msgspec.Struct):
    type: str = "api_error"
    message: str = ""


class _ErrorEvent(msgspec.Struct):
    error: _Error


class _Typed(msgspec.Struct):
    type: str = ""


_BLOCK_DELTA = msgspec.json.Decoder(_BlockDelta)
_BLOCK_START = msgspec.json.Decoder(_BlockStart)
_BLOCK_STOP = msgspec.json.Decoder(_BlockStop)
_MESSAGE_START = msgspec.json.Decoder(_MessageStart)
_MESSAGE_DELTA = msgspec.json.Decoder(_MessageDelta)
_ERROR_EVENT = msgspec.json.Decoder(_ErrorEvent)
_TYPED = msgspec.json.Decoder(_Typed)
_TIERED = msgspec.json.Decoder(Tiered)

_TEXT, _CALL, _REASONING = PartKind.TEXT, PartKind.TOOL_CALL, PartKind.REASONING
_KINDS = {
    "text": _TEXT,
    "tool_use": _CALL,
    "thinking": _REASONING,
    "redacted_thinking": _REASONING,
}


class EventDecoder:
    """Raises Failure UPSTREAM_INVALID_RESPONSE on what breaks the grammar; then it is not to be used
    again. After the terminal event it has nothing more to say."""

    __slots__ = (
        "_count",
        "_ending",
        "_kind",
        "_meter",
        "_over",
        "_reasoning",
        "_said",
        "_started",
        "_tier",
        "_wire_index",
        "_written",
    )

    def __init__(self) -> None:
        self._meter = StreamMeter(0)
        self._started = self._over = False
        self._tier: str | None = None
        self._ending = _Ending()
        self._count = 0
        self._kind: PartKind | None = None
        """Of the open part, or else of the last one."""
        self._wire_index: int | None = None
        """The provider's number of the open block; None when none is open."""
        self._said = False
        """Whether the open part had a delta."""
        self._written = ""
        """Arguments that came with a call's beginning."""
        self._reasoning = Reasoning()
        """What is opaque in the open part."""

    def decode(self, event: sse.Event) -> list[Event]:
        if self._over:
            return []
        data = event.data
        type_ = event.type or decode_answer(_TYPED, data).type
        if type_ == "content_block_delta":
            return self._delta(data)
        if type_ == "ping":
            return [Pinged()]
        if type_ == "error":
            self._over = True
            return [_failed(data)]
        if type_ == "message_start":
            return self._start(data)
        if not self._started:
            raise _broken()
        if type_ == "content_block_start":
            return self._block_start(data)
        if type_ == "content_block_stop":
            return self._block_stop(data)
        if type_ == "message_delta":
            return self._message_delta(data)
        if type_ == "message_stop":
            return self._stop()
        return []

    def _delta(self, data: bytes) -> list[Event]:
        change = decode_answer(_BLOCK_DELTA, data)
        if change.index != self._wire_index:
            raise _broken()
        delta, kind, index = change.delta, self._kind, self._count - 1
        type_ = delta.type
        if type_ == "text_delta" and kind is _TEXT:
            text = delta.text
        elif type_ == "input_json_delta" and kind is _CALL:
            text = delta.partial_json
        elif type_ == "thinking_delta" and kind is _REASONING:
            text = delta.thinking
        elif type_ == "signature_delta" and kind is _REASONING:
            self._reasoning = thinking("", delta.signature)
            return []
        elif type_ == "citations_delta" and kind is _TEXT:
            cited = read_citation(delta.citation) if delta.citation else None
            return [CitationGiven(index, cited)] if cited else []
        else:
            raise _broken()
        if not text:
            return []
        self._said = True
        return [Delta(index, kind, text)]

    def _start(self, data: bytes) -> list[Event]:
        if self._started:
            raise _broken()
        message = decode_answer(_MESSAGE_START, data).message
        self._started = True
        self._meter.message_start(data)
        self._tier = read_tier(read_optional(_TIERED, message.usage))
        known = self._meter.usage(whole=False)
        counted = known.source != UsageSource.NONE
        return [AnswerStarted(message.id, message.model, None, known if counted else None, self._tier)]

    def _block_start(self, data: bytes) -> list[Event]:
        started = decode_answer(_BLOCK_START, data)
        block = started.content_block
        kind = _KINDS.get(block.type)
        if self._wire_index is not None or kind is None:
            raise _broken()
        index = self._count
        self._wire_index, self._kind, self._count = started.index, kind, index + 1
        self._said, self._written, self._reasoning = False, "", Reasoning()
        if kind is _CALL:
            if not block.id or not block.name:
                raise _broken()
            self._written = read_arguments(block.input)
            return [PartStarted(index, kind, block.id, block.name)]
        events: list[Event] = [PartStarted(index, kind)]
        text = block.text
        if block.type == "thinking":
            text, self._reasoning = block.thinking, thinking("", block.signature or "")
        elif block.type == "redacted_thinking":
            self._reasoning = redacted_thinking(block.data)
            text = self._reasoning.text
        if text:
            self._said = True
            events.append(Delta(index, kind, text))
        cited = (read_citation(citation) for citation in block.citations or ())
        if kind is _TEXT:
            events.extend(CitationGiven(index, citation) for citation in cited if citation)
        return events

    def _block_stop(self, data: bytes) -> list[Event]:
        if self._wire_index is None or decode_answer(_BLOCK_STOP, data).index != self._wire_index:
            raise _broken()
        index = self._count - 1
        self._wire_index = None
        if self._kind is _CALL and not self._said:
            return [Delta(index, _CALL, self._written), PartStopped(index)]
        if self._kind is _REASONING and self._reasoning.opaque is not None:
            return [OpaqueGiven(index, self._reasoning.opaque), PartStopped(index)]
        return [PartStopped(index)]

    def _message_delta(self, data: bytes) -> list[Event]:
        changed = decode_answer(_MESSAGE_DELTA, data)
        ending = changed.delta
        self._meter.message_delta(data)
        self._tier = read_tier(read_optional(_TIERED, changed.usage)) or self._tier
        self._ending = _Ending(
            ending.stop_reason or self._ending.stop_reason,
            ending.stop_sequence or self._ending.stop_sequence,
        )
        return []

    def _stop(self) -> list[Event]:
        if self._wire_index is not None:
            raise _broken()
        self._over = True
        ending = self._ending
        stop = read_stop(ending.stop_reason, ends_in_call=self._kind is _CALL)
        return [AnswerEnded(stop, ending.stop_sequence, self._usage(), self._tier)]

    def _usage(self) -> Usage | None:
        used = self._meter.usage(whole=True)
        return used if used.source == UsageSource.PROVIDER else None


def _failed(data: bytes) -> AnswerFailed:
    try:
        error = _ERROR_EVENT.decode(data).error
    except UNREADABLE:
        error = _Error()
    sentence = FACTS[FailureKind.UPSTREAM_STREAM_ERROR].sentence
    return AnswerFailed(error.type or "api_error", error.message or sentence)


def _broken() -> Failure:
    return Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)
