"""The measurements: one run of one workload on one target, as plain numbers."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.load import Check, LoadResult, run_load
from bench.process import Running, call, machine_cpu_us, own_cpu_us
from bench.targets import Target
from bench.workloads import Workload

Numbers = dict[str, Any]
WRK_SCRIPT = Path(__file__).resolve().parent / "wrk.lua"
SETTLE_S = 0.15


@dataclass(slots=True)
class Live:
    """A target that runs, with the API keys it accepts."""

    target: Target
    running: Running
    keys: list[str]


@dataclass(slots=True)
class Bench:
    """What all runs share: the mock provider, the scratch directory, lengths of runs, the random order."""

    mock: Running
    work_dir: Path
    window_s: int
    warm_up_s: float
    order: random.Random

    def pace(self, pace: str) -> None:
        """Tells the mock provider how to pace streams from now on."""
        status, _ = call(self.mock.port, "POST", f"/_mock/pace?ms={pace}")
        assert status == 200

    def known_cpu_us(self, live: Live) -> float:
        """CPU time of everything that takes part in a run: the target, the mock, the load generators."""
        running = {id(self.mock): self.mock, id(live.running): live.running}.values()
        return own_cpu_us() + sum(process.cpu_us() for process in running)

    def mock_stats(self) -> dict[str, float]:
        """The mock provider's counters."""
        counters: dict[str, float] = json.loads(call(self.mock.port, "GET", "/_mock/stats")[1])
        return counters


def run_async(work: Coroutine[Any, Any, LoadResult]) -> LoadResult:
    """Runs one load on an event loop of its own."""
    return uvloop.run(work)


