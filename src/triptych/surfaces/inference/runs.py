"""Responses that are being made and kept: they outlive their callers, and can be stopped."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.edge.message import Request
from triptych.edge.reply import Reply
from triptych.pipeline import Endpoint, Pipeline
from triptych.stages.settle import Dialect
from triptych.storage.errors import reason
from triptych.storage.responses import StoredResponses
from triptych.surfaces.governed import taken
from triptych.surfaces.inference.keeping import KeptReply

logger = logging.getLogger("triptych.runs")

SURFACE = "inference"
WATCH_S = 0.5
"""How often a node asks whether another one deleted what it is making."""
_STOP_LIMIT_S = 5.0


class Runs:
    """The running exchanges of this node that are kept, or may yet be."""

    def __init__(self, stored: StoredResponses) -> None:
        self._stored = stored
        self._running: dict[str, tuple[asyncio.Task[None], Exchange]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def run(self, exchange: Exchange, reply: KeptReply, govern: Coroutine[Any, Any, None]) -> None:
        """Govern an exchange in a task of its own, for as long as the caller stays; a kept one goes
        on when he leaves."""
        task = asyncio.get_running_loop().create_task(govern)
        self._running[exchange.id] = (task, exchange)
        task.add_done_callback(lambda done: self._ended(exchange.id, done))
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._watch_deletions())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                raise
            if reply.caller_left and reply.goes_on:
                raise
            task.cancel()
            await asyncio.wait([task])
            raise

    def stop(self, exchange_id: str) -> None:
        """End a run because its response was deleted."""
        task, exchange = self._running.get(exchange_id, (None, None))
        if task is not None and exchange is not None and exchange.stopped is None:
            exchange.stopped = Failure(
                FailureKind.CLIENT_DISCONNECTED, "The response was deleted while it was made."
            )
            task.cancel()

    async def drain(self, limit_s: float) -> int:
        """Wait for what goes on without its caller, at most ``limit_s``, then cancel the rest; returns
        how many were cancelled."""
        deadline_s = monotonic() + limit_s
        while self._running and monotonic() < deadline_s:
            await asyncio.sleep(0.02)
        return await self.close()

    async def close(self) -> int:
        """Cancel what still runs, and wait for the outcomes. Idempotent."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        tasks = [task for task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_LIMIT_S)
        return len(tasks)

    def _ended(self, exchange_id: str, task: "asyncio.Task[None]") -> None:
        self._running.pop(exchange_id, None)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a kept exchange ended with %s", type(task.exception()).__name__)

    async def _watch_deletions(self) -> None:
        """Ask while something runs; the next run starts the watch again."""
        try:
            while self._running:
                await asyncio.sleep(WATCH_S)
                kept = [key for key, (_, exchange) in self._running.items() if exchange.keeper is not None]
                if not kept:
                    continue
                try:
                    deleted = await asyncio.to_thread(self._stored.deleted_of, kept)
                except Exception as error:  # noqa: BLE001 - drivers have many classes; all mean "not now"
                    logger.warning("could not ask for deleted responses: %s", reason(error))
                    continue
                for exchange_id in deleted:
                    self.stop(exchange_id)
        finally:
            if self._watch is asyncio.current_task():
                self._watch = None


_STORE, _ESCAPE = b'"store"', b"\\u"
_STORES = re.compile(rb'"store"[ \t\r\n]*+:[ \t\r\n]*+true')


def serve_kept(
    operation: Endpoint[Any], name: str, dialect: Dialect, pipeline: Pipeline, runs: Runs
) -> Callable[[Request, Reply], Awaitable[None]]:
    """The endpoint of an operation whose answers can be stored."""

    def endpoint(request: Request, reply: Reply) -> Awaitable[None]:
        body = request.body
        plain = not request.content_encoding
        exchange = taken(request, SURFACE, name)
        if plain and not _may_store(body):
            return pipeline.govern(exchange, operation, dialect, reply)
        kept = KeptReply(reply, exchange)
        return runs.run(exchange, kept, pipeline.govern(exchange, operation, dialect, kept))

    return endpoint


def _may_store(body: bytes) -> bool:
    """False: nothing is asked to be stored, and the answer needs no task of its own. The key may be spelled
    with escapes."""
    return _ESCAPE in body or (_STORE in body and _STORES.search(body) is not None)
