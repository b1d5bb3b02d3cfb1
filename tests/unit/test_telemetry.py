"""The log's own thread: who writes never waits, and what was dropped is counted."""

import os
import threading

from triptych.telemetry import MOST_WAITING_BYTES, AsideStream

LINE = b"x" * 1023 + b"\n"


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
    (told,) = (line for line in lines if line != LINE)
    dropped = count - lines.count(LINE)
    assert dropped > 0
    assert told == b'{"event":"%d lines were dropped: the log was not read","level":"warning"}\n' % dropped
