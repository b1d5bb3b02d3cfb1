"""A gateway that crashes leaves no picture of its memory, which holds prompts and keys."""

import resource
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devices.gateway import LIVE_KEY, ORG, Gateway, message
from tests.devices.speaker import ask

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
HIPAA = ORG.replace(
    'plan = "enterprise"', 'plan = "enterprise"\ncompliance = "hipaa"\nbaa = "active"\ndemo = true'
)


@pytest.fixture
def cores_allowed() -> Iterator[None]:
    """As far as the one who runs the tests may allow them."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def family(pid: int) -> list[int]:
    """The process and those it started, however far down."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += family(int(child))
    return found


def core_limits(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4:6]


def test_no_process_of_the_gateway_leaves_a_core_file_or_has_one_collected(cores_allowed: None) -> None:
    allowed = resource.getrlimit(resource.RLIMIT_CORE)[0] != 0
    with Gateway(HIPAA) as gateway:
        assert gateway.process is not None
        large = message("sandbox-echo", pad="x" * 1_100_000)
        assert ask(gateway.port, large, key=LIVE_KEY, timeout_s=60).status == 200
        processes = family(gateway.process.pid)
        assert len(processes) == 3, "the gateway, the guard, the reader of large bodies"
        # With one byte the kernel drops also what a collector would be given; none is for files alone.
        assert {tuple(core_limits(pid)) for pid in processes} == {("1", "1") if allowed else ("0", "0")}
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\n{")
            assert gateway.stop(signal.SIGABRT) == -signal.SIGABRT
        assert list(gateway.folder.glob("*core*")) == []
