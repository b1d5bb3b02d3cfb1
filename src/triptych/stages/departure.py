"""A call that is ready to be made, and what reading its answer takes."""

from typing import Any, Protocol

import msgspec

from triptych.core.call import Upstream, UpstreamCall
from triptych.core.response import Response
from triptych.core.usage import NO_USAGE, Usage, UsageSource
from triptych.stages.route import Detours, Leg
from triptych.wires.request_size import SHORTEST_FILE, estimate_request_tokens
from triptych.wires.token_estimate import BYTES_PER_TOKEN


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
    billed: bool = True
    """False where the answer costs a request only."""

    def weighed(self, usage: Usage) -> Usage:
        """``usage``, an estimated input put right: wires take it from the length of the body, but files
        are most of the bytes of a large one and few of its tokens."""
        body = self.call.body
        if (
            len(body) <= SHORTEST_FILE
            or usage.source != UsageSource.ESTIMATE
            or usage.input_tokens != len(body) // BYTES_PER_TOKEN
        ):
            return usage
        return msgspec.structs.replace(usage, input_tokens=estimate_request_tokens(body))

    def given_up(self) -> Usage:
        """What is charged when the caller leaves before anything of the answer came: the provider has
        the input, and nobody knows how far it got. Leaving in time must not make calls free."""
        if not self.billed:
            return NO_USAGE
        tokens = len(self.call.body) // BYTES_PER_TOKEN
        return self.weighed(Usage(input_tokens=tokens, source=UsageSource.ESTIMATE))


Elsewhere = Detours[Departure | Response]
"""What comes next where the call of one target came to nothing: another call, or an answer."""
