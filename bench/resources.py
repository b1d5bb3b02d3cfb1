"""Measurements that need a process of their own: memory, growth under load, start-up."""

from __future__ import annotations

import asyncio
import statistics
import time

from bench.canned import PATHS, build_request
from bench.load import LoadResult, run_load
from bench.process import Running, wait_for
from bench.runs import Bench, Numbers, load_numbers, run_async, say, start_live
from bench.targets import Target
from bench.workloads import OPEN_STREAMS, SOAK_WORKLOADS, Workload

MEMORY_SETTLE_S = 2.0
SAMPLE_S = 0.1
SOAK_STEP_S = 5.0
SOAK_CONCURRENCY = 8


def run_memory(bench: Bench, target: Target, workload: Workload) -> Numbers:
    """Resident memory of a new process: idle after one request, with 1,000 open streams, after them."""
    live = start_live(bench, target, bench.work_dir / f"{workload.name}-{target.name}")
    try:
        check = workload.check(target)
        requests = workload.requests(target, live.keys)
        port = live.running.port
        run_async(run_load(port, requests, check, concurrency=1, count=1))
        time.sleep(1)
        idle_bytes = live.running.resident_bytes()
        bench.pace(str(target.open_pace_ms))
        peak = {"resident_bytes": 0.0, "open": 0.0}
        cpu_before_us = live.running.cpu_us()

        async def loaded() -> LoadResult:
            sampler = asyncio.create_task(sample_memory(bench, live.running, peak))
            try:
                return await run_load(port, requests, check, concurrency=OPEN_STREAMS, count=OPEN_STREAMS)
            finally:
                sampler.cancel()

        result = run_async(loaded())
        cpu_us = live.running.cpu_us() - cpu_before_us
        time.sleep(MEMORY_SETTLE_S)
        numbers = load_numbers(result) | {
            "idle_bytes": idle_bytes,
            "open_streams": peak["open"],
            "open_streams_bytes": peak["resident_bytes"],
            "after_bytes": live.running.resident_bytes(),
            "threads": live.running.threads(),
            "cpu_us_per_event": round(cpu_us / max(1, result.events), 3),
        }
        if peak["open"] < OPEN_STREAMS:
            numbers["errors"] += 1
            numbers["faults"].append(f"only {peak['open']:.0f} of {OPEN_STREAMS} streams were open at once")
        return numbers
    finally:
        bench.pace("burst")
        live.running.stop()


async def sample_memory(bench: Bench, running: Running, peak: dict[str, float]) -> None:
    """Notes the largest resident memory and the largest number of open streams until cancelled."""
    while True:
        stats = await asyncio.to_thread(bench.mock_stats)
        peak["open"] = max(peak["open"], stats["streams_open"])
        peak["resident_bytes"] = max(peak["resident_bytes"], running.resident_bytes())
        await asyncio.sleep(SAMPLE_S)


def run_startup(bench: Bench, target: Target, number: int) -> Numbers:
    """Seconds from spawn to the first answers: in an empty directory, and again with what that start left."""
    work_dir = bench.work_dir / f"startup-{target.name}-{number}"
    numbers: Numbers = {"errors": 0, "faults": []}
    for start in ("first", "second"):
        running = target.start(work_dir, bench.mock.port)
        try:
            numbers[f"{start}_health_s"] = round(wait_for(running, "GET", target.health_path), 4)
            lane = target.same_wire
            headers = lane.request_headers(target.prepare(running)[0]) | {"content-type": "application/json"}
            body = build_request(lane.wire, lane.model)
            answered_s = wait_for(running, "POST", PATHS[lane.wire], headers, body)
            numbers[f"{start}_answer_s"] = round(answered_s, 4)
        finally:
            running.stop()
    return numbers


def run_soak(bench: Bench, target: Target, minutes: float) -> Numbers:
    """Growth of resident memory under a mixed load that lasts `minutes`.

    The slope is that of a straight line through the second half of the samples, in bytes a minute: caches and
    pools have filled by then.
    """
    live = start_live(bench, target, bench.work_dir / f"soak-{target.name}")
    samples: list[tuple[float, int]] = []
    total = LoadResult()
    try:
        bench.pace("burst")
        started = time.perf_counter()
        while (passed_s := time.perf_counter() - started) < minutes * 60:
            for workload in SOAK_WORKLOADS:
                result = run_async(
                    run_load(
                        live.running.port,
                        workload.requests(target, live.keys),
                        workload.check(target),
                        concurrency=SOAK_CONCURRENCY,
                        duration_s=SOAK_STEP_S,
                    )
                )
                total.requests += result.requests
                total.errors += result.errors
                total.faults += result.faults[:1]
            samples.append((passed_s / 60, live.running.resident_bytes()))
            say(
                f"soak: minute {samples[-1][0]:.1f}, {samples[-1][1] / 1e6:.1f} MB, {total.requests} requests"
            )
    finally:
        live.running.stop()
    settled = samples[len(samples) // 2 :]
    enough = len(settled) > 1
    slope = statistics.linear_regression(*zip(*settled, strict=True)).slope if enough else 0.0
    return {
        "requests": total.requests,
        "errors": total.errors,
        "faults": total.faults[:5],
        "minutes": minutes,
        "first_bytes": samples[0][1],
        "last_bytes": samples[-1][1],
        "growth_bytes_per_minute": round(slope, 1),
        "minute_and_bytes": [(round(minute, 2), size) for minute, size in samples],
    }
