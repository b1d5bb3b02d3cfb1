"""Contexts from the loop's side: what blocks runs in threads, one at a time for each context."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from triptych.core.clock import MICROSECONDS_PER_S
from triptych.core.emotion import Emotion
from triptych.core.failure import Failure, FailureKind
from triptych.core.principal import Principal
from triptych.storage.contexts import (
    Also,
    Context,
    ContextGone,
    Contexts,
    DuplicateMessage,
    NewMessage,
    Owner,
    StoredMessage,
)
from triptych.storage.errors import SpoiltContent, StorageError
from triptych.surfaces.idempotent import uninterrupted

T = TypeVar("T")
_READERS = 4

Said = tuple[str, str | None, str, Emotion]
"""Role, external id, text, emotion."""


class ContextKeeping:
    """What a key may do with its org's contexts. Everything raises Failure: CONTEXT_NOT_FOUND,
    SERVICE_UNAVAILABLE."""

    def __init__(
        self, contexts: Contexts, *, ttl_s: float, store_text: bool, expires: Callable[[int], None]
    ) -> None:
        """``expires`` is told of each moment at which a context will."""
        self._contexts = contexts
        self._ttl_s = ttl_s
        self._store_text = store_text
        self._expires = expires
        # Waiting for a context of another process must not hold up those who read.
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="contexts-read")
        self._writers = ThreadPoolExecutor(contexts.writers, thread_name_prefix="contexts-write")
        self._turns: WeakValueDictionary[tuple[Owner, bytes], asyncio.Lock] = WeakValueDictionary()

    async def append(
        self, principal: Principal, context_id: bytes, said: Sequence[Said], also: Also | None = None
    ) -> Context:
        """To its end also when the client leaves: what became of it must be known. ``also`` as in
        ``Contexts.append``. Also raises DUPLICATE_ID; nothing is stored then."""
        owner, stores = _owner(principal), self._stores_text(principal)
        messages = [
            NewMessage(
                role,
                emotion,
                None if external_id is None else external_id.encode(),
                text if stores else None,
            )
            for role, external_id, text, emotion in said
        ]
        ttl_s = principal.policy.context_ttl_s
        ttl_us = int((self._ttl_s if ttl_s is None else ttl_s) * MICROSECONDS_PER_S)
        # At most one thread of this process waits for a context.
        turn = self._turns.setdefault((owner, context_id), asyncio.Lock())
        async with turn:
            write = partial(self._contexts.append, owner, context_id, messages, ttl_us, also)
            context: Context = await uninterrupted(
                self._in(self._writers, write), lambda stored: self._expires(stored.expires_us)
            )
        return context

    async def find(self, principal: Principal, context_id: bytes) -> Context:
        return await self._in(self._readers, partial(self._contexts.find, _owner(principal), context_id))

    async def message(self, principal: Principal, context_id: bytes, external_id: bytes) -> StoredMessage:
        """Also raises MESSAGE_NOT_FOUND. With its text only where the org keeps texts."""
        read = partial(self._contexts.message, _owner(principal), context_id, external_id)
        found = await self._in(self._readers, read)
        if found is None:
            raise Failure(FailureKind.MESSAGE_NOT_FOUND, param="external_id")
        return found if self._stores_text(principal) else StoredMessage(found.role, found.emotion, None)

    async def delete(self, principal: Principal, context_id: bytes) -> None:
        await self._in(self._writers, partial(self._contexts.delete, _owner(principal), context_id))

    def close(self) -> None:
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._writers.shutdown(wait=True, cancel_futures=True)

    def _stores_text(self, principal: Principal) -> bool:
        own = principal.policy.store_text
        return self._store_text if own is None else own

    @staticmethod
    async def _in(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except ContextGone:
            raise Failure(FailureKind.CONTEXT_NOT_FOUND, param="context_id") from None
        except DuplicateMessage as duplicate:
            raise Failure(
                FailureKind.DUPLICATE_ID,
                "The id of a message is already used in this context. Nothing of the request was stored.",
                param=f"messages[{duplicate.index}].externalId",
            ) from None
        except SpoiltContent:
            raise  # nothing that passes by itself
        except StorageError as error:
            raise Failure(
                FailureKind.SERVICE_UNAVAILABLE, "The gateway cannot reach its contexts right now."
            ) from error


def _owner(principal: Principal) -> Owner:
    return Owner(principal.org_id, principal.environment)
