"""A streamed answer, written chunk by chunk for a caller on this wire."""

import msgspec

from triptych.core.conversation import Citation, Reasoning
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
from triptych.wires.openai_chat.answer_shape import (
    NO_ARGUMENTS,
    annotation_of,
    completion_id,
    finish_reason_of,
    usage_written,
)
from triptych.wires.openai_chat.request import ChatRequest
from triptych.wires.openai_chat.thinking_blocks import block_of
from triptych.wires.sse import frame

_DONE = b"data: [DONE]\n\n"
_PING = b": ping\n\n"
_REASONING, _CALL, _TEXT = PartKind.REASONING, PartKind.TOOL_CALL, PartKind.TEXT
_FIELDS = {
    PartKind.TEXT: b"content",
    PartKind.REASONING: b"reasoning_content",
    PartKind.REFUSAL: b"refusal",
}
# What OpenAI calls what others call otherwise: type and code of an error.
_ERRORS = {
    "overloaded_error": ("server_error", "overloaded"),
    "api_error": ("server_error", "internal_error"),
    "timeout_error": ("server_error", "timeout"),
    "rate_limit_error": ("rate_limit_error", "rate_limit_exceeded"),
    "billing_error": ("insufficient_quota", "insufficient_quota"),
    "authentication_error": ("authentication_error", "invalid_api_key"),
    "not_found_error": ("invalid_request_error", "not_found"),
    "request_too_large": ("invalid_request_error", "request_too_large"),
}
_UNNAMED_CODE = "stream_error"
_encode = msgspec.json.Encoder().encode


class EventEncoder:
    """One stream: chunks, then ``data: [DONE]``, also after an error."""

    __slots__ = (
        "_annotated",
        "_before_chars",
        "_blocks",
        "_calls",
        "_chars",
        "_citations",
        "_created_s",
        "_head",
        "_include_usage",
        "_silent",
        "_tail",
        "_thought",
    )

    def __init__(self, parsed: ChatRequest, *, now_s: int) -> None:
        """``now_s`` (Unix time) is ``created`` where the provider's wire has no such thing."""
        self._include_usage = parsed.include_usage
        self._created_s = now_s
        self._head = b""
        # A caller that asked for the usage gets it last, and null before (the vendor's schema).
        usage = b',"usage":null' if parsed.include_usage else b""
        self._tail = b',"logprobs":null,"finish_reason":null}]%b}\n\n' % usage
        self._calls = 0
        self._silent = False
        """The open call has had no arguments."""
        self._thought: list[str] = []
        """Of the open part of reasoning."""
        self._chars = self._before_chars = 0
        """Of all texts, and of those before the open one."""
        self._citations: list[Citation] = []
        # The vendor's clients put lists of objects together by their ``index``, whatever the field.
        self._blocks = 0
        self._annotated = 0

    def encode(self, event: Event) -> bytes:
        """Empty when the event says nothing on this wire."""
        match event:
            case Delta():
                return self._delta(event)
            case PartStarted():
                return self._part_started(event)
            case PartStopped():
                return self._part_stopped()
            case CitationGiven(_, citation):
                # It may cite all of a text that is not whole yet.
                self._citations.append(citation)
                return b""
            case OpaqueGiven(_, opaque):
                block = msgspec.to_builtins(block_of(Reasoning("".join(self._thought), opaque)))
                numbered = {"index": self._blocks, **block}
                self._blocks += 1
                return self._chunk(b'{"thinking_blocks":[%b]}' % _encode(numbered))
            case AnswerStarted():
                return self._started(event)
            case AnswerEnded():
                return self._ended(event)
            case AnswerFailed():
                return _failed(event)
        return _PING

    def _chunk(self, delta: bytes) -> bytes:
        return b'%b"choices":[{"index":0,"delta":%b%b' % (self._head, delta, self._tail)

    def _started(self, event: AnswerStarted) -> bytes:
        created_s = self._created_s if event.created_s is None else event.created_s
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            _encode(completion_id(event.id)),
            created_s,
            _encode(event.model),
        )
        if event.service_tier:
            # The vendor's clients read it in the first chunk.
            self._tail = self._tail.replace(b"}]", b'}],"service_tier":%b' % _encode(event.service_tier), 1)
        return self._chunk(b'{"role":"assistant","content":"","refusal":null}')

    def _part_started(self, event: PartStarted) -> bytes:
        self._before_chars = self._chars
        if event.kind is not _CALL:
            return b""
        self._calls += 1
        self._silent = True
        return self._chunk(
            b'{"tool_calls":[{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":""}}]}'
            % (self._calls - 1, _encode(event.call_id), _encode(event.name))
        )

    def _delta(self, event: Delta) -> bytes:
        kind, text = event.kind, event.text
        if kind is _CALL:
            self._silent = False
            return self._arguments(text)
        if kind is _TEXT:
            self._chars += len(text)
        elif kind is _REASONING:
            self._thought.append(text)
        return b'%b"choices":[{"index":0,"delta":{"%b":%b}%b' % (
            self._head,
            _FIELDS[kind],
            _encode(text),
            self._tail,
        )

    def _arguments(self, text: str) -> bytes:
        return self._chunk(
            b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (self._calls - 1, _encode(text))
        )

    def _part_stopped(self) -> bytes:
        self._thought.clear()
        if self._silent:
            self._silent = False
            return self._arguments(NO_ARGUMENTS)
        if not self._citations:
            return b""
        before, length = self._before_chars, self._chars - self._before_chars
        annotations = [
            {"index": index, **annotation_of(citation, before, length)}
            for index, citation in enumerate(self._citations, self._annotated)
        ]
        self._annotated += len(annotations)
        self._citations.clear()
        return self._chunk(b'{"annotations":%b}' % _encode(annotations))

    def _ended(self, event: AnswerEnded) -> bytes:
        tier = b',"service_tier":%b' % _encode(event.service_tier) if event.service_tier else b""
        finish = b'%b"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"%b"}]%b%b}\n\n' % (
            self._head,
            finish_reason_of(event.stop).encode(),
            tier,
            b',"usage":null' if self._include_usage else b"",
        )
        if not self._include_usage or event.usage is None:
            return finish + _DONE
        counts = _encode(usage_written(event.usage))
        return b'%b%b"choices":[]%b,"usage":%b}\n\n%b' % (finish, self._head, tier, counts, _DONE)


def _failed(event: AnswerFailed) -> bytes:
    """The provider's own code is kept: it says more than ours."""
    type_, code = _ERRORS.get(event.type, (event.type, _UNNAMED_CODE))
    error = {"message": event.message, "type": type_, "code": event.code or code}
    return frame("error", _encode({"error": error})) + _DONE
