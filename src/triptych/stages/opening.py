"""The first events of a stream, kept back for a moment: until the client has one of them, another
provider can still be asked."""

import asyncio
from collections.abc import Callable

from triptych.core.failure import Failure, FailureKind
from triptych.wires.opening import bears_content, begins_readable

HOLD_BYTES = 16 << 10
HOLD_S = 1.0

Blocked = asyncio.Future[None] | None


class Opening:
    """Held until an event bears content, ``HOLD_BYTES`` have come, or ``HOLD_S`` after the first one:
    a client that waits for words should see that there is somebody."""

    __slots__ = ("_begin", "_blocked", "_elsewhere", "_failure", "_held", "_timer", "_write", "over")

    def __init__(
        self,
        begin: Callable[[], None],
        write: Callable[[bytes], Blocked],
        elsewhere: Callable[[], bool],
    ) -> None:
        """``begin`` starts the client's answer, ``write`` sends a piece of it; ``elsewhere`` says
        whether there is anybody else to ask."""
        self._begin = begin
        self._elsewhere = elsewhere
        self._write = write
        self._held = b""
        self._timer: asyncio.TimerHandle | None = None
        self._blocked: Blocked = None
        self._failure: Failure | None = None
        self.over = False
        """Whether the client's answer has begun."""

    def add(self, ready: bytes) -> Blocked:
        """Whole events on the caller's wire, or nothing. Returns what to await before more is read.

        Raises Failure: what writing raised, and UPSTREAM_INVALID_RESPONSE for a stream that begins with
        what no client could read, while somebody else can be asked. (Else it is the client's to judge.)
        """
        if self._failure is not None:
            raise self._failure
        if self.over:
            # It began while the provider was waited for.
            return self._write(ready) if ready else self._blocked
        if not ready:
            return None
        self._held += ready
        if len(self._held) > HOLD_BYTES or bears_content(ready):
            if not begins_readable(ready) and self._elsewhere():
                raise Failure(
                    FailureKind.UPSTREAM_INVALID_RESPONSE, "upstream's stream begins with what is no event"
                )
            return self.end()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HOLD_S, self._waited_enough)
        return None

    def end(self) -> Blocked:
        """Begin the answer with what was held."""
        self.close()
        self.over = True
        self._begin()
        held, self._held = self._held, b""
        return self._write(held) if held else None

    def close(self) -> None:
        """Nothing begins by itself any more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _waited_enough(self) -> None:
        try:
            self._blocked = self.end()
        except Failure as failure:
            self._failure = failure
