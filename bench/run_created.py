"""``python -m bench.run_created``: how soon a native chat's stream says ``run.created``, under load.

32 connections ask for streams, each at its own pace, so that the gateway is busy for about half of one
core; timed from the last byte of a request written to the event read. The record of the run is in the
database before the event (``durability = "strict"``), and an org under HIPAA asks: agreement, guard, credits
and cap are looked at. The pace is found first, from what the gateway uses for one such stream.

The client runs on the same machine: what it waits for its own turn is in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

import uvloop

from bench.canned import MODEL_ID
from bench.load import raw_request
from bench.process import free_port
from bench.runs import percentile
from bench.targets import Direct, Triptych

CONCURRENCY = 32
BAR_MS = 5.0
HIPAA = 'compliance = "hipaa"\nbaa = "active"\nspend_cap_usd = 1000000\ncredits = 1000000000000'
CREATED, END = b"event: run.created\n", b"0\r\n\r\n"


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> float:
    """One stream to its end; milliseconds from the request's last byte to ``run.created``."""
    writer.write(request)
    began = time.perf_counter()
    created_ms = 0.0
    kept = b""
    while True:
        data = await reader.read(65_536)
        if not data:
            raise RuntimeError(f"the connection closed; the last bytes were {kept[-300:]!r}")
        kept += data
        if not created_ms and CREATED in kept:
            created_ms = (time.perf_counter() - began) * 1e3
        if kept.endswith(END):
            if not created_ms or b"event: run.completed\n" not in kept:
                raise RuntimeError(f"not a completed run: {kept[:600]!r}")
            return created_ms


async def paced(port: int, requests: list[bytes], rate: float, duration_s: float) -> list[float]:
    """``rate`` streams a second over all connections, evenly spread; 0: as many as can be."""
    found: list[float] = []
    ends = time.perf_counter() + duration_s

    async def connection(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        gap_s = CONCURRENCY / rate if rate else 0.0
        due = time.perf_counter() + gap_s * number / CONCURRENCY
        while due < ends:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            found.append(await stream(reader, writer, requests[number % len(requests)]))
            due = max(due + gap_s, time.perf_counter() if not rate else 0.0)
        writer.close()

    await asyncio.gather(*(connection(number) for number in range(CONCURRENCY)))
    return found


def main() -> None:
    """Prints the pace, the share within the bar, and percentiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--busy", type=float, default=0.5, help="share of one core (0.5)")
    asked = parser.parse_args()
    target = Triptych(org=HIPAA)
    with tempfile.TemporaryDirectory() as scratch:
        mock = Direct().start(Path(scratch) / "mock", free_port())
        Direct().prepare(mock)
        gateway = target.start(Path(scratch) / "gateway", mock.port)
        try:
            keys = target.prepare(gateway)
            messages = [{"role": "user", "content": "word " * 160}]
            body = json.dumps({"model": MODEL_ID, "messages": messages, "stream": True}).encode()
            requests = [
                raw_request("/clinical/v1/ai/chat", {"authorization": f"Bearer {key}"}, body) for key in keys
            ]
            uvloop.run(paced(gateway.port, requests, 0.0, 2.0))
            before_us = gateway.cpu_us()
            served = len(uvloop.run(paced(gateway.port, requests, 0.0, 3.0)))
            one_us = (gateway.cpu_us() - before_us) / served
            rate = asked.busy * 1e6 / one_us
            before_us, began = gateway.cpu_us(), time.perf_counter()
            times = uvloop.run(paced(gateway.port, requests, rate, asked.seconds))
            busy = (gateway.cpu_us() - before_us) / 1e6 / (time.perf_counter() - began)
        finally:
            gateway.stop()
            mock.stop()
    within = sum(one <= BAR_MS for one in times) / len(times)
    print(
        f"{one_us:.0f} us of CPU a stream; {rate:.0f} a second on {CONCURRENCY} connections: {busy:.2f} cores"
    )
    print(
        f"run.created after {percentile(times, 0.5):.2f} ms (p50), {percentile(times, 0.95):.2f} (p95), "
        f"{percentile(times, 0.99):.2f} (p99), {max(times):.2f} (longest) of {len(times)}; "
        f"{within:.1%} within {BAR_MS:g} ms"
    )


if __name__ == "__main__":
    main()
