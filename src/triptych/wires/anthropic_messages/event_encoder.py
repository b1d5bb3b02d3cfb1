"""Events of the one model as a stream of this wire
(https://platform.claude.com/docs/en/build-with-claude/streaming).

A block starts with what is first said in it: an empty text block may not be sent back to the vendor,
and reasoning shows only then which block it is.
"""

from collections.abc import Mapping

import msgspec

from triptych.core.conversation import Opaque, Reasoning
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
from triptych.wires.anthropic_messages.answer_codec import (
    UNSAID,
    stop_reason,
    text_block,
    tool_use_block,
    written_citation,
    written_reasoning,
)
from triptych.wires.anthropic_messages.reasoning import VENDOR, signature
from triptych.wires.anthropic_messages.request import MessagesRequest
from triptych.wires.anthropic_messages.vocabulary import ending_usage, error_type, written_usage

_ENCODE = msgspec.json.Encoder().encode
_PING = sse.frame("ping", b'{"type":"ping"}')
_MESSAGE_STOP = sse.frame("message_stop", b'{"type":"message_stop"}')
_DELTA_HEAD = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
_DELTA_KINDS = {
    PartKind.TEXT: b'{"type":"text_delta","text":',
    PartKind.REFUSAL: b'{"type":"text_delta","text":',
    PartKind.REASONING: b'{"type":"thinking_delta","thinking":',
    PartKind.TOOL_CALL: b'{"type":"input_json_delta","partial_json":',
}


class EventEncoder:
    """Takes a stream of the grammar of ``core/events.py``; its blocks are numbered anew."""

    __slots__ = ("_delta_head", "_index", "_open", "_part", "_refused")

    def __init__(self, parsed: MessagesRequest, *, now_s: int) -> None:
        """This wire's streams echo nothing of the request and have no time."""
        del parsed, now_s
        self._index = -1
        """Of the last block that was started."""
        self._open = False
        self._part = PartStarted(0, PartKind.TEXT)
        self._refused = False
        self._delta_head = b""
        """Everything of a delta's event before its text."""

    def encode(self, event: Event) -> bytes:
        """What is to be sent now; it may be nothing."""
        match event:
            case Delta():
                started = b"" if self._open else self._start()
                return b"%b%b%b}}\n\n" % (started, self._delta_head, _ENCODE(event.text))
            case PartStarted():
                self._part = event
                self._refused |= event.kind is PartKind.REFUSAL
                return self._start() if event.kind is PartKind.TOOL_CALL else b""
            case PartStopped():
                return self._stop()
            case OpaqueGiven():
                return self._give(event.opaque)
            case CitationGiven():
                started = b"" if self._open else self._start()
                change = {"type": "citations_delta", "citation": written_citation(event.citation)}
                return started + self._change(change)
            case AnswerStarted():
                return _message_start(event)
            case AnswerEnded():
                return self._end(event)
            case AnswerFailed():
                error = {"type": error_type(event.type, event.code), "message": event.message}
                return _frame("error", {"type": "error", "error": error})
            case Pinged():
                return _PING

    def _start(self) -> bytes:
        match self._part.kind:
            case PartKind.TOOL_CALL:
                return self._start_block(tool_use_block(self._part.call_id, self._part.name, {}))
            case PartKind.REASONING:
                return self._start_block({"type": "thinking", "thinking": "", "signature": ""})
            case _:
                return self._start_block(text_block(""))

    def _start_block(self, block: dict[str, object]) -> bytes:
        self._open = True
        self._index += 1
        self._delta_head = _DELTA_HEAD % self._index + _DELTA_KINDS[self._part.kind]
        started = {"type": "content_block_start", "index": self._index, "content_block": block}
        return _frame("content_block_start", started)

    def _give(self, opaque: Opaque) -> bytes:
        if opaque.redacted and opaque.vendor == VENDOR:
            stopped = self._stop()
            return stopped + self._start_block(written_reasoning(Reasoning("", opaque)))
        started = b"" if self._open else self._start()
        return started + self._change({"type": "signature_delta", "signature": signature(opaque)})

    def _change(self, delta: Mapping[str, object]) -> bytes:
        changed = {"type": "content_block_delta", "index": self._index, "delta": delta}
        return _frame("content_block_delta", changed)

    def _stop(self) -> bytes:
        if not self._open:
            return b""
        self._open = False
        return _frame("content_block_stop", {"type": "content_block_stop", "index": self._index})

    def _end(self, event: AnswerEnded) -> bytes:
        ending = {
            "stop_reason": stop_reason(event.stop, refused=self._refused),
            "stop_sequence": event.stop_sequence,
            **UNSAID,
        }
        usage = ending_usage(event.usage, event.service_tier)
        delta = {"type": "message_delta", "delta": ending, "usage": usage}
        return _frame("message_delta", delta) + _MESSAGE_STOP


def _message_start(event: AnswerStarted) -> bytes:
    message: dict[str, object] = {
        "id": event.id,
        "type": "message",
        "role": "assistant",
        "model": event.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        **UNSAID,
        "usage": written_usage(event.usage, event.service_tier),
    }
    return _frame("message_start", {"type": "message_start", "message": message})


def _frame(type_: str, value: Mapping[str, object]) -> bytes:
    return sse.frame(type_, _ENCODE(value))
