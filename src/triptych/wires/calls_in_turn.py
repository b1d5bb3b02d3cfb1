"""Parallel calls whose pieces a provider mixes. One part of a stream is open at a time (``core/events.py``),
so the call that is open streams on, and what comes of the others waits until it is over."""

import re
from bisect import insort

from triptych.core.failure import Failure, FailureKind
from triptych.wires.relay_stream import MAX_EVENT_BYTES

_MARKS = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)


class Call:
    """A call as far as it came."""

    __slots__ = ("_depth", "_escaping", "_quoted", "held", "id", "name", "order", "over", "said")

    def __init__(self, id_: str, name: str, order: int) -> None:
        self.id, self.name = id_, name
        self.order = order
        """The provider's: of those that wait, the lowest is the next."""
        self.held: list[str] | None = None
        """Arguments that wait; None of a call that does not."""
        self.said = False
        self.over = False
        """The provider said so, or the JSON of the arguments is closed. On the chat wire nothing else tells
        it: were every call to wait for the end of the answer, calls one after the other would not stream."""
        self._depth = 0
        self._quoted = self._escaping = False

    def read(self, arguments: str) -> None:
        """More of the arguments came; not empty."""
        self.said = True
        if self._escaping:
            arguments = arguments[1:]
            self._escaping = False
        for mark in _MARKS.findall(arguments):
            if mark == '"':
                self._quoted = not self._quoted
            elif mark[0] == "\\":
                self._escaping = len(mark) == 1
            elif not self._quoted:
                self._depth += 1 if mark in "{[" else -1
                self.over = self._depth <= 0


class CallsInTurn:
    """Which of a stream's calls is open, and which wait. The decoder writes the events."""

    __slots__ = ("_held_bytes", "_max_held_bytes", "_waiting", "open")

    def __init__(self, max_held_bytes: int = MAX_EVENT_BYTES) -> None:
        self.open: Call | None = None
        """For the decoder to set and to clear, with the part."""
        self._waiting: list[Call] = []
        self._held_bytes = 0
        self._max_held_bytes = max_held_bytes

    def add(self, call: Call) -> None:
        """It waits, if only for the decoder to ask whose turn it is."""
        call.held = []
        insort(self._waiting, call, key=_order)
        self._hold(call.id + call.name)

    def take(self, call: Call, arguments: str) -> bool:
        """Whether the arguments, which are not empty, are to be told now.

        Raises Failure UPSTREAM_INVALID_RESPONSE for a call whose part was stopped, and when too much waits.
        """
        if call is self.open:
            call.read(arguments)
            return True
        if call.held is not None:
            call.read(arguments)
            call.held.append(arguments)
            self._hold(arguments)
        elif not (call.over and arguments.isspace()):
            raise Failure(
                FailureKind.UPSTREAM_INVALID_RESPONSE,
                "upstream returned an invalid response: a tool call goes on after another part began",
            )
        return False

    def waits(self) -> bool:
        return bool(self._waiting)

    def next(self) -> tuple[Call, list[str]] | None:
        """The call whose turn has come, with the pieces that were held: its part is to begin now."""
        if not self._waiting or (self.open is not None and not self.open.over):
            return None
        call = self._waiting.pop(0)
        held, call.held = call.held or [], None
        self._held_bytes -= _size(call.id + call.name) + sum(map(_size, held))
        return call, held

    def _hold(self, text: str) -> None:
        self._held_bytes += _size(text)
        if self._held_bytes > self._max_held_bytes:
            raise Failure(
                FailureKind.UPSTREAM_INVALID_RESPONSE,
                "upstream mixed the pieces of parallel tool calls: more than "
                f"{self._max_held_bytes} bytes would have to wait for their turn",
            )


def _order(call: Call) -> int:
    return call.order


def _size(text: str) -> int:
    return len(text.encode())
