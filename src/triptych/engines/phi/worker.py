"""The guard's process: ``python -m triptych.engines.phi.worker``. Jobs on stdin, findings on stdout.

A process of its own, because reading texts is work that must not keep the gateway's loop waiting,
however long a prompt is, and because a guard that hangs or crashes must not take the gateway along.
It writes no files, leaves no core dump, and says nothing of what it reads.
"""

import gc
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, BinaryIO, Protocol

from triptych.core.core_dumps import leave_no_core_dump
from triptych.core.failure import Failure
from triptych.core.finding import Finding
from triptych.core.policy import Filter
from triptych.engines.phi.inspect import inspect
from triptych.engines.phi.job import Broken, Done, Job, Ready, Refused, framed, read_job

_SWITCH_S = 0.0005
"""How long a large text may keep the thread of small ones from the interpreter."""

Compile = Callable[[tuple[Filter, ...]], Any]


class OrgRecogniser(Protocol):
    """A recogniser that may remember what it read, for each org by itself."""

    def scan(self, texts: Sequence[str], filters: Any = None, org: str = "") -> list[list[Finding]]: ...


class _Own:
    """The recogniser of one org."""

    def __init__(self, recogniser: OrgRecogniser, org_id: str) -> None:
        self._recogniser = recogniser
        self._org_id = org_id

    def scan(self, texts: Sequence[str], filters: Any = None) -> list[list[Finding]]:
        return self._recogniser.scan(texts, filters, self._org_id)


class Worker:
    """Answers jobs; large ones in a thread of their own."""

    def __init__(self, recogniser: OrgRecogniser, compile_filters: Compile, told: BinaryIO) -> None:
        self._recogniser = recogniser
        self._compiled = lru_cache(maxsize=256)(compile_filters)
        self._told = told
        self._writing = threading.Lock()
        self._large: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def serve(self, jobs: BinaryIO) -> None:
        """Until the jobs end."""
        threading.Thread(target=self._serve_large, name="large", daemon=True).start()
        self._tell(framed(Ready()))
        while (job := read_job(jobs)) is not None:
            if job.large:
                self._large.put(job)
            else:
                self._tell(self._answer(job))

    def _serve_large(self) -> None:
        while True:
            self._tell(self._answer(self._large.get()))

    def _answer(self, job: Job) -> bytes:
        """A frame: what cannot be told in one breaks this request, not the process of all others."""
        try:
            filters = self._compiled(job.filters) if job.filters else None
            return framed(Done(job.number, inspect(_Own(self._recogniser, job.org_id), job.asked, filters)))
        except Failure as failure:
            return framed(Refused(job.number, failure.message))
        except Exception as error:  # noqa: BLE001 - whatever it is, the request must not leave
            return framed(Broken(job.number, type(error).__name__))

    def _tell(self, frame: bytes) -> None:
        with self._writing:
            self._told.write(frame)
            self._told.flush()


def run(load: Callable[[], OrgRecogniser], compile_filters: Compile) -> None:
    """Serve jobs on stdin until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the gateway decides when to stop
    leave_no_core_dump()
    sys.setswitchinterval(_SWITCH_S)
    # What a library prints must not get between the frames.
    told = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    recogniser = load()
    gc.freeze()  # what was loaded stays; no collection need look at it again
    Worker(recogniser, compile_filters, told).serve(sys.stdin.buffer)


def main() -> None:
    from triptych.engines.phi.cache import CachedRecogniser
    from triptych.engines.phi.filters import CompiledFilters
    from triptych.engines.phi.recognise import Recogniser as Trained

    run(lambda: CachedRecogniser(Trained.load()), CompiledFilters.compile)


if __name__ == "__main__":
    main()
