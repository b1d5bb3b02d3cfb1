"""A streamed answer, event by event: what a wire's decoder reads and another's encoder writes.

The grammar every decoder keeps and every encoder may rely on::

    stream  = AnswerStarted part* (AnswerEnded | AnswerFailed)
    part    = PartStarted delta* PartStopped

One part is open at a time; indexes count up from 0 without a gap. AnswerFailed may come at any
time, also first or inside a part. After the last event there is nothing.
"""

from enum import StrEnum

import msgspec

from triptych.core.conversation import Citation, Opaque, Stop
from triptych.core.usage import Usage


class PartKind(StrEnum):
    TEXT = "text"
    REASONING = "reasoning"
    TOOL_CALL = "tool_call"
    REFUSAL = "refusal"


class AnswerStarted(msgspec.Struct, frozen=True, gc=False):
    id: str
    model: str
    created_s: int | None = None
    usage: Usage | None = None
    """What is known of the input by now."""
    service_tier: str | None = None
    """Of who serves, where that is told by now; never what was only asked for."""


class PartStarted(msgspec.Struct, frozen=True, gc=False):
    index: int
    kind: PartKind
    call_id: str = ""
    """Of a tool call, like ``name``."""
    name: str = ""


class Delta(msgspec.Struct, frozen=True, gc=False):
    """More of the open part: text, reasoning, words of refusal, or JSON text of a call's arguments;
    never empty."""

    index: int
    kind: PartKind
    text: str


class OpaqueGiven(msgspec.Struct, frozen=True, gc=False):
    """The open part of reasoning gets what belongs to it; at most once, after its deltas."""

    index: int
    opaque: Opaque


class CitationGiven(msgspec.Struct, frozen=True, gc=False):
    """The open part of text cites a page."""

    index: int
    citation: Citation


class PartStopped(msgspec.Struct, frozen=True, gc=False):
    index: int


class AnswerEnded(msgspec.Struct, frozen=True, gc=False):
    stop: Stop
    stop_sequence: str | None = None
    usage: Usage | None = None
    """Of the whole exchange; None when the provider did not count."""
    service_tier: str | None = None


class AnswerFailed(msgspec.Struct, frozen=True, gc=False):
    """The provider's own error inside the stream."""

    type: str
    """The provider's word, such as ``overloaded_error``."""
    message: str
    code: str | None = None


class Pinged(msgspec.Struct, frozen=True, gc=False):
    """The provider is alive. May come at any time; an encoder whose wire has no such event writes
    an SSE comment."""


Event = (
    AnswerStarted
    | PartStarted
    | Delta
    | OpaqueGiven
    | CitationGiven
    | PartStopped
    | AnswerEnded
    | AnswerFailed
    | Pinged
)
