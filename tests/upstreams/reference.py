"""The same promises kept with aiohttp: the library our transport replaces. The shared suite runs
against both, so that what it asks for is what a mature client gives."""

import asyncio
import ssl

import aiohttp

from triptych.core.call import Headers, UpstreamAnswer, UpstreamCall
from triptych.core.failure import Failure, FailureKind
from triptych.upstreams.decoding import decoded


class AiohttpAnswer:
    def __init__(self, response: aiohttp.ClientResponse, deadline_s: float, idle_timeout_s: float) -> None:
        self._response = response
        self._deadline_s = deadline_s
        self._idle_timeout_s = idle_timeout_s
        self._ended = False
        self.status = response.status
        self.headers: Headers = [(name.lower(), value) for name, value in response.raw_headers]

    async def read(self) -> bytes:
        if self._ended:
            return b""
        try:
            data = await self._read()
        except BaseException:
            self.close()
            raise
        self._ended = not data
        return data

    async def _read(self) -> bytes:
        limit_s = asyncio.get_running_loop().time() + self._idle_timeout_s
        try:
            async with asyncio.timeout_at(min(self._deadline_s, limit_s)):
                return await self._response.content.readany()
        except TimeoutError as error:
            raise Failure(FailureKind.UPSTREAM_TIMEOUT) from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientOSError, ConnectionError) as error:
            raise Failure(FailureKind.UPSTREAM_INTERRUPTED) from error
        except aiohttp.ClientError as error:
            raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from error

    def close(self) -> None:
        self._response.close()


class AiohttpUpstream:
    """An Anthropic upstream on aiohttp."""

    def __init__(
        self,
        *,
        base_url: str,
        connect_timeout_s: float,
        first_byte_timeout_s: float,
        idle_timeout_s: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._base_url = base_url.rstrip("/").removesuffix("/v1")
        self._first_byte_timeout_s = first_byte_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_timeout_s),
        )

    async def call(self, call: UpstreamCall) -> UpstreamAnswer:
        url = f"{self._base_url}{call.path}" + (f"?{call.query.decode()}" if call.query else "")
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if call.stream else "application/json",
            "accept-encoding": "identity",
            "x-api-key": "secret-key",
            "user-agent": "triptych/0",
            "anthropic-version": "2023-06-01",
        } | {name.decode(): value.decode() for name, value in call.headers}
        limit_s = asyncio.get_running_loop().time() + self._first_byte_timeout_s
        try:
            async with asyncio.timeout_at(min(call.deadline_s, limit_s)):
                response = await self._session.post(
                    url, data=call.body, headers=headers, allow_redirects=False
                )
        except aiohttp.ServerTimeoutError as error:
            raise Failure(FailureKind.UPSTREAM_UNREACHABLE) from error
        except TimeoutError as error:
            raise Failure(FailureKind.UPSTREAM_TIMEOUT) from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise Failure(FailureKind.UPSTREAM_UNREACHABLE) from error
        except aiohttp.ClientError as error:
            raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from error
        return decoded(AiohttpAnswer(response, call.deadline_s, self._idle_timeout_s))

    async def aclose(self) -> None:
        await self._session.close()
