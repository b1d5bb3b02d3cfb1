"""``serve --workers N``: one process that starts the others, and starts another when one dies.

Each worker is a node of its own, with its own listening socket on the shared port (SO_REUSEPORT): the
kernel spreads connections over them. What they count together is in Redis.
"""

import contextlib
import os
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

from triptych.cli.terminal import complain, note, warn
from triptych.edge.server import unknown_host
from triptych.settings import Settings
from triptych.telemetry import STDERR_FD

_PAUSE_S: Final = 1.0
"""Before a worker that died is followed by another one."""
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHED: Final = (*_STOPPING, signal.SIGHUP, signal.SIGCHLD)


class Worker(msgspec.Struct, frozen=True):
    """What one of them is told."""

    number: int
    """From 0."""
    settings: Settings
    """With the port they share, and a metrics port of its own."""
    ready_fd: int
    """Takes one byte once requests are served."""
    alive_fd: int
    """Ends when the process that started it is gone."""

    def ready(self) -> None:
        os.write(self.ready_fd, b".")


class Supervisor:
    """Not for a process that has threads: it forks."""

    def __init__(
        self, settings: Settings, serve_one: Callable[[Worker], None], serving: Callable[[int], None]
    ) -> None:
        """``serve_one`` runs in each worker; ``serving`` is called with the port once all serve."""
        self._settings = settings
        self._serve_one = serve_one
        self._serving = serving
        self._workers: dict[int, int] = {}
        """Numbers by process id."""
        self._stopping = False
        self._failed = False
        self._waiting_for = settings.server.workers
        self._due: list[tuple[float, int]] = []

    def run(self) -> None:
        """Until told to stop. In a worker it returns when that has served. Raises OSError (address),
        SystemExit 1: a worker could not start, or did not end well."""
        server = self._settings.server
        reserved = _reserve(server.host, server.port)
        self._port = int(reserved.getsockname()[1])
        self._ready, self._ready_in = os.pipe()
        self._alive, self._alive_in = os.pipe()
        self._signals, self._signals_in = os.pipe()
        for fd in (self._ready, self._signals, self._signals_in):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._signals_in)
        for number in _WATCHED:
            signal.signal(number, lambda *_: None)
        with contextlib.closing(reserved):
            if any(self._start(worker) for worker in range(server.workers)) or self._watch():
                return
        if self._failed:
            raise SystemExit(1)

    def _start(self, worker: int) -> bool:
        """Whether this is the new process, which has served and must end."""
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that comes before the child has its own ways must not be lost on its parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        pid = os.fork()
        if pid:
            self._workers[pid] = worker
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            return False
        signal.set_wakeup_fd(-1)
        for number in _WATCHED:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
        for fd in (self._ready, self._alive_in, self._signals, self._signals_in):
            os.close(fd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        self._serve_one(Worker(worker, self._settings_of(worker), self._ready_in, self._alive))
        return True

    def _settings_of(self, worker: int) -> Settings:
        server = self._settings.server
        metrics_port = server.metrics_port + worker if server.metrics_port else 0
        return msgspec.structs.replace(
            self._settings,
            server=msgspec.structs.replace(server, port=self._port, metrics_port=metrics_port),
        )

    def _watch(self) -> bool:
        """Until no worker is left. True in a worker that was started meanwhile."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ)
            selector.register(self._ready, selectors.EVENT_READ)
            while self._workers or (self._due and not self._stopping):
                pause_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
                for key, _ in selector.select(pause_s):
                    told = os.read(int(key.fd), 4096)
                    if key.fd == self._ready:
                        self._served(len(told))
                    else:
                        self._obey(told)
                while self._due and not self._stopping and self._due[0][0] <= time.monotonic():
                    if self._start(self._due.pop(0)[1]):
                        return True
        return False

    def _served(self, count: int) -> None:
        before, self._waiting_for = self._waiting_for, self._waiting_for - count
        if before > 0 >= self._waiting_for and not self._stopping:
            self._serving(self._port)

    def _obey(self, signals: bytes) -> None:
        for number in signals:
            if number in _STOPPING:
                self._stop()
            elif number == signal.SIGHUP:
                self._send(signal.SIGHUP)
        # One signal may stand for several children.
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._ended(pid, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, code: int) -> None:
        worker = self._workers.pop(pid, None)
        if worker is None:
            return
        if self._stopping:
            # One that was still starting ends by the signal itself.
            self._failed = self._failed or code not in (0, -signal.SIGTERM)
            return
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        if self._waiting_for > 0:
            # It has said why. What fails at the first start would fail again.
            _tell(complain, f"worker {worker} {how} before it served; stopping")
            self._failed = True
            self._stop()
            return
        _tell(warn, f"worker {worker} (pid {pid}) {how}; another one is started")
        self._due.append((time.monotonic() + _PAUSE_S, worker))

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            _tell(note, f"triptych: stopping {len(self._workers)} workers")
        self._send(signal.SIGTERM)

    def _send(self, number: int) -> None:
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _tell(say: Callable[[str], None], text: str) -> None:
    """A log that nobody reads must not hold up who looks after the workers, nor one that is closed end it."""
    with contextlib.suppress(OSError):
        if select.select((), (STDERR_FD,), (), 0)[1]:
            say(text)


def _reserve(host: str, port: int) -> socket.socket:
    """A socket that holds the port for the workers' and never listens. Raises OSError when another
    program has the address: with SO_REUSEPORT alone two gateways would share it unnoticed."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise unknown_host(host, port) from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            # As asyncio words it, so that it is explained alike.
            place = repr((str(address[0]), address[1]))
            raise OSError(error.errno, f"address {place}: {error.strerror}") from error
    held = socket.socket(family, kind, protocol)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(address)
    return held
