"""Pure work on a large body, in a process of its own: the event loop does not stand still meanwhile.

The process is started when it is first needed, works on one body after the other and ends with this
one. A body goes there through a pipe, from a thread that holds the interpreter only between the pieces.
"""

import asyncio
import fcntl
import io
import logging
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO, cast

from triptych.core.failure import Failure, FailureKind
from triptych.edge.allocator import give_back_memory

logger = logging.getLogger("triptych.apart")

Work = Callable[..., tuple[Any, bytes | None]]
"""A function of a module, called with the body and the arguments: what it found, and the body that
goes with it, or None when that is the one it was given."""

WORK_LIMIT_S = 60.0
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_SIZES = struct.Struct("!QQ")
# Nothing of the environment is needed there, and secrets least of all.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


class Apart:
    """One process beside this one."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "apart")
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: BinaryIO
        self._closed = False

    async def __call__(self, work: Work, body: bytes, *arguments: Any) -> tuple[Any, bytes | None]:
        """``work(body, *arguments)``. Raises Failure as the work does, SERVICE_UNAVAILABLE when there is
        no process that would do it, and RuntimeError when the work raised anything else."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._ask, work, body, arguments)

    def close(self) -> None:
        """End the process, also in the middle of its work. Idempotent."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._end()

    def _ask(self, work: Work, body: bytes, arguments: tuple[Any, ...]) -> tuple[Any, bytes | None]:
        asked = pickle.dumps((work, arguments))
        try:
            return self._exchange(asked, body)
        except (OSError, EOFError, TimeoutError) as lost:
            logger.warning(
                "the process for large bodies is lost (%s); another is started", type(lost).__name__
            )
            self._end()
        try:
            return self._exchange(asked, body)
        except (OSError, EOFError, TimeoutError) as lost:
            self._end()
            raise Failure(
                FailureKind.SERVICE_UNAVAILABLE, "The gateway cannot read a request of this size right now."
            ) from lost

    def _exchange(self, asked: bytes, body: bytes) -> tuple[Any, bytes | None]:
        process = self._process
        if process is None:
            if self._closed:
                raise Failure(FailureKind.SERVICE_UNAVAILABLE)
            process = self._process = _start()
            assert process.stdout is not None
            self._answers = io.BufferedReader(cast("io.FileIO", process.stdout))
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin.fileno(), _SIZES.pack(len(asked), len(body)), asked, body)
        answered = select.poll()
        answered.register(process.stdout, select.POLLIN)
        if not answered.poll(WORK_LIMIT_S * 1000):
            raise TimeoutError
        told, made = receive(self._answers)
        # From a process of ours, which was given nothing but bytes to read.
        verdict, *found = pickle.loads(told)  # noqa: S301
        if verdict == "done":
            return found[0], made or None
        if verdict == "refused":
            kind, message, param, details, retry_after_s, headers = found
            raise Failure(
                kind, message, param=param, details=details, retry_after_s=retry_after_s, headers=headers
            )
        raise RuntimeError(f"{found[0]} in the process for large bodies")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            process.wait()


def _start() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(  # noqa: S603 - this very module
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    )
    assert process.stdin is not None
    with suppress(OSError):  # smaller pipes do, only slower
        fcntl.fcntl(process.stdin.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)
    return process


def send(pipe: int, *pieces: bytes) -> None:
    """Write all of it. Raises OSError when nobody reads any more."""
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(pipe, rest) :]


def receive(pipe: BinaryIO) -> tuple[bytes, bytes]:
    """The two parts of a message. Raises EOFError where there are none any more."""
    first, second = _SIZES.unpack(_exactly(pipe, _SIZES.size))
    return _exactly(pipe, first), _exactly(pipe, second)


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def main() -> None:
    """Work until nobody asks any more."""
    # The terminal's Ctrl-C is for the gateway, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_back_memory()
    answers = os.dup(1)
    os.dup2(2, 1)
    with open(0, "rb", closefd=False) as questions:
        while sizes := questions.read(_SIZES.size):
            asked, body_bytes = _SIZES.unpack(sizes)
            work, arguments = pickle.loads(questions.read(asked))  # noqa: S301 - from the gateway
            told, made = _answer(work, questions.read(body_bytes), arguments)
            send(answers, _SIZES.pack(len(told), len(made)), told, made)


def _answer(work: Work, body: bytes, arguments: tuple[Any, ...]) -> tuple[bytes, bytes]:
    try:
        found, made = work(body, *arguments)
    except Failure as failure:
        refused = (
            failure.kind,
            failure.message,
            failure.param,
            dict(failure.details),
            failure.retry_after_s,
            failure.headers,
        )
        return pickle.dumps(("refused", *refused)), b""
    except Exception as error:  # noqa: BLE001 - the class says enough, and the message could quote the body
        return pickle.dumps(("broke", type(error).__name__)), b""
    return pickle.dumps(("done", found)), made or b""


if __name__ == "__main__":
    main()
