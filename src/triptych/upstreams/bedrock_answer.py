"""Answers of Amazon Bedrock, read as those of the Messages API: a stream of binary messages as
server-sent events, a token count under the API's own name."""

import re
from contextlib import suppress

import msgspec

from triptych.core.call import Headers, UpstreamAnswer
from triptych.core.failure import FACTS, Failure, FailureKind
from triptych.upstreams.bedrock_frames import Message, MessageReader
from triptych.wires.sse import frame

EVENT_STREAM = b"application/vnd.amazon.eventstream"
_SSE = b"text/event-stream"
_MAX_COUNT_BYTES = 64 * 1024
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_ERROR_TYPES = {
    "throttlingException": "rate_limit_error",
    "serviceUnavailableException": "overloaded_error",
    "validationException": "invalid_request_error",
    "modelTimeoutException": "timeout_error",
    "internalServerException": "api_error",
    "modelStreamErrorException": "api_error",
}
"""Bedrock's exceptions inside a stream, as the Messages API would call them."""

# The type as every event begins in practice: the rest of its JSON need not be read for it.
_TYPE_FIRST = re.compile(rb'\s*\{\s*"type"\s*:\s*"([A-Za-z0-9_.-]+)"')
# What may stand behind ``event:`` without becoming a line of its own.
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_.-]+\Z")


class _Part(msgspec.Struct):
    """msgspec reads ``bytes`` from Base64."""

    data: bytes = msgspec.field(name="bytes", default=b"")


class _Event(msgspec.Struct):
    type: str = ""


class _Said(msgspec.Struct):
    message: str = ""


class _Count(msgspec.Struct):
    tokens: int = msgspec.field(name="inputTokens")


_PART = msgspec.json.Decoder(_Part)
_EVENT = msgspec.json.Decoder(_Event)
_SAID = msgspec.json.Decoder(_Said)
_COUNT = msgspec.json.Decoder(_Count)


class EventStreamAnswer:
    """A stream of binary messages, read as server-sent events; implements ``UpstreamAnswer``.

    Each event's data are the very bytes the model's answer has inside its message. An exception
    becomes an ``error`` event, and what follows it is passed over.
    """

    def __init__(self, answer: UpstreamAnswer) -> None:
        self.headers: Headers = [
            (name, _SSE if name == b"content-type" else value)
            for name, value in answer.headers
            if name != b"content-length"
        ]
        self._answer = answer
        self._reader = MessageReader()
        self._over = False
        self._fault: ValueError | None = None

    @property
    def status(self) -> int:
        return self._answer.status

    async def read(self) -> bytes:
        """See ``UpstreamAnswer.read``. Also raises Failure UPSTREAM_INVALID_RESPONSE for bytes that
        are no messages, or messages that are no events, and UPSTREAM_INTERRUPTED for a body that ends
        inside a message. Events before the fault are returned first."""
        while True:
            if events := self._events():
                return events
            if self._fault is not None:
                raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from self._fault
            data = await self._answer.read()
            if not data:
                if self._reader.held_bytes and not self._over:
                    raise Failure(FailureKind.UPSTREAM_INTERRUPTED)
                return b""
            if not self._over:
                self._reader.feed(data)

    def close(self) -> None:
        """See ``UpstreamAnswer.close``."""
        self._answer.close()

    def _events(self) -> bytes:
        """Of every message complete by now."""
        events: list[bytes] = []
        try:
            while not self._over and self._fault is None and (message := self._reader.take()) is not None:
                if message.headers.get(":message-type", "event") == "event":
                    events.append(_event(message))
                else:
                    events.append(_error(message))
                    self._over = True
        except ValueError as error:
            self._fault = error
            self._answer.close()
        return b"".join(events)


class CountAnswer:
    """``{"inputTokens": n}`` read as ``{"input_tokens": n}``; implements ``UpstreamAnswer``."""

    def __init__(self, answer: UpstreamAnswer) -> None:
        self.headers: Headers = [field for field in answer.headers if field[0] != b"content-length"]
        self._answer = answer

    @property
    def status(self) -> int:
        return self._answer.status

    async def read(self) -> bytes:
        """See ``UpstreamAnswer.read``. Also raises Failure UPSTREAM_INVALID_RESPONSE for a body that
        is no count. An answer without a body stays one."""
        body = bytearray()
        while data := await self._answer.read():
            body += data
            if len(body) > _MAX_COUNT_BYTES:
                self._answer.close()
                raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)
        if not body.strip():
            return b""
        try:
            return b'{"input_tokens":%d}' % _COUNT.decode(body).tokens
        except _UNREADABLE as error:
            raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from error

    def close(self) -> None:
        """See ``UpstreamAnswer.close``."""
        self._answer.close()


def _event(message: Message) -> bytes:
    """Raises ValueError for a chunk that is none. Messages of other types, and chunks of another
    grammar than the Messages API's, say nothing to its clients: b""."""
    if message.headers.get(":event-type") != "chunk":
        return b""
    # A DecodeError is a ValueError.
    data = _PART.decode(message.payload).data
    if first := _TYPE_FIRST.match(data):
        return frame(first[1].decode(), data)
    type_ = _EVENT.decode(data).type if data else ""
    if not type_:
        return b""
    if _EVENT_TYPE.match(type_) is None:
        raise ValueError("an event's type cannot stand in an event stream")
    return frame(type_, data)


def _error(message: Message) -> bytes:
    """An exception the service declares, or an error it does not (``:error-code``)."""
    headers = message.headers
    name = headers.get(":exception-type") or headers.get(":error-code") or ""
    said = headers.get(":error-message", "")
    with suppress(*_UNREADABLE):
        said = _SAID.decode(message.payload).message or said
    error = {
        "type": _ERROR_TYPES.get(name[:1].lower() + name[1:], "api_error"),
        "message": said or FACTS[FailureKind.UPSTREAM_STREAM_ERROR].sentence,
    }
    return frame("error", msgspec.json.encode({"type": "error", "error": error}))
