"""One chat under way: what its caller is told besides the answer, and what is kept of it."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import msgspec

from triptych.core.call import Headers
from triptych.core.events import AnswerEnded
from triptych.core.exchange import Exchange
from triptych.core.outcome import Ending, Outcome
from triptych.core.response import Response
from triptych.core.usage import Usage
from triptych.stages.relay import STREAM_HEADERS
from triptych.stages.settle import Reply
from triptych.storage.chats import Keeping, Said, end
from triptych.storage.kept import Writes
from triptych.surfaces.clinical.dialects import answer_headers
from triptych.surfaces.clinical.meta import phi_meta, usage_meta
from triptych.surfaces.lookup import EVENT_STREAM
from triptych.wires.native import NativeRequest, RunEvents
from triptych.wires.native.events import PING

PING_S = 15.0
_SHORT_S = 0.005
"""By how much a timer may be early."""


class ChatReply:
    """The reply of a chat: its stream opens when the run is created, not when a provider answers."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.opened = False
        """Whether the answer is a stream, and its head is on its way."""
        self.written_s = 0.0
        """When the last piece was written, by the monotonic clock."""

    @property
    def started(self) -> bool:
        return self._reply.started

    @property
    def bytes_out(self) -> int:
        return self._reply.bytes_out

    @property
    def disconnected(self) -> bool:
        return self._reply.disconnected

    def respond(self, response: Response) -> None:
        self._reply.respond(response)

    def start(self, status: int, headers: Headers) -> None:
        if not self.opened:
            self.opened = True
            self._reply.start(status, headers)

    def write(self, piece: bytes) -> "asyncio.Future[None] | None":
        self.written_s = monotonic()
        return self._reply.write(piece)

    def finish(self, piece: bytes = b"") -> None:
        self._reply.finish(piece)

    def abort(self) -> None:
        self._reply.abort()


class Run:
    """Implements ``core.exchange.Announcer`` and ``Keeper``."""

    def __init__(self, exchange: Exchange, reply: ChatReply, new_id: Callable[[], str]) -> None:
        self._exchange = exchange
        self._reply = reply
        self._new_id = new_id
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: Keeping | None = None
        self.asked: NativeRequest | None = None
        self.conversation_id: str | None = None
        self.content: list[dict[str, Any]] = []
        """What was answered, once it is whole."""
        self.events: RunEvents | None = None
        """Set when the stream opens."""

    def keep(self, keeping: Keeping) -> None:
        """What is said will be stored."""
        self._keeping = keeping
        self._exchange.keeper = self

    def announce(self) -> None:
        """run.created leaves at once: every check has passed."""
        exchange, asked = self._exchange, self.asked
        assert asked is not None
        if not asked.stream:
            return
        assert exchange.model is not None
        exchange.status = 200
        self.events = RunEvents(
            exchange.id,
            model=exchange.model.id,
            conversation_id=self.conversation_id,
            created_s=exchange.started_us // 1_000_000,
            new_id=self._new_id,
        )
        headers = (*answer_headers(exchange), EVENT_STREAM, *STREAM_HEADERS)
        self._reply.start(200, headers)
        self._reply.write(self.events.created())
        self._wait()

    def begin(self) -> None:
        """run.started: the record is durable."""
        if self.events is not None:
            self._reply.write(self.events.started())

    def complete(self, ended: AnswerEnded, usage: Usage) -> bytes:
        """The last events of a run that went well."""
        exchange, events = self._exchange, self.events
        assert events is not None
        assert exchange.model is not None
        events.answered_by(exchange.model.id)
        self.content = events.content
        return events.completed(ended, usage_meta(exchange, usage), phi_meta(exchange))

    def close(self) -> None:
        """No more pings. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stream(self, piece: bytes, reply: Reply) -> "asyncio.Future[None] | None":
        return reply.write(piece)

    def conclude(self, answer: Response | None, last_piece: bytes) -> tuple[Response | None, bytes]:
        return answer, last_piece

    def writes(self, outcome: Outcome, ended_us: int) -> Writes:
        """What was said, in the transaction of the end row: also of a run that broke off."""
        keeping, asked = self._keeping, self.asked
        if keeping is None or asked is None:
            return ()
        content = self.content
        if not content and self.events is not None:
            self.events.break_off()
            content = self.events.content
        said = Said(
            [msgspec.Raw(item) for item in asked.messages],
            msgspec.Raw(msgspec.json.encode(content)),
            self._exchange.placeholders,
        )
        completed = outcome.ending is Ending.COMPLETED
        return end(keeping, said, completed=completed, ended_us=ended_us, ending=outcome.ending.value)

    def _wait(self) -> None:
        quiet_s = monotonic() - self._reply.written_s
        self._timer = asyncio.get_running_loop().call_later(max(PING_S - quiet_s, _SHORT_S), self._ping)

    def _ping(self) -> None:
        """A comment where nothing was said for a while: proxies cut quiet connections."""
        if monotonic() - self._reply.written_s >= PING_S - _SHORT_S:
            self._reply.write(PING)
        self._wait()
