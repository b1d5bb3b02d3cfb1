"""Events written as the streamed events of this wire, the vendor's full set of them.

Every event has its ``type`` and a ``sequence_number`` from 0, one more each; the first two and the
last one hold the response as it is by then.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from triptych.core.conversation import Citation, Opaque, Reasoning, Refusal, Text, ToolCall
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
from triptych.wires.openai_responses.answer_codec import (
    answered_reasoning,
    call_item,
    message_item,
    written_content,
)
from triptych.wires.openai_responses.failed import ERROR_TYPE, two_frames
from triptych.wires.openai_responses.request import ResponsesRequest
from triptych.wires.openai_responses.request_encoder import annotation
from triptych.wires.openai_responses.snapshot import INCOMPLETE, Snapshot

Json = dict[str, Any]

_PING = b": ping\n\n"
_COMPLETED, _INCOMPLETE, _IN_PROGRESS = "completed", "incomplete", "in_progress"
_TEXT, _REFUSAL = PartKind.TEXT, PartKind.REFUSAL
_REASONING, _CALL = PartKind.REASONING, PartKind.TOOL_CALL
_NAMES = {
    _TEXT: "response.output_text",
    _REFUSAL: "response.refusal",
    _REASONING: "response.reasoning_summary_text",
    _CALL: "response.function_call_arguments",
}
_RATE_LIMITED = "rate_limit_exceeded"
_LIMITS = frozenset({_RATE_LIMITED, "too_many_requests", "429"})
# What OpenAI calls what others call otherwise: type and code of an error.
_ERRORS = {
    "overloaded_error": (ERROR_TYPE, "overloaded"),
    "api_error": (ERROR_TYPE, "internal_error"),
    "timeout_error": (ERROR_TYPE, "timeout"),
    "rate_limit_error": ("rate_limit_error", _RATE_LIMITED),
    "billing_error": ("insufficient_quota", "insufficient_quota"),
    "authentication_error": ("authentication_error", "invalid_api_key"),
    "not_found_error": ("invalid_request_error", "not_found"),
    "request_too_large": ("invalid_request_error", "request_too_large"),
}
_UNNAMED_CODE = "stream_error"

_encode = msgspec.json.encode


class EventEncoder:
    """One object per stream; every event of ``core/events.py`` in its order.

    An item is closed when the next one begins or the answer ends: only then is it known whether it
    is whole. Texts that follow each other are parts of one message.
    """

    __slots__ = (
        "_annotations",
        "_answer_id",
        "_call",
        "_content",
        "_delta_head",
        "_delta_tail",
        "_item_id",
        "_kind",
        "_now_s",
        "_number",
        "_opaque",
        "_open",
        "_output",
        "_parsed",
        "_pending",
        "_pieces",
        "_snapshot",
    )

    def __init__(self, parsed: ResponsesRequest, *, now_s: int) -> None:
        """``parsed`` is the caller's request, which the response tells again; ``now_s`` (Unix time)
        stands in for a time of creation that the provider's wire does not have."""
        self._parsed = parsed
        self._now_s = now_s
        self._snapshot: Snapshot | None = None
        self._answer_id = ""
        self._number = 0
        self._output: list[Json] = []
        # Of the open item; ``_kind`` is that of the part begun last in it.
        self._open = False
        self._kind = _TEXT
        self._item_id = b""
        self._content: list[Json] = []
        self._call = ("", "")
        self._opaque: Opaque | None = None
        # Of the part begun last; they stay until another begins.
        self._pieces: list[str] = []
        self._annotations: list[Json] = []
        self._pending: list[Citation] = []
        self._delta_head = b""
        self._delta_tail = b""

    def encode(self, event: Event) -> bytes:
        """The events it becomes; nothing for what is told by a later one."""
        if type(event) is Delta:
            return self._delta(event)
        writer = _WRITERS.get(type(event))
        return _PING if writer is None else writer(self, event)

    def interrupted(self, message: str, code: str) -> bytes:
        """What ends a stream that its provider did not end; nothing may follow."""
        error = {"message": message, "type": ERROR_TYPE, "code": code}
        return two_frames(error, self._failed(ERROR_TYPE, message), self._number)

    # The answer

    def _started(self, event: AnswerStarted) -> bytes:
        created_s = self._now_s if event.created_s is None else event.created_s
        self._answer_id = event.id
        self._snapshot = Snapshot(self._parsed, event.id, event.model, created_s)
        response = b',"response":%b' % self._snapshot.started()
        return self._frame("response.created", response) + self._frame("response.in_progress", response)

    def _ended(self, event: AnswerEnded) -> bytes:
        assert self._snapshot is not None
        word = _INCOMPLETE if event.stop in INCOMPLETE else _COMPLETED
        closed = self._closed(word)
        response = self._snapshot.ended(self._output, event.stop, event.usage, event.service_tier)
        return closed + self._frame(f"response.{word}", b',"response":%b' % response)

    def _broken(self, event: AnswerFailed) -> bytes:
        type_, code = _ERRORS.get(event.type, (event.type, _UNNAMED_CODE))
        code = event.code or code
        error = {"message": event.message, "type": type_, "code": code}
        # In a response the code is one of a closed list of the vendor's.
        told = _RATE_LIMITED if code in _LIMITS else ERROR_TYPE
        return two_frames(error, self._failed(told, event.message), self._number)

    def _failed(self, code: str, message: str) -> bytes:
        if self._snapshot is None:
            self._snapshot = Snapshot(self._parsed, "", self._parsed.model, self._now_s)
        output = [*self._output, self._item(_INCOMPLETE)] if self._open else self._output
        return self._snapshot.failed(output, code, message)

    # Parts

    def _part_started(self, event: PartStarted) -> bytes:
        kind = event.kind
        closed = b""
        in_message = kind in (_TEXT, _REFUSAL)
        if not (in_message and self._open and self._kind in (_TEXT, _REFUSAL)):
            closed = self._closed(_COMPLETED)
            self._content = []
        else:
            self._content.append(self._written())
        self._kind = kind
        self._pieces = []
        self._annotations = []
        self._pending = []
        self._opaque = None
        self._call = (event.call_id, event.name)
        if not self._open:
            self._open = True
            added = self._item(_IN_PROGRESS, announced=True)
            self._item_id = _encode(added["id"])
            closed += self._item_frame("response.output_item.added", added)
        self._prepare_deltas()
        if in_message:
            return closed + self._part_frame("response.content_part.added")
        return closed

    def _prepare_deltas(self) -> None:
        """All of a delta's event but its number and its text."""
        name = f"{_NAMES[self._kind]}.delta".encode()
        self._delta_head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
        self._delta_tail = self._place() + b',"delta":'

    def _delta(self, event: Delta) -> bytes:
        begun = b""
        if self._kind is _REASONING and not self._pieces:
            begun = self._part_frame("response.reasoning_summary_part.added", announced=True)
        self._pieces.append(event.text)
        number = self._number
        self._number = number + 1
        return b"%b%b%d%b%b%b" % (
            begun,
            self._delta_head,
            number,
            self._delta_tail,
            _encode(event.text),
            b',"logprobs":[]}\n\n' if self._kind is _TEXT else b"}\n\n",
        )

    def _opaque_given(self, event: OpaqueGiven) -> bytes:
        self._opaque = event.opaque
        return b""

    def _cited(self, event: CitationGiven) -> bytes:
        if event.citation.start is None or event.citation.end is None:
            # About all of the text, of which the end is not known yet.
            self._pending.append(event.citation)
            return b""
        return self._annotate(event.citation)

    def _annotate(self, citation: Citation) -> bytes:
        written = annotation(citation, sum(map(len, self._pieces)))
        place = self._place() + b',"annotation_index":%d' % len(self._annotations)
        self._annotations.append(written)
        return self._frame(
            "response.output_text.annotation.added", place + b',"annotation":%b' % _encode(written)
        )

    def _part_stopped(self, event: PartStopped) -> bytes:
        kind = self._kind
        if kind is _REASONING and not self._pieces:
            return b""
        noted = b"".join(map(self._annotate, self._pending))
        self._pending = []
        name = {_REFUSAL: b"refusal", _CALL: b"arguments"}.get(kind, b"text")
        said = self._place() + b',"%b":%b' % (name, _encode("".join(self._pieces)))
        if kind is _TEXT:
            said += b',"logprobs":[]'
        done = noted + self._frame(f"{_NAMES[kind]}.done", said)
        if kind is _CALL:
            return done
        part = "reasoning_summary_part" if kind is _REASONING else "content_part"
        return done + self._part_frame(f"response.{part}.done")

    # Items

    def _closed(self, status: str) -> bytes:
        if not self._open:
            return b""
        item = self._item(status)
        written = self._item_frame("response.output_item.done", item)
        self._output.append(item)
        self._open = False
        return written

    def _item(self, status: str, *, announced: bool = False) -> Json:
        """The open item as it is by now; ``announced``: without what will be said in it."""
        index = len(self._output)
        if self._kind is _CALL:
            call_id, name = self._call
            item = call_item(self._answer_id, index, ToolCall(call_id, name, "".join(self._pieces)))
        elif self._kind is _REASONING:
            reasoning = Reasoning("".join(self._pieces), self._opaque)
            # An id that it brings along comes too late: an item keeps the one it was announced with.
            item = answered_reasoning(self._answer_id, index, reasoning, f"rs_{self._answer_id}_{index}")
        else:
            content = [] if announced else [*self._content, self._written()]
            item = message_item(self._answer_id, index, content)
        item["status"] = status
        return item

    def _written(self) -> Json:
        """The part of a message begun last, as it is by now."""
        text = "".join(self._pieces)
        content = written_content(Refusal(text) if self._kind is _REFUSAL else Text(text))
        if self._annotations:
            content["annotations"] = self._annotations
        return content

    # Frames

    def _place(self) -> bytes:
        place = b',"item_id":%b,"output_index":%d' % (self._item_id, len(self._output))
        if self._kind is _CALL:
            return place
        if self._kind is _REASONING:
            return place + b',"summary_index":0'
        return place + b',"content_index":%d' % len(self._content)

    def _part_frame(self, name: str, *, announced: bool = False) -> bytes:
        if self._kind is _REASONING:
            text = "" if announced else "".join(self._pieces)
            part: Json = {"type": "summary_text", "text": text}
        else:
            part = self._written()
        return self._frame(name, self._place() + b',"part":%b' % _encode(part))

    def _item_frame(self, name: str, item: Json) -> bytes:
        return self._frame(name, b',"output_index":%d,"item":%b' % (len(self._output), _encode(item)))

    def _frame(self, name: str, members: bytes) -> bytes:
        """``members`` are those behind the two that every event begins with, each after a comma."""
        type_ = name.encode()
        number = self._number
        self._number = number + 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d%b}\n\n' % (type_, type_, number, members)


_WRITERS: Mapping[type, Callable[[EventEncoder, Any], bytes]] = {
    AnswerStarted: EventEncoder._started,
    PartStarted: EventEncoder._part_started,
    OpaqueGiven: EventEncoder._opaque_given,
    CitationGiven: EventEncoder._cited,
    PartStopped: EventEncoder._part_stopped,
    AnswerEnded: EventEncoder._ended,
    AnswerFailed: EventEncoder._broken,
}
