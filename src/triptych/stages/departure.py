"""A call that is ready to be made, and what reading its answer takes."""

from typing import Any, Protocol

import msgspec

from triptych.core.call import Upstream, UpstreamCall
from triptych.core.response import Response
from triptych.core.usage import Usage
from triptych.stages.route import Detours, Leg


class StreamMeter(Protocol):
    """A wire's reading of a provider's event stream (sans-IO)."""

    @property
    def final(self) -> bytes | None: ...
    @property
    def ended(self) -> str | None: ...
    @property
    def started(self) -> bool: ...
    @property
    def held(self) -> int: ...
    def feed(self, chunk: bytes) -> bytes: ...
    def usage(self) -> Usage: ...


class AnswerReader(Protocol):
    """What relaying needs to know of a wire, or of the way from one wire to another."""

    def stream_meter(self, parsed: Any, request_bytes: int) -> StreamMeter:
        """``request_bytes`` (of the body) are for an estimate where the provider does not count."""
        ...

    def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> tuple[bytes, Usage]:
        """Check a plain answer and count its tokens; returns what the client gets: the very same
        bytes where the wires are the same. Raises Failure UPSTREAM_INVALID_RESPONSE."""
        ...


class Departure(msgspec.Struct, frozen=True):
    """A call that is ready to be made."""

    leg: Leg
    upstream: Upstream
    call: UpstreamCall
    reader: AnswerReader


Elsewhere = Detours[Departure | Response]
"""What comes next where the call of one target came to nothing: another call, or an answer."""
