"""The guard as the gateway sees it: a process that is asked, watched, and started anew when it fails.

Whatever goes wrong with it - not loaded, dead, silent, talking nonsense - is ``GuardDown``: the request
that needed it does not leave.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from triptych.core.failure import Failure, FailureKind
from triptych.core.policy import Filter
from triptych.engines.phi.answers import RestoringReader
from triptych.engines.phi.inspect import Asked, Inspected
from triptych.engines.phi.job import (
    HEAD_BYTES,
    Broken,
    Done,
    Job,
    Ready,
    Refused,
    Told,
    frame_bytes,
    framed,
    read_told,
)
from triptych.engines.phi.restore import Redacted

logger = logging.getLogger("triptych.guard")

COMMAND = (sys.executable, "-P", "-m", "triptych.engines.phi.worker")
LIMIT_S = 5.0
"""How long a small request may wait for the guard."""
LIMIT_S_PER_MB = 6.0
LOAD_LIMIT_S = 60.0
MAX_WAITING = 512
_RESTART_S = (0.1, 1.0, 5.0, 30.0)
_MB = 1 << 20


class GuardDown(Exception):
    """The guard did not read the request. The message is for logs: words of ours."""


class Guard:
    """One process of the recogniser. All methods are for the loop."""

    def __init__(self, command: tuple[str, ...] = ()) -> None:
        self._command = command or COMMAND
        self._waiting: dict[int, tuple[asyncio.Future[Inspected], Job]] = {}
        self._number = 0
        self._answered_s = {False: 0.0, True: 0.0}
        """When a job was last answered: small ones, large ones."""
        self._process: asyncio.subprocess.Process | None = None
        self._link: asyncio.Transport | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._failures = 0
        self.ready = False

    @property
    def started(self) -> bool:
        return self._keeping is not None

    def start(self) -> None:
        """Load it, unless that was done before."""
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping

    async def inspect(
        self,
        org_id: str,
        wire: str,
        body: bytes,
        *,
        query: bytes,
        mode: str,
        known: Mapping[str, str],
        filters: tuple[Filter, ...],
    ) -> Inspected:
        """Raises Failure INVALID_BODY, GuardDown."""
        self.start()
        if not self.ready or self._link is None:
            raise GuardDown("it is being loaded")
        if len(self._waiting) >= MAX_WAITING:
            raise GuardDown("too many requests wait for it")
        self._number += 1
        number = self._number
        job = Job(number, org_id, Asked(wire, body, query, mode, dict(known)), filters)
        answer: asyncio.Future[Inspected] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer, job
        sent_s = monotonic()
        try:
            self._link.write(framed(job))
            # Not asyncio.timeout: where both come in one turn of the loop, it cancels what is done.
            await asyncio.wait((answer,), timeout=LIMIT_S + LIMIT_S_PER_MB * job.size_bytes / _MB)
            if answer.done():
                return answer.result()
            # Busy is not stuck: others were answered meanwhile.
            if self._answered_s[job.large] < sent_s:
                self._kill()
            raise GuardDown("it did not answer in time")
        finally:
            self._waiting.pop(number, None)

    def restoring(self, wire: str, inspected: Inspected) -> Callable[[Any], RestoringReader]:
        """What wraps the reader of an answer to that request."""
        redacted = Redacted(wire, inspected.values, inspected.documents, inspected.says_json)
        return lambda reader: RestoringReader(reader, redacted)

    async def _keep(self) -> None:
        """Have a process run, and another one after it."""
        try:
            while True:
                try:
                    await self._run()
                    reason = "ended"
                except Exception as error:  # noqa: BLE001 - what goes wrong has many classes
                    reason = str(error) if isinstance(error, GuardDown) else type(error).__name__
                self._let_down()
                pause_s = _RESTART_S[min(self._failures, len(_RESTART_S) - 1)]
                self._failures += 1
                logger.error("the PHI/DLP guard is down (%s): started again in %g s", reason, pause_s)
                await asyncio.sleep(pause_s)
        finally:
            self._let_down()

    async def _run(self) -> None:
        """One process, until it ends or talks nonsense. Raises what tells why."""
        loop = asyncio.get_running_loop()
        ours, its = socket.socketpair()
        link = _Link(self._take)
        try:
            with its:
                process = self._process = await asyncio.create_subprocess_exec(
                    *self._command, stdin=its.fileno(), stdout=its.fileno()
                )
            try:
                self._link, _ = await loop.create_unix_connection(lambda: link, sock=ours)
                await asyncio.wait((link.over,), timeout=None if self.ready else LOAD_LIMIT_S)
                if not link.over.done() and self.ready:
                    await asyncio.wait((link.over,))
                if link.over.done():
                    link.over.result()
                raise GuardDown("it ended" if link.over.done() else "it did not say that it is ready")
            finally:
                self.ready = False
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        process.kill()
                    await asyncio.shield(process.wait())
        finally:
            if self._link is not None:
                self._link.close()
                self._link = None
            ours.close()

    def _take(self, told: Told) -> None:
        if isinstance(told, Ready):
            self.ready = True
            return
        answer, job = self._waiting.get(told.number, (None, None))
        if answer is None or job is None:
            return  # nobody waits for it any more
        self._answered_s[job.large] = monotonic()
        if answer.done():
            return
        if isinstance(told, Done):
            self._failures = 0
            answer.set_result(told.inspected)
        elif isinstance(told, Refused):
            answer.set_exception(Failure(FailureKind.INVALID_BODY, told.message))
        else:
            assert isinstance(told, Broken)
            answer.set_exception(GuardDown(told.error))

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    def _let_down(self) -> None:
        for answer, _ in self._waiting.values():
            if not answer.done():
                answer.set_exception(GuardDown("its process ended"))


class _Link(asyncio.Protocol):
    """Frames that come from the process. ``over`` is set when no more do, or when one is none."""

    def __init__(self, take: Callable[[Told], None]) -> None:
        self._take = take
        self._held = bytearray()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        held = self._held
        held += data
        while len(held) >= HEAD_BYTES:
            end = HEAD_BYTES + frame_bytes(held[:HEAD_BYTES])
            if len(held) < end:
                return
            frame = bytes(held[HEAD_BYTES:end])
            del held[:end]
            try:
                self._take(read_told(frame))
            except Exception as error:  # noqa: BLE001 - nonsense has many classes
                self._end(error)
                return

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)
