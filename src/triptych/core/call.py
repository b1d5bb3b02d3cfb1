"""The seam between the pipeline and whatever answers: one call, one answer. Values and protocols
only; the transports and the sandbox implement them."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

Headers = Sequence[tuple[bytes, bytes]]
"""Header fields in order of arrival, names in lower case."""


def always() -> bool:
    """No bound on how often a call may be sent again."""
    return True


class UpstreamCall(msgspec.Struct, frozen=True):
    """One request to a provider, already governed: nothing in it needs another check."""

    wire: str
    """``anthropic-messages`` | ``openai-chat`` | ``openai-responses``."""
    path: str
    """Path under the provider's base URL, such as ``/v1/messages``."""
    query: bytes
    """The client's query string, without ``?``; may be empty."""
    headers: Headers
    """What of the client's headers is forwarded; the provider adds its own credentials."""
    body: bytes
    model: str
    """The model id the provider knows (it stands in ``body`` too)."""
    stream: bool
    deadline_s: float
    """Monotonic time (``loop.time()``, ``time.monotonic()``) at which the whole exchange is out of time."""
    may_resend: Callable[[], bool] = always
    """Asked before it is sent once more because a connection kept from before was dead."""
    confirm: Callable[[], None] | None = None
    """Called right before anything of it leaves, each time. Raises Failure when nothing may."""


class UpstreamAnswer(Protocol):
    """A provider's answer whose head has arrived."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    async def read(self) -> bytes:
        """What has arrived since the last read, at least one byte; ``b""`` at the end.

        Raises Failure: UPSTREAM_INTERRUPTED (connection broke, body cut short),
        UPSTREAM_TIMEOUT (idle too long, or past the deadline), UPSTREAM_INVALID_RESPONSE
        (framing or compression is broken, or a bound was passed).
        """
        ...

    def close(self) -> None:
        """Let go of the answer; an unfinished one closes its connection. Idempotent."""
        ...


class PushedAnswer(UpstreamAnswer, Protocol):
    """An answer that can also hand its body on from within the call of the event loop that brought it:
    no task is woken for a piece that only passes through."""

    async def push(self, take: Callable[[bytes], bool]) -> bool:
        """Give every piece to ``take`` as it arrives, and what arrived before first. True: ``take`` said
        that it wants no more for now; False: the answer is over. Raises as ``read`` does, and what
        ``take`` raised. Nothing is handed on any more once this has returned."""
        ...


async def pass_on(answer: UpstreamAnswer, take: Callable[[bytes], bool]) -> bool:
    """Push an answer, or read it where it cannot be pushed; see :class:`PushedAnswer`."""
    # Asking isinstance() of a protocol costs more than an event.
    push = getattr(answer, "push", None)
    if push is not None:
        return bool(await push(take))
    while piece := await answer.read():
        if take(piece):
            return True
    return False


class Upstream(Protocol):
    """One configured provider."""

    @property
    def wires(self) -> frozenset[str]:
        """The wires it speaks, as ``UpstreamCall.wire`` names them."""
        ...

    async def call(self, call: UpstreamCall) -> UpstreamAnswer:
        """Send the call and wait for the answer's head.

        Raises Failure: UPSTREAM_UNREACHABLE (DNS, connect, TLS, or closed before any byte of an
        answer), UPSTREAM_TIMEOUT (no head in time), UPSTREAM_INVALID_RESPONSE (not HTTP).
        SERVICE_UNAVAILABLE (the gateway is closing). A cancelled call leaves no connection behind.
        """
        ...


def header(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header (``name`` in lower case), or None."""
    for key, value in headers:
        if key == name:
            return value
    return None
