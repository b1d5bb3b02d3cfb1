"""The log: who writes never waits, what was dropped is counted, and nothing quotes what was said."""

import asyncio
import io
import json
import os
import subprocess
import sys
import threading

from tests.unit.stages.test_reserve import exchange
from triptych.core.outcome import Ending, Outcome
from triptych.core.usage import Usage
from triptych.telemetry import MOST_WAITING_BYTES, AsideStream, Telemetry

LINE = b"x" * 1023 + b"\n"
LOST = " lines were dropped: the log was not read"


def test_what_a_log_that_nobody_read_has_lost_is_told_when_somebody_reads_again() -> None:
    reader, writer = os.pipe()
    stream = AsideStream(writer)
    count = MOST_WAITING_BYTES // len(LINE) + 100
    for _ in range(count):
        stream.write(LINE)
    taken: list[bytes] = []
    reading = threading.Thread(target=lambda: taken.extend(iter(lambda: os.read(reader, 1 << 16), b"")))
    reading.start()
    stream.finish()
    os.close(writer)
    reading.join()
    os.close(reader)
    lines = b"".join(taken).splitlines(keepends=True)
    # What fits into the pipe leaves while the rest is written: the log may fill up more than once.
    told = [json.loads(line) for line in lines if line != LINE]
    dropped = count - lines.count(LINE)
    assert dropped > 0
    assert sum(int(line["event"].removesuffix(LOST)) for line in told) == dropped
    assert all(line["level"] == "warning" for line in told)


def test_an_answer_that_came_from_the_cache_alone_is_counted() -> None:
    async def scraped() -> bytes:
        telemetry = Telemetry(asyncio.get_running_loop(), io.BytesIO())
        usage = Usage(cache_read_tokens=7)
        telemetry.report(exchange(), Outcome(ending=Ending.COMPLETED, status=200, usage=usage))
        telemetry.report(exchange(), Outcome(ending=Ending.REFUSED, status=403))
        return telemetry.exposition()

    assert b'kind="cache_read",model="m"} 7.0' in asyncio.run(scraped())


BUGS = """
import asyncio, gc, logging, threading
import uvloop
from triptych.telemetry import configure_logging

def breaks(said):
    try:
        raise KeyError(said)
    except KeyError as cause:
        raise RuntimeError("because of " + said) from cause

class Broken:
    def __del__(self):
        breaks("zq7canary")
    def __repr__(self):
        return "zq7canary"

async def task(said):
    breaks(said)

async def main():
    loop = asyncio.get_running_loop()
    loop.call_soon(breaks, "zq7canary")
    lost = asyncio.create_task(task("zq7canary"), name="zq7canary")
    await asyncio.sleep(0.01)
    del lost
    gc.collect()

configure_logging()
logger = logging.getLogger("triptych.test")
try:
    breaks("zq7canary")
except RuntimeError as error:
    logger.exception("it failed: %s", type(error).__name__)
    logger.error("it failed again", exc_info=error, stack_info=True)
logger.error("%d of them", "zq7canary")
logger.error("an object: %s and %r", 1, 2)
Broken()
thread = threading.Thread(target=breaks, args=("zq7canary",))
thread.start()
thread.join()
asyncio.run(main())
uvloop.run(main())
"""


def test_no_line_of_the_log_tells_what_an_exception_says() -> None:
    """Caught or not, in a callback, a task or a thread: its class and its place, in lines that are JSON."""
    ended = subprocess.run(
        [sys.executable, "-c", BUGS], capture_output=True, text=True, check=True, timeout=60
    )
    assert "zq7canary" not in ended.stderr + ended.stdout
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    told = [(line["event"], line.get("error"), "at" in line) for line in lines]
    lost = ("Task exception was never retrieved", "RuntimeError", True)
    assert told == [
        ("it failed: RuntimeError", "RuntimeError", True),
        ("it failed again", "RuntimeError", True),
        ("a line of the log was lost", None, True),
        ("an object: 1 and 2", None, False),
        ("an exception ended what nobody waited for", "RuntimeError", True),
        ("an exception ended a thread", "RuntimeError", True),
        ("Exception in callback breaks", "RuntimeError", True),
        lost,
        ("Exception in callback", "RuntimeError", True),
        lost,
    ]
    assert all(line["at"].endswith("<string>:10") for line in lines if line.get("error"))