def percentile(values: Sequence[float], fraction: float) -> float:
    """The value below which `fraction` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] if ordered else float("nan")


def warm_up(bench: Bench, live: Live, workload: Workload, duration_s: float | None = None) -> str | None:
    """Loads the target for a moment and checks every answer; what is wrong, None when nothing is."""
    bench.pace(workload.pace)
    requests = workload.requests(live.target, live.keys)
    check = workload.check(live.target)
    result = run_async(
        run_load(
            live.running.port,
            requests,
            check,
            concurrency=workload.concurrency,
            duration_s=duration_s or bench.warm_up_s,
        )
    )
    if result.errors:
        return f"{result.errors} of {result.requests} answers wrong: {result.faults[0]}"
    return None if result.requests else "no answer"


def run_cpu(bench: Bench, live: Live, workload: Workload) -> Numbers:
    """CPU time of the target per request over one window; JSON is loaded by wrk, streams by `bench.load`."""
    bench.pace(workload.pace)
    requests = workload.requests(live.target, live.keys)
    check = workload.check(live.target)
    with_wrk = not workload.stream and not live.target.slow and shutil.which("wrk") is not None
    upstream_before = bench.mock_stats()["requests"]
    cpu_before_us = live.running.cpu_us()
    known_before_us = bench.known_cpu_us(live)
    machine_before_us, began = machine_cpu_us(), time.perf_counter()
    if with_wrk:
        numbers = run_wrk(bench, live.running.port, requests, check, workload.concurrency)
    else:
        numbers = load_numbers(
            run_async(
                run_load(
                    live.running.port,
                    requests,
                    check,
                    concurrency=workload.concurrency,
                    duration_s=bench.window_s,
                )
            )
        )
    # What a target writes after its answer (logs, ledger) is part of the price.
    time.sleep(SETTLE_S)
    cpu_us = live.running.cpu_us() - cpu_before_us
    elsewhere_us = machine_cpu_us() - machine_before_us - (bench.known_cpu_us(live) - known_before_us)
    available_us = (time.perf_counter() - began) * 1e6 * (os.cpu_count() or 1)
    upstream = bench.mock_stats()["requests"] - upstream_before
    numbers |= {
        "cpu_us": round(cpu_us, 1),
        "cpu_us_per_request": round(cpu_us / max(1, numbers["requests"]), 2),
        "requests_per_s": round(numbers["requests"] / numbers["elapsed_s"], 1),
        "upstream_requests": upstream,
        "elsewhere_share": round(max(0.0, elsewhere_us / available_us), 4),
    }
    if numbers.get("events"):
        numbers["cpu_us_per_event"] = round(cpu_us / numbers["events"], 3)
    wanted = 0 if workload.bad_key else numbers["requests"]
    if not wanted <= upstream <= wanted + workload.concurrency:
        numbers["errors"] += 1
        numbers["faults"].append(f"{upstream:.0f} requests reached the provider, {wanted} were answered")
    return numbers


def load_numbers(result: LoadResult) -> Numbers:
    """The numbers of a run of `bench.load`."""
    return {
        "generator": "bench.load",
        "requests": result.requests,
        "errors": result.errors,
        "faults": result.faults,
        "events": result.events,
        "reads": result.reads,
        "body_bytes": result.body_bytes,
        "elapsed_s": round(result.elapsed_s, 4),
        "first_byte_p50_us": round(percentile(result.first_byte_us, 0.5), 1),
        "first_byte_p99_us": round(percentile(result.first_byte_us, 0.99), 1),
        "p50_us": round(percentile(result.total_us, 0.5), 1),
        "p99_us": round(percentile(result.total_us, 0.99), 1),
    }


def run_wrk(bench: Bench, port: int, requests: Sequence[bytes], check: Check, concurrency: int) -> Numbers:
    """One run of wrk over ready-made requests. It counts statuses; bodies were checked in the warm-up."""
    files = []
    for number, request in enumerate(requests):
        file = bench.work_dir / f"request-{number}.http"
        file.write_bytes(request)
        files.append(str(file))
    command = ["wrk", "-t1", f"-c{concurrency}", f"-d{bench.window_s}s", "-s", str(WRK_SCRIPT)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/", "--", *files], capture_output=True, text=True, check=True
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("BENCH "))
    seen = json.loads(line.removeprefix("BENCH "))
    refused = seen["requests"] if check.status >= 400 else 0
    broken = {name: seen[name] for name in ("connect", "read", "write", "timeout") if seen[name]}
    errors = abs(seen["status"] - refused) + sum(broken.values())
    return {
        "generator": "wrk",
        "requests": seen["requests"],
        "errors": errors,
        "faults": [f"wrk: {seen['status']} error statuses, socket errors {broken}"] if errors else [],
        "elapsed_s": round(seen["duration_us"] / 1e6, 4),
        "p50_us": seen["p50_us"],
        "p99_us": seen["p99_us"],
    }


def run_latency_round(
    bench: Bench, lives: Sequence[Live], workload: Workload, blocks: int, block_requests: int
) -> dict[str, Numbers]:
    """Blocks of requests to all targets in random order; per target the percentiles of one round.

    `lives` holds the mock itself (`direct`) too: what a target adds is its percentile minus the direct one.
    """
    bench.pace(workload.pace)
    pooled: dict[str, LoadResult] = {live.target.name: LoadResult() for live in lives}
    for _ in range(blocks):
        for live in bench.order.sample(lives, len(lives)):
            wanted = max(workload.concurrency, block_requests // (5 if live.target.slow else 1))
            result = run_async(
                run_load(
                    live.running.port,
                    workload.requests(live.target, live.keys),
                    workload.check(live.target),
                    concurrency=workload.concurrency,
                    count=wanted,
                )
            )
            total = pooled[live.target.name]
            total.requests += result.requests
            total.errors += result.errors
            total.faults += result.faults[:1]
            total.elapsed_s += result.elapsed_s
            total.first_byte_us += result.first_byte_us
            # The first request of a block pays for the connection.
            total.total_us += result.total_us[workload.concurrency :] or result.total_us
    rounds = {name: load_numbers(total) for name, total in pooled.items()}
    base = rounds["direct"]
    for numbers in rounds.values():
        for name in ("p50_us", "p99_us"):
            numbers[f"added_{name}"] = round(numbers[name] - base[name], 1)
    return rounds


def start_live(bench: Bench, target: Target, work_dir: Path) -> Live:
    """Starts a target in front of the mock and waits until it is ready."""
    running = target.start(work_dir, bench.mock.port)
    try:
        return Live(target, running, target.prepare(running))
    except BaseException:
        running.stop()
        raise


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)
