"""Upstreams under test, and the faulty provider they call."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.devices.faulty_upstream import FaultyUpstream
from tests.upstreams.reference import AiohttpUpstream
from triptych.core.call import Headers, Upstream, UpstreamAnswer, UpstreamCall
from triptych.core.failure import Failure, FailureKind
from triptych.upstreams.anthropic import AnthropicUpstream
from triptych.upstreams.transport import HttpTransport

KEY = "secret-key"
OURS = ["triptych-uvloop", "triptych-asyncio"]


@pytest.fixture(params=[*OURS, "aiohttp-uvloop"])
def client_kind(request: pytest.FixtureRequest) -> str:
    """Overridden where only our own transport can be asked."""
    return str(request.param)


@pytest.fixture
def anyio_backend(client_kind: str) -> tuple[str, dict[str, object]]:
    return "asyncio", {"use_uvloop": client_kind.endswith("uvloop")}


@pytest.fixture
def device() -> Iterator[FaultyUpstream]:
    with FaultyUpstream() as upstream:
        yield upstream


@dataclass
class Clients:
    """Makes upstreams of the kind under test; closed when the test is over."""

    kind: str
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def upstream(
        self,
        base_url: str,
        *,
        connect_timeout_s: float = 2.0,
        first_byte_timeout_s: float = 5.0,
        idle_timeout_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
    ) -> Upstream:
        if self.kind.startswith("aiohttp"):
            reference = AiohttpUpstream(
                base_url=base_url,
                connect_timeout_s=connect_timeout_s,
                first_byte_timeout_s=first_byte_timeout_s,
                idle_timeout_s=idle_timeout_s,
                tls=tls,
            )
            self.closers.append(reference.aclose)
            return reference
        transport = HttpTransport(
            connect_timeout_s=connect_timeout_s,
            first_byte_timeout_s=first_byte_timeout_s,
            idle_timeout_s=idle_timeout_s,
            tls=tls,
        )

        async def close() -> None:
            transport.close()
            # The loop tells connections of their end in its next turn.
            await asyncio.sleep(0)

        self.closers.append(close)
        return AnthropicUpstream(transport, base_url=base_url, api_key=KEY)


@pytest.fixture
async def clients(client_kind: str) -> AsyncIterator[Clients]:
    made = Clients(client_kind)
    yield made
    for close in made.closers:
        await close()


def call_of(
    model: str = "m",
    *,
    stream: bool = False,
    headers: Headers = (),
    query: bytes = b"",
    path: str = "/v1/messages",
    in_s: float = 10.0,
    body: bytes | None = None,
) -> UpstreamCall:
    """A call for a behaviour of the device (``fault-<name>``), out of time ``in_s`` from now."""
    if body is None:
        body = b'{"model":"%b","max_tokens":9,"stream":%b,"messages":[]}' % (
            model.encode(),
            b"true" if stream else b"false",
        )
    deadline_s = asyncio.get_running_loop().time() + in_s
    return UpstreamCall("anthropic-messages", path, query, headers, body, model, stream, deadline_s)


async def read_all(answer: UpstreamAnswer) -> bytes:
    received = []
    while data := await answer.read():
        received.append(data)
    answer.close()
    return b"".join(received)


async def failure_of(awaitable: Awaitable[object]) -> FailureKind:
    with pytest.raises(Failure) as caught:
        await awaitable
    return caught.value.kind


async def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Whether ``holds`` came true in time, without blocking the loop."""
    for _ in range(int(timeout_s / 0.005)):
        if holds():
            return True
        await asyncio.sleep(0.005)
    return holds()
