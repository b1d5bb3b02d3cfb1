"""Redis and PostgreSQL servers of a test's own, which it may kill and start again."""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.devices.gateway import free_port

START_LIMIT_S = 60.0


class Server:
    """A server process on a port that stays the same over restarts."""

    needs = ""

    def __init__(self) -> None:
        self.port = free_port()
        self._temporary = tempfile.TemporaryDirectory(prefix="triptych-server-")
        self.folder = Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def prepare(self) -> None:
        """Before the first start."""

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        deadline_s = time.monotonic() + START_LIMIT_S
        while not self.answers():
            assert self._process.poll() is None and time.monotonic() < deadline_s, (
                self.folder / "server.log"
            ).read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash does it: nothing is said, nothing is saved."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)
        self._process = None

    def freeze(self) -> None:
        """It keeps its connections and answers nothing until ``thaw``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.kill()
        self._temporary.cleanup()


class RedisServer(Server):
    """Without persistence, as the documentation asks for."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        self._program = shutil.which("redis-server") or shutil.which("valkey-server") or ""
        if not self._program:
            pytest.skip("a restart of Redis is NOT tested: no redis-server is installed")

    def command(self) -> Sequence[str]:
        return (self._program, "--port", str(self.port), "--save", "", "--appendonly", "no")

    def answers(self) -> bool:
        import socket

        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class PostgresServer(Server):
    """A cluster of its own. Killed, it takes its children with it; a start then recovers the log."""

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
        programs = Path(found[-1]) if found else Path(shutil.which("initdb") or "").parent
        if not (programs / "initdb").exists():
            pytest.skip("a restart of PostgreSQL is NOT tested: its server is not installed")
        self.programs = programs
        # It refuses to run as root.
        self._as: tuple[str, ...] = ()
        if os.getuid() == 0:
            self._as = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
            shutil.chown(self.folder, "postgres", "postgres")
        options = ("-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C")
        subprocess.run(
            (*self._as, str(programs / "initdb"), "-D", str(self.folder / "data"), *options),
            check=True,
            capture_output=True,
            cwd=self.folder,
        )

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "max_connections": "60",
            "shared_buffers": "16MB",
        }
        told = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        data = str(self.folder / "data")
        return (*self._as, str(self.programs / "postgres"), "-D", data, "-p", str(self.port), *told)

    def answers(self) -> bool:
        ready = subprocess.run(
            (str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)), check=False
        )
        return ready.returncode == 0

    def kill(self) -> None:
        super().kill()
        # The children notice by themselves; the next start waits until they have let go of the memory.
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        time.sleep(0.5)
