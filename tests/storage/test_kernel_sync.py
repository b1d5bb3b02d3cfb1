"""The kernel syncs a file by itself and says how it went."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from triptych.storage.kernel_sync import KernelSync


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def synced(sync: KernelSync, fd: int) -> OSError | None:
    done: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
    sync.start(fd, done.set_result)
    assert not done.done(), "told from within the call"
    return await asyncio.wait_for(done, 10)


def test_a_file_is_synced_again_and_again_and_nothing_stays_open(tmp_path: Path) -> None:
    before = open_files()

    async def live() -> None:
        sync = KernelSync(asyncio.get_running_loop())
        with (tmp_path / "log").open("wb", buffering=0) as log:
            for _ in range(100):
                log.write(b"x" * 4096)
                assert await synced(sync, log.fileno()) is None
        sync.close()

    asyncio.run(live())
    assert open_files() == before


@pytest.mark.parametrize("what", ["closed", "pipe"])
def test_what_cannot_be_synced_is_an_error_and_the_next_sync_works(tmp_path: Path, what: str) -> None:
    async def live() -> None:
        sync = KernelSync(asyncio.get_running_loop())
        reading, writing = os.pipe()
        fd = writing if what == "pipe" else 1_000_000
        try:
            error = await synced(sync, fd)
        except OSError as raised:
            error = raised
        assert error is not None and error.errno in (errno.EBADF, errno.EINVAL)
        with (tmp_path / "log").open("wb") as log:
            assert await synced(sync, log.fileno()) is None
        sync.close()
        os.close(reading)
        os.close(writing)

    asyncio.run(live())


def test_closing_waits_for_the_sync_and_tells_nobody(tmp_path: Path) -> None:
    told: list[OSError | None] = []

    async def live() -> None:
        sync = KernelSync(asyncio.get_running_loop())
        with (tmp_path / "log").open("wb", buffering=0) as log:
            log.write(b"x" * (1 << 20))
            sync.start(log.fileno(), told.append)
            sync.close()
            await asyncio.sleep(0.02)

    asyncio.run(live())
    assert told == []


def test_a_machine_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")

    async def live() -> None:
        with pytest.raises(OSError, match="of the kernel"):
            KernelSync(asyncio.get_running_loop())

    asyncio.run(live())
