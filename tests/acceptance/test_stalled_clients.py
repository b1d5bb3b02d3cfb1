"""A thousand clients that send next to nothing must not be felt by the others, and must be gone in time."""

import asyncio
import contextlib
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devices import messages_wire as wire
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import LIVE_KEY, ORG, Gateway, message, provider
from tests.devices.speaker import ask

STALLED = 1_000
HEADER_TIMEOUT_S = BODY_TIMEOUT_S = 4
# The sweep over deadlines runs four times a second; the rest is what a busy machine needs.
LATE_S = 20.0
NEEDED_FILES = 3 * STALLED

REQUEST_LINE = b"POST /v1/messages HTTP/1.1\r\nhost: triptych\r\n"
BODY_HEAD = REQUEST_LINE + b"x-api-key: %b\r\ncontent-length: 5000\r\n\r\n" % LIVE_KEY.encode()
CHUNKED_HEAD = REQUEST_LINE + b"x-api-key: %b\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{" % LIVE_KEY.encode()
# What each sends at once, and what it goes on dripping, a byte at a time.
SILENT = (b"", b"")
IN_HEAD = (REQUEST_LINE + b"x-slow: ", b"")
DRIPPING_HEAD = (REQUEST_LINE, b"x")
IN_BODY = (BODY_HEAD + b'{"model":', b"")
DRIPPING_BODY = (BODY_HEAD, b" ")
IN_CHUNK = (CHUNKED_HEAD, b"")
KINDS = (SILENT, IN_HEAD, DRIPPING_HEAD, DRIPPING_HEAD, IN_HEAD) + (IN_BODY, DRIPPING_BODY, IN_CHUNK) * 2
BODIES = (IN_BODY, DRIPPING_BODY, IN_CHUNK)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Enough descriptors for both ends; the gateway inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED_FILES:
        pytest.skip(f"1,000 stalled clients are NOT tested: at most {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, NEEDED_FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Stalled:
    """One client that never finishes its request, until the gateway has had enough."""

    def __init__(self, kind: tuple[bytes, bytes]) -> None:
        self.kind = kind
        self.answer = b""
        self.waited_s = 0.0

    async def stall(self, port: int, connected: asyncio.Semaphore) -> None:
        async with connected:
            # Before the server's clock can start, which it does while a thousand of us take turns.
            started_s = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        first, drip = self.kind
        writer.write(first)
        dripping = asyncio.ensure_future(self._drip(writer, drip)) if drip else None
        with contextlib.suppress(ConnectionResetError):
            self.answer = await reader.read()
        self.waited_s = time.monotonic() - started_s
        if dripping is not None:
            dripping.cancel()
        writer.close()

    @staticmethod
    async def _drip(writer: asyncio.StreamWriter, drip: bytes) -> None:
        while not writer.is_closing():
            await asyncio.sleep(1.0)
            writer.write(drip)


async def go_on(port: int, until: asyncio.Event) -> list[float]:
    """Somebody who works meanwhile, in plain calls on one connection; seconds of each call."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = message("m")
    head = REQUEST_LINE + b"x-api-key: %b\r\ncontent-length: %d\r\n\r\n" % (LIVE_KEY.encode(), len(body))
    took_s = []
    while not until.is_set():
        started_s = time.monotonic()
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(len(wire.message("m")))
        took_s.append(time.monotonic() - started_s)
        await asyncio.sleep(0.02)
    writer.close()
    return took_s


async def stall_all(port: int) -> tuple[list[Stalled], list[float]]:
    stalled = [Stalled(KINDS[number % len(KINDS)]) for number in range(STALLED)]
    connected = asyncio.Semaphore(100)
    over = asyncio.Event()
    workers = [asyncio.ensure_future(go_on(port, over)) for _ in range(4)]
    async with asyncio.timeout(150):
        await asyncio.gather(*(client.stall(port, connected) for client in stalled))
    over.set()
    took_s: list[float] = []
    for worker in workers:
        took_s += await worker
    return stalled, sorted(took_s)


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.usefixtures("many_files")
def test_a_thousand_stalled_clients_are_shown_out_and_nobody_else_notices() -> None:
    server = f"header_timeout_s = {HEADER_TIMEOUT_S}\nbody_timeout_s = {BODY_TIMEOUT_S}"
    with (
        FaultyUpstream() as upstream,
        Gateway(ORG + provider(upstream.base_url, "m"), server=server) as gateway,
    ):
        assert gateway.process is not None
        pid = gateway.process.pid
        for _ in range(20):
            assert ask(gateway.port, message("m")).status == 200
        files_before, memory_before = open_files(pid), resident_bytes(pid)

        stalled, took_s = asyncio.run(stall_all(gateway.port))

        # The others: hundreds of calls where nobody else uses the machine, each in milliseconds.
        assert len(took_s) > 40
        assert took_s[len(took_s) // 2] < 1.0 and took_s[int(len(took_s) * 0.99)] < 5.0
        for client in stalled:
            limit_s = BODY_TIMEOUT_S if client.kind in BODIES else HEADER_TIMEOUT_S
            assert limit_s - 0.1 <= client.waited_s <= limit_s + LATE_S
        # In the body the request is known, and so is the form of its refusal.
        for client in stalled:
            if client.kind in BODIES:
                assert client.answer.startswith(b"HTTP/1.1 408 ")
                assert b"\r\nconnection: close\r\n" in client.answer
                assert b'"type":"error"' in client.answer
            else:
                assert client.answer == b""

        deadline_s = time.monotonic() + 30
        while open_files(pid) > files_before + 10:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert resident_bytes(pid) < memory_before + (48 << 20)
        # Strangers and stragglers leave no rows: only the calls that ran have one.
        assert len(gateway.settled_rows(20 + len(took_s))) == 20 + len(took_s)
        assert ask(gateway.port, message("m")).status == 200
        assert gateway.stop() == 0


def test_a_client_that_dawdles_between_requests_is_not_taken_for_a_stalled_one() -> None:
    """The header limit runs from a request's first byte, not while a kept connection rests."""
    with FaultyUpstream() as upstream:
        toml = ORG + provider(upstream.base_url, "m")
        with Gateway(toml, server="header_timeout_s = 1\nbody_timeout_s = 1") as gateway:

            async def dawdle() -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                body = message("m")
                head = REQUEST_LINE + b"x-api-key: %b\r\ncontent-length: %d\r\n\r\n"
                for _ in range(2):
                    writer.write(head % (LIVE_KEY.encode(), len(body)) + body)
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                    await reader.readexactly(len(wire.message("m")))
                    await asyncio.sleep(2)
                writer.close()

            asyncio.run(dawdle())


def test_a_stalled_upload_does_not_outlive_its_answer() -> None:
    """Refused before the body came: the answer is there at once, whatever the client goes on to do."""
    with Gateway(ORG, server="header_timeout_s = 1\nbody_timeout_s = 1") as gateway:

        async def upload() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(REQUEST_LINE + b"x-api-key: nobody\r\ncontent-length: 5000\r\n\r\n{")
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 1)
            writer.close()
            return answer

        assert asyncio.run(upload()).startswith(b"HTTP/1.1 401 ")
