"""The client whose calls are awaited."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

import httpx2

from triptych.client import calls
from triptych.client.calls import EMOTION_MODEL, Call, Text, gateway_url, request_headers
from triptych.client.errors import UNREADABLE, ApiError, ConnectionFailed, api_error
from triptych.client.retrying import Attempts, ClinicalRule, EmotionRule, Rule
from triptych.client.streams import MAX_EVENT_BYTES, ChunkReader, EventReader, cut_short
from triptych.client.types import (
    Analysis,
    ApiKey,
    BatchAnalysis,
    Chat,
    ContextMessage,
    ContextState,
    EmotionChunk,
    EmotionCompletion,
    EmotionModel,
    Event,
    Page,
)

T = TypeVar("T")
Item_co = TypeVar("Item_co", covariant=True)

DEFAULT_TIMEOUT_S = 600.0
CONNECT_TIMEOUT_S = 10.0


class Reader(Protocol[Item_co]):
    @property
    def ended(self) -> bool: ...
    def read(self, event: httpx2.ServerSentEvent) -> Item_co | None: ...


class AsyncStream(Generic[Item_co]):
    """Iterate over it once. Raises StreamFailed and ConnectionFailed where it breaks off."""

    def __init__(self, response: httpx2.Response, reader: Reader[Item_co]) -> None:
        self._response = response
        self._reader = reader

    async def __aiter__(self) -> AsyncIterator[Item_co]:
        try:
            async for event in httpx2.EventSource(self._response, MAX_EVENT_BYTES):
                item = self._reader.read(event)
                if item is not None:
                    yield item
                if self._reader.ended:
                    return
        except (httpx2.HTTPError, httpx2.StreamError, *UNREADABLE) as error:
            raise ConnectionFailed(f"The stream broke off: {type(error).__name__}.") from error
        raise cut_short()


class AsyncConnection:
    """Sends the calls of one surface, and tries them again as its rule says."""

    def __init__(self, http: httpx2.AsyncClient, prefix: str, api_key: str, rule: Rule, tries: int) -> None:
        self._http = http
        self._prefix = prefix
        self._api_key = api_key
        self._rule = rule
        self._tries = tries

    async def send(self, call: Call[T]) -> T:
        """Raises ApiError, ConnectionFailed."""
        response = await self._attempt(call, stream=False)
        try:
            return call.read(response.content)
        except UNREADABLE as error:
            raise ConnectionFailed("The answer is not what the gateway is known to say.") from error

    @asynccontextmanager
    async def stream(self, call: Call[Any], reader: type[Any]) -> AsyncIterator[Any]:
        """Raises ApiError, ConnectionFailed: also inside the block, where the stream breaks off."""
        response = await self._attempt(call, stream=True)
        try:
            yield AsyncStream(response, reader(response.headers))
        finally:
            await response.aclose()

    async def _attempt(self, call: Call[Any], *, stream: bool) -> httpx2.Response:
        attempts = Attempts(self._rule, self._tries)
        while True:
            request = self._http.build_request(
                call.method,
                self._prefix + call.path,
                content=call.body,
                params=call.query or None,
                headers=request_headers(call, self._api_key, stream),
            )
            failed: ApiError | ConnectionFailed
            try:
                response = await self._http.send(request, stream=stream)
                if response.is_success:
                    return response
                failed = api_error(response.status_code, await response.aread(), response.headers)
                await response.aclose()
            except httpx2.RequestError as error:
                failed = ConnectionFailed(f"The gateway cannot be reached: {type(error).__name__}.")
                failed.__cause__ = error
            await asyncio.sleep(attempts.wait_s(failed))


class AsyncEmotion:
    """Everything under ``/v2``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def analyse(
        self,
        texts: Sequence[Text],
        *,
        context_id: str | None = None,
        model: str = EMOTION_MODEL,
        idempotency_key: str | None = None,
    ) -> Analysis:
        """Texts of the user, or messages with role, externalId, content; in a context or stateless."""
        return await self._connection.send(calls.analyse(texts, context_id, model, idempotency_key))

    async def analyse_batch(
        self, texts: Sequence[Text], *, model: str = EMOTION_MODEL, idempotency_key: str | None = None
    ) -> BatchAnalysis:
        """Texts that have nothing to do with each other; a bad one fails alone."""
        return await self._connection.send(calls.analyse_batch(texts, model, idempotency_key))

    async def context(self, context_id: str) -> ContextState:
        return await self._connection.send(calls.context(context_id))

    async def message(self, context_id: str, external_id: str) -> ContextMessage:
        return await self._connection.send(calls.context_message(context_id, external_id))

    async def forget(self, context_id: str) -> None:
        await self._connection.send(calls.forget(context_id))

    async def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        context_id: str | None = None,
        model_params: Mapping[str, Any] | None = None,
        emotion_model: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
    ) -> EmotionCompletion:
        call = calls.emotion_chat(
            model,
            messages,
            stream=False,
            context_id=context_id,
            model_params=model_params,
            emotion_model=emotion_model,
            tools=tools,
            key=idempotency_key,
        )
        return await self._connection.send(call)

    @asynccontextmanager
    async def stream(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        context_id: str | None = None,
        model_params: Mapping[str, Any] | None = None,
        emotion_model: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncIterator[AsyncStream[EmotionChunk]]:
        """``async with emotion.stream(...) as chunks: async for chunk in chunks: ...``"""
        call = calls.emotion_chat(
            model,
            messages,
            stream=True,
            context_id=context_id,
            model_params=model_params,
            emotion_model=emotion_model,
            tools=tools,
            key=idempotency_key,
        )
        async with self._connection.stream(call, ChunkReader) as chunks:
            yield chunks

    async def models(self) -> list[EmotionModel]:
        return await self._connection.send(calls.emotion_models())

    async def status(self) -> dict[str, Any]:
        return await self._connection.send(calls.emotion_status())


class AsyncClinical:
    """Native chat, its records, and the control plane."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def chat(
        self,
        message: str | Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        conversation_id: str | None = None,
        store: bool | None = None,
        system: str | None = None,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
    ) -> Chat:
        """A text, or all messages of a turn."""
        call = calls.chat(
            message,
            stream=False,
            key=idempotency_key,
            model=model,
            conversation_id=conversation_id,
            store=store,
            system=system,
            max_tokens=max_tokens,
            tools=tools,
        )
        return await self._connection.send(call)

    @asynccontextmanager
    async def stream(
        self,
        message: str | Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        conversation_id: str | None = None,
        store: bool | None = None,
        system: str | None = None,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncIterator[AsyncStream[Event]]:
        """``async with clinical.stream("Hello") as events: async for event in events: ...``"""
        call = calls.chat(
            message,
            stream=True,
            key=idempotency_key,
            model=model,
            conversation_id=conversation_id,
            store=store,
            system=system,
            max_tokens=max_tokens,
            tools=tools,
        )
        async with self._connection.stream(call, EventReader) as events:
            yield events

    async def record(self, message_id: str) -> dict[str, Any]:
        """What is kept of an exchange, by the id of its message or request."""
        return await self._connection.send(calls.record(message_id))

    async def models(self) -> list[dict[str, Any]]:
        """All of them, however many pages they fill."""
        page = await self._connection.send(calls.clinical_models(None))
        found = page.data
        while page.next_cursor is not None:
            page = await self._connection.send(calls.clinical_models(page.next_cursor))
            found += page.data
        return found

    async def api_keys(self, *, cursor: str | None = None, limit: int | None = None) -> Page:
        return await self._connection.send(calls.api_keys(cursor, limit))

    async def create_api_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        environment: str = "live",
        idempotency_key: str | None = None,
    ) -> ApiKey:
        """Its ``plaintext`` is shown this once."""
        return await self._connection.send(calls.create_api_key(name, scopes, environment, idempotency_key))

    async def revoke_api_key(self, key_id: str) -> dict[str, Any]:
        return await self._connection.send(calls.revoke_api_key(key_id))

    async def usage(self) -> dict[str, Any]:
        return await self._connection.send(calls.read("/v1/usage"))

    async def budget(self) -> dict[str, Any]:
        return await self._connection.send(calls.read("/v1/usage/budget"))

    async def set_budget(self, **changes: Any) -> dict[str, Any]:
        """``spend_cap_usd``, ``alert_thresholds``, ``opus_enabled``."""
        return await self._connection.send(calls.set_budget(changes))

    async def agreement(self) -> dict[str, Any]:
        """The state of the Business Associate Agreement."""
        return await self._connection.send(calls.read("/v1/compliance/baa"))

    async def provider_status(self) -> Any:
        return await self._connection.send(calls.provider_status())


class AsyncTriptych:
    """A gateway, as one key sees it. Close it, or use it with ``async with``."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str,
        clinical_prefix: str = "/clinical",
        emotion_prefix: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        tries: int = 3,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        """``tries``: of each call, in all. ``http_client``: one with settings of your own (proxies,
        certificates); its base URL and timeout are used as they are. Raises TriptychError where
        ``base_url`` is none."""
        self._http = http_client or httpx2.AsyncClient(
            base_url=gateway_url(base_url),
            timeout=httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        )
        self.emotion = AsyncEmotion(
            AsyncConnection(self._http, emotion_prefix, api_key, EmotionRule(), tries)
        )
        self.clinical = AsyncClinical(
            AsyncConnection(self._http, clinical_prefix, api_key, ClinicalRule(), tries)
        )

    async def __aenter__(self) -> "AsyncTriptych":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()
