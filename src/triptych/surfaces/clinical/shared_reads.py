"""Reads that go through all of an org's rows of a cycle: asked for by many at once, they are made once.

They take the same few threads as everybody's short look-ups. An org holds one of them at a time, and all
orgs together no more than ``AT_ONCE``: whoever polls holds up himself.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from triptych.surfaces.clinical.control import stored

AT_ONCE = 2

T = TypeVar("T")


class _Line(Generic[T]):
    """Those who wait for one org's."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.begun_s = float("-inf")
        self.found: T | None = None


class SharedReads(Generic[T]):
    """One kind of read, by org. For the event loop's thread."""

    def __init__(self, read: Callable[[str], T], places: asyncio.Semaphore) -> None:
        """``read`` blocks; ``places`` is shared by all kinds."""
        self._read = read
        self._places = places
        self._lines: dict[str, _Line[T]] = {}

    async def of(self, org_id: str) -> T:
        """What was read after this was called. Raises Failure as ``control.stored`` does."""
        asked_s = monotonic()
        line = self._lines.setdefault(org_id, _Line())
        line.waiting += 1
        try:
            async with line.lock:
                if line.found is None or line.begun_s < asked_s:
                    async with self._places:
                        begun_s = monotonic()
                        line.found = await stored(lambda: self._read(org_id))
                        line.begun_s = begun_s
                return line.found
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[org_id]
