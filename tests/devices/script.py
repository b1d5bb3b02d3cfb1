"""Scripted parts for driving the pipeline without sockets: each says in full what it will do."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import msgspec

from triptych.core.admission import Admission
from triptych.core.breaker import BreakerRule
from triptych.core.call import Headers, UpstreamCall
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure
from triptych.core.outcome import Opened, Outcome
from triptych.core.principal import SCOPES, Group, Principal, RequestLimits
from triptych.core.response import Response
from triptych.core.target import Model, Target
from triptych.core.usage import Price
from triptych.engines.phi.guard import Guard
from triptych.pipeline import Pipeline
from triptych.stages.ask import RetryRule
from triptych.stages.read import Read
from triptych.stages.relay import Relay
from triptych.stages.reserve import Reserve
from triptych.stages.resolve import Resolve
from triptych.stages.route import RouteCall
from triptych.stages.screen import Screen
from triptych.stages.throttle import Throttle
from triptych.storage.limits.memory import MemoryIndex

MODEL = Model(id="m", targets=(Target("p", "m-upstream"),), price=Price(3_000_000_000, 15_000_000_000, 0, 0))


def principal(**changes: Any) -> Principal:
    facts: dict[str, Any] = {
        "org_id": "org",
        "org_slug": "acme",
        "user_id": "user",
        "key_id": "key",
        "scopes": SCOPES,
        "environment": "live",
        "groups": (Group("everyone", frozenset({"*"}), api_key_access=True),),
        "key_limits": RequestLimits(),
        "user_limits": RequestLimits(),
        "org_limits": RequestLimits(),
    }
    return Principal(**{**facts, **changes})


class ScriptedAnswer:
    """An upstream answer: each element of ``pieces`` is read in turn; a Failure is raised."""

    def __init__(self, status: int, headers: Headers, pieces: list[bytes | Failure]) -> None:
        self.status = status
        self.headers = headers
        self._pieces = list(pieces)
        self.closed = False

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if isinstance(piece, Failure):
            raise piece
        return piece

    def close(self) -> None:
        self.closed = True


class ScriptedUpstream:
    """Answers calls with what ``answers`` yields, in order; a Failure is raised."""

    def __init__(self, *answers: Callable[[], ScriptedAnswer] | Failure) -> None:
        self._answers = list(answers)
        self.calls: list[UpstreamCall] = []
        self.given: list[ScriptedAnswer] = []
        self.wires = frozenset({"anthropic-messages"})

    async def call(self, call: UpstreamCall) -> ScriptedAnswer:
        self.calls.append(call)
        await asyncio.sleep(0)
        step = self._answers.pop(0)
        if isinstance(step, Failure):
            raise step
        answer = step()
        self.given.append(answer)
        return answer


class ListLedger:
    """Rows in a list; every write becomes durable one turn of the loop later."""

    def __init__(self, fail_open: bool = False, fail_end: bool = False) -> None:
        self.started: dict[str, Opened] = {}
        self.ended: dict[str, list[Outcome]] = {}
        self.fail_open, self.fail_end = fail_open, fail_end

    def _soon(self, value: Any, fail: bool) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle() -> None:
            if future.cancelled():
                return
            if fail:
                future.set_exception(OSError("disk is gone"))
            else:
                future.set_result(value)

        loop.call_soon(settle)
        return future

    def open(self, opened: Opened) -> "asyncio.Future[None]":
        assert opened.id not in self.started
        self.started[opened.id] = opened
        return self._soon(None, self.fail_open)

    def end(
        self, exchange_id: str, outcome: Outcome, ended_us: int, kept: tuple[object, ...] = ()
    ) -> "asyncio.Future[bool]":
        assert exchange_id in self.started
        self.ended.setdefault(exchange_id, []).append(outcome)
        return self._soon(True, self.fail_end)

    def refuse(self, opened: Opened, outcome: Outcome, ended_us: int) -> None:
        assert opened.id not in self.started
        self.started[opened.id] = opened
        self.ended.setdefault(opened.id, []).append(outcome)


class ListReply:
    """What the client would have got."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: Headers = ()
        self.body = b""
        self.started = False
        self.complete = False
        self.disconnected = False

    @property
    def bytes_out(self) -> int:
        return len(self.body)

    def respond(self, response: Response) -> None:
        assert not self.started and not self.complete
        self.status, self.headers, self.body = response.status, response.headers, response.body
        self.started = self.complete = True

    def start(self, status: int, headers: Headers) -> None:
        assert self.status is None
        self.status, self.headers = status, headers

    def write(self, piece: bytes) -> None:
        assert self.status is not None and not self.complete
        self.started = True
        self.body += piece

    def finish(self, piece: bytes = b"") -> None:
        assert self.status is not None and not self.complete
        self.body += piece
        self.started = self.complete = True

    def abort(self) -> None:
        self.complete = True


class Windows:
    """No limits at all."""

    def admit_request(self, exchange_id: str | None, scopes: object) -> Admission:
        return Admission(True, None, 0, 0, None, "key", "minute")


class PlainHasher:
    def hash(self, secret: bytes) -> bytes:
        return secret[::-1]


def pipeline(
    upstream: ScriptedUpstream,
    ledger: ListLedger,
    *,
    second: ScriptedUpstream | None = None,
    reports: list[Outcome] | None = None,
    **relay: Any,
) -> Pipeline:
    """``second`` serves the same model when ``upstream`` does not."""
    seen: list[Outcome] = [] if reports is None else reports
    index = MemoryIndex()
    spare = (Target("q", "m-spare", priority=1),)
    model = MODEL if second is None else msgspec.structs.replace(MODEL, targets=MODEL.targets + spare)
    return Pipeline(
        read=Read(),
        throttle=Throttle(Windows()),
        reserve=Reserve(index),
        index=index,
        resolve=Resolve({"m": model}, frozenset()),
        route=RouteCall({"m": model}, BreakerRule()),
        screen=Screen(Guard()),
        relay=Relay(RetryRule(**relay)),
        upstreams={"p": upstream} if second is None else {"p": upstream, "q": second},
        ledger=ledger,
        report=lambda exchange, outcome: seen.append(outcome),
        user_hasher=PlainHasher(),
        request_timeout_s=60.0,
    )


def exchange(body: bytes, **changes: Any) -> Exchange:
    return Exchange(
        id="01TESTEXCHANGE000000000000",
        surface="inference",
        endpoint="messages",
        principal=principal(**changes),
        headers=[(b"content-type", b"application/json")],
        query=b"",
        body=body,
        started_us=1,
        received_s=time.monotonic(),
    )


class ThrowAt:
    """Awaits ``work``, but at its n-th suspension throws instead of resuming.

    ``suspensions`` counts how often it was suspended: run once with ``n=None`` to learn how many
    places there are, then once for each place.
    """

    def __init__(self, work: Awaitable[None], n: int | None, error: BaseException | None) -> None:
        self._work = work
        self._n = n
        self._error = error
        self.suspensions = 0
        self.thrown = False

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._work.__await__()
        value: Any = None
        try:
            pending = next(steps)
        except StopIteration:
            return
        while True:
            self.suspensions += 1
            try:
                if self.suspensions == self._n and self._error is not None:
                    self.thrown = True
                    # What was awaited is left alone, as after a real cancellation.
                    if asyncio.isfuture(pending):
                        pending._asyncio_future_blocking = False
                    pending = steps.throw(self._error)
                    continue
                try:
                    value = yield pending
                except asyncio.CancelledError as cancelled:  # a timeout of the work's own
                    pending = steps.throw(cancelled)
                else:
                    pending = steps.send(value)
            except StopIteration:
                return
