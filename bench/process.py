"""Processes under measurement: start, CPU time, memory, stop. Linux only (`/proc`, process CPU clocks)."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STOP_WAIT_S = 15.0
POLL_S = 0.002
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class StartFailed(RuntimeError):
    """A target did not come up; the message has the end of its log."""


@dataclass(slots=True)
class Running:
    """One started process with the port it listens on and the file that has its output."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started_at: float

    def cpu_us(self) -> float:
        """CPU time used so far by the process and its children, user and system, in microseconds."""
        return sum(process_cpu_us(pid) for pid in process_tree(self.process.pid))

    def resident_bytes(self) -> int:
        """Resident memory (VmRSS) of the process and its children, in bytes."""
        return sum(status_bytes(pid, "VmRSS:") for pid in process_tree(self.process.pid))

    def threads(self) -> int:
        """Number of threads of the process and its children."""
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in process_tree(self.process.pid))

    def stop(self) -> None:
        """Ends the process group this benchmark started: SIGTERM, and SIGKILL when that is not enough."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(STOP_WAIT_S)

    def failure(self, why: str) -> StartFailed:
        """An error that says why and shows the last lines the process wrote."""
        tail = self.log.read_text(errors="replace")[-1500:]
        return StartFailed(f"{why}; the last lines of {self.log}:\n{tail}")


def process_tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue  # The thread ended between the listing and the reading.
    return found


def process_cpu_us(pid: int) -> float:
    """CPU time of one process, all threads, in microseconds.

    The process's CPU clock (clock_getcpuclockid(3)) is the sum that /proc/<pid>/stat rounds to 10 ms ticks;
    the latter is read where the clock may not be.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | 2) / 1000
    except OSError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * 1e6 / TICKS_PER_S


def machine_cpu_us() -> float:
    """CPU time the whole machine has spent working (not idle, not waiting for disks), in microseconds."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _, _, interrupts, soft_interrupts, _ = fields
    return (user + nice + system + interrupts + soft_interrupts) * 1e6 / TICKS_PER_S


def own_cpu_us() -> float:
    """CPU time of this process and of the children it has waited for (wrk), in microseconds."""
    times = os.times()
    return (times.user + times.system + times.children_user + times.children_system) * 1e6


def status_bytes(pid: int, name: str) -> int:
    """A size from /proc/<pid>/status in bytes; 0 when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    command: Sequence[str | Path], port: int, work_dir: Path, environment: Mapping[str, str]
) -> Running:
    """Starts a process in a group of its own; its output goes to `output.log` in `work_dir`."""
    work_dir.mkdir(parents=True, exist_ok=True)
    log = work_dir / "output.log"
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    started_at = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=work_dir,
            env={**kept, "HOME": str(work_dir), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(process, port, log, started_at)


def call(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> tuple[int, bytes]:
    """One HTTP request on a connection of its own: status and body. OSError when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body or None, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


def wait_for(
    running: Running,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float = 90.0,
) -> float:
    """Asks until the answer is 200; seconds since the process was started. StartFailed when it never is."""
    last = "no answer"
    while time.perf_counter() - running.started_at < timeout_s:
        if running.process.poll() is not None:
            raise running.failure(f"it ended with status {running.process.returncode}")
        try:
            status, answer = call(running.port, method, path, headers, body)
        except OSError as error:
            last = str(error)
        else:
            if status == 200:
                return time.perf_counter() - running.started_at
            last = f"status {status}: {answer[:300]!r}"
        time.sleep(POLL_S)
    raise running.failure(f"{method} {path} did not answer 200 within {timeout_s:.0f} s ({last})")


def raise_file_limit() -> int:
    """Raises the limit of open files to the hard limit, for this process and those it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
