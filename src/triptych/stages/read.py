"""Read a request. A large body is read in another process: others must not wait for it."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec

from triptych.core.exchange import Exchange

SMALL_BYTES = 16_384
"""A body below this is never large, compressed or not."""

Parsed_co = TypeVar("Parsed_co", covariant=True)


class Apart(Protocol):
    def __call__(
        self, work: Callable[..., Any], body: bytes, *arguments: Any
    ) -> Awaitable[tuple[Any, bytes | None]]:
        """``work(body, *arguments)`` in another process: what it found, and another body if there is one."""
        ...


class Readable(Protocol[Parsed_co]):
    def parse(self, exchange: Exchange) -> Parsed_co: ...
    def apart(self, exchange: Exchange) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        """What ``parse`` does as a function of the body and these arguments, where that would take long;
        else None."""
        ...


class Read:
    """``apart`` None: everything is read where it is."""

    def __init__(self, apart: Apart | None = None) -> None:
        self._apart = apart

    async def __call__(self, exchange: Exchange, endpoint: Readable[Any]) -> Any:
        """The request. Raises what ``parse`` raises, and Failure SERVICE_UNAVAILABLE."""
        long = None if self._apart is None else endpoint.apart(exchange)
        if long is None or self._apart is None:
            return endpoint.parse(exchange)
        work, arguments = long
        parsed, body = await self._apart(work, exchange.body, *arguments)
        return msgspec.structs.replace(parsed, body=exchange.body if body is None else body)
