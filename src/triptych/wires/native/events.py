"""The events of a run: what the caller of a streamed chat sees.

Order: run.created, run.started, message.created, then message.delta and tool_call.* as the model
writes, message.completed, usage.updated, run.completed. A run that fails ends with run.failed.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from triptych.core.conversation import Stop
from triptych.core.events import (
    AnswerEnded,
    AnswerStarted,
    Delta,
    Event,
    PartKind,
    PartStarted,
    PartStopped,
    Pinged,
)
from triptych.wires.anthropic_messages.vocabulary import STOP_REASONS
from triptych.wires.native.answer import text_block, tool_use_block

API_VERSION = "2026-04-01"
_VERSION = API_VERSION.encode()
PING = b": ping\n\n"

_encode = msgspec.json.Encoder().encode
_SAID = (PartKind.TEXT, PartKind.REFUSAL)


def head(event_id: str, type_: str, created_s: int) -> bytes:
    """Everything of an event before its data. ``event_id``: ``evt_<ulid>``."""
    named, id_ = type_.encode(), event_id.encode()
    return (
        b'event: %b\nid: %b\ndata: {"id":"%b","object":"event","type":"%b","api_version":"%b",'
        b'"created":%d,"data":' % (named, id_, id_, named, _VERSION, created_s)
    )


class RunEvents:
    """Writes the events of one run. Each method returns the frames to send; none of them is empty.

    ``encode`` takes a stream of the grammar of ``core/events.py``. What was said is in ``content``, also
    of a stream that broke, after ``break_off``.
    """

    __slots__ = (
        "_block",
        "_index",
        "_kind",
        "_message_id",
        "_new_id",
        "_object",
        "_part",
        "_written",
        "content",
    )

    def __init__(
        self,
        ulid: str,
        *,
        model: str,
        conversation_id: str | None,
        created_s: int,
        new_id: Callable[[], str],
    ) -> None:
        """``ulid``: of the request; run and message share it. ``new_id`` makes ULIDs for events."""
        self._message_id = "msg_" + ulid
        self._new_id = new_id
        self._object: dict[str, Any] = {
            "id": "run_" + ulid,
            "object": "run",
            "status": "created",
            "model": model,
            "message_id": self._message_id,
            "conversation_id": conversation_id,
            "request_id": "req_" + ulid,
            "created": created_s,
        }
        self.content: list[dict[str, Any]] = []
        self._block: dict[str, Any] | None = None
        self._part = PartStarted(0, PartKind.TEXT)
        self._kind = PartKind.TEXT
        self._index = -1
        self._written: list[str] = []

    def created(self) -> bytes:
        return self._told("run.created", {"object": self._object})

    def started(self) -> bytes:
        self._object["status"] = "started"
        return self._told("run.started", {"object": self._object})

    def begin_answer(self) -> None:
        """An answer begins; one before it, that nobody saw, came to nothing."""
        self.content = []
        self._block, self._index, self._written = None, -1, []

    def answered_by(self, model: str) -> None:
        """Another model may stand in for the one that was asked for."""
        self._object["model"] = model

    def encode(self, event: Event) -> bytes:
        """What is to be sent now of what the model said; it may be nothing."""
        match event:
            case Delta():
                return self._delta(event)
            case PartStarted():
                return self._start(event)
            case PartStopped():
                return self._stop()
            case AnswerStarted():
                return self._told("message.created", {"object": self._message("in_progress", None)})
            case Pinged():
                return PING
            case _:
                return b""

    def completed(self, ended: AnswerEnded, usage: Mapping[str, Any], phi: Mapping[str, Any] | None) -> bytes:
        """The three last events of a run that went well."""
        self._object["status"] = "completed"
        done = {**self._object, "usage": usage}
        if phi is not None:
            done["phi"] = phi
        return (
            self._told("message.completed", {"object": self._message("completed", ended.stop)})
            + self._told("usage.updated", {"usage": usage})
            + self._told("run.completed", {"object": done})
        )

    def failed(self, error: Mapping[str, Any]) -> bytes:
        self._object["status"] = "failed"
        return self._told("run.failed", {"object": self._object, "error": error})

    def error(self, error: Mapping[str, Any]) -> bytes:
        """Of a run that could not be recorded: there is none."""
        return self._told("error", {"error": error})

    def break_off(self) -> None:
        """No more will come: ``content`` is what was said by now."""
        if self._block is not None:
            self._fill(self._block)

    def _told(self, type_: str, data: Mapping[str, Any]) -> bytes:
        return b"%b%b}\n\n" % (self._head(type_), _encode(data))

    def _head(self, type_: str) -> bytes:
        return head("evt_" + self._new_id(), type_, int(time.time()))

    def _message(self, status: str, stop: Stop | None) -> dict[str, Any]:
        return {
            "id": self._message_id,
            "object": "message",
            "role": "assistant",
            "status": status,
            "content": self.content if status == "completed" else [],
            "stop_reason": None if stop is None else STOP_REASONS[stop],
        }

    def _start(self, part: PartStarted) -> bytes:
        self._kind, self._part, self._block = part.kind, part, None
        if part.kind is not PartKind.TOOL_CALL:
            return b""
        self._begin(tool_use_block(part.call_id, part.name, ""))
        call = {"id": part.call_id, "object": "tool_call", "name": part.name}
        return self._told("tool_call.created", {**self._place(), "object": call})

    def _delta(self, event: Delta) -> bytes:
        kind, text = self._kind, event.text
        if kind in _SAID:
            if self._block is None:
                # An empty part is no block: it could not be sent back.
                self._begin(text_block(""))
            self._written.append(text)
            return b'%b{"message_id":"%b","index":%d,"delta":{"text":%b}}}\n\n' % (
                self._head("message.delta"),
                self._message_id.encode(),
                self._index,
                _encode(text),
            )
        if kind is PartKind.TOOL_CALL:
            self._written.append(text)
            delta = {"tool_call_id": self._part.call_id, "delta": {"partial_json": text}}
            return self._told("tool_call.delta", {**self._place(), **delta})
        return b""

    def _stop(self) -> bytes:
        block, self._block = self._block, None
        if block is None:
            return b""
        self._fill(block)
        if self._kind is not PartKind.TOOL_CALL:
            return b""
        call = {
            "id": self._part.call_id,
            "object": "tool_call",
            "name": self._part.name,
            "input": block["input"],
        }
        return self._told("tool_call.completed", {**self._place(), "object": call})

    def _fill(self, block: dict[str, Any]) -> None:
        written = "".join(self._written)
        if self._kind is PartKind.TOOL_CALL:
            block.update(tool_use_block(self._part.call_id, self._part.name, written))
        else:
            block["text"] = written

    def _begin(self, block: dict[str, Any]) -> None:
        self._index += 1
        self._block = block
        self._written = []
        self.content.append(block)

    def _place(self) -> dict[str, Any]:
        return {"message_id": self._message_id, "index": self._index}
