"""Times the emotion engine on one core: ``python -m bench.emotion``. Prints a table, or JSON with ``--json``.

Wall time of a busy machine says little: the CPU time of the thread is told beside it.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable

TWENTY_WORDS = (
    "I really did not expect that my sister would call me today and say how happy she is about it",
    "The parcel that we ordered last week has still not arrived and nobody at the shop knows where it went",
    "thank you so much for all your help with the garden yesterday it looks much better than before",
    "why would anyone think that this is a good idea when the last two attempts have failed in the same way",
)
ROUNDS = 400


def measure() -> dict[str, float]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    before_kb = _resident_kb()
    started, started_cpu = time.perf_counter(), time.thread_time()
    from triptych.engines.emotion.engine import EmotionEngine

    engine = EmotionEngine.load()
    engine.score(["warm"])
    found = {
        "load_ms": (time.perf_counter() - started) * 1e3,
        "load_cpu_ms": (time.thread_time() - started_cpu) * 1e3,
    }
    texts = [TWENTY_WORDS[i % 4] for i in range(100)]
    for name, run, rounds in (
        ("one_text", lambda: engine.score(texts[:1]), ROUNDS),
        ("batch_of_100", lambda: engine.score(texts), 40),
        ("ten_thousand_characters", lambda: engine.score([" ".join(texts)[:10_000]]), 20),
        ("count_tokens", lambda: engine.count_tokens(texts[0]), ROUNDS),
    ):
        wall, cpu = _percentiles(run, rounds)
        found |= {f"{name}_p50_us": wall[0], f"{name}_p99_us": wall[1], f"{name}_cpu_us": cpu}
    found["memory_mb"] = (_resident_kb() - before_kb) / 1024
    return {name: round(value, 1) for name, value in found.items()}


def _percentiles(run: Callable[[], object], rounds: int) -> tuple[tuple[float, float], float]:
    walls = []
    run()
    cpu = time.thread_time()
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        walls.append((time.perf_counter() - started) * 1e6)
    cpu = (time.thread_time() - cpu) / rounds * 1e6
    walls.sort()
    return (walls[rounds // 2], walls[int(rounds * 0.99)]), cpu


def _resident_kb() -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures, indent=2))
    else:
        for figure, value in figures.items():
            print(f"{figure:32} {value:12.1f}")
