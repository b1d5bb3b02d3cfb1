"""One session of the benchmark: which target runs which workload, how often and in which order."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.installations import ManyNodes
from bench.process import StartFailed
from bench.resources import run_memory, run_soak, run_startup
from bench.runs import (
    Bench,
    Live,
    run_cpu,
    run_latency_round,
    say,
    start_live,
    warm_up,
)
from bench.targets import Direct, Target, Triptych
from bench.workloads import (
    CPU_WORKLOADS,
    JSON_1K,
    KEYS,
    LATENCY_WORKLOADS,
    MEMORY,
    MEMORY_TRANSLATED,
    NODES,
    SCENARIO_NAMES,
    SOAK,
    STARTUP,
    Workload,
)

FIRST_WARM_UP_S = 4.0
WITH_DIRECT = {"json-1k", "stream", "stream-burst", *LATENCY_WORKLOADS}
SAID = (
    "cpu_us_per_request",
    "cpu_us_per_event",
    "requests_per_s",
    "added_p50_us",
    "added_p99_us",
    "idle_bytes",
    "open_streams_bytes",
    "first_answer_s",
    "second_answer_s",
    "growth_bytes_per_minute",
    "errors",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: the scenarios by name, how often, and whether runs are short."""

    scenarios: tuple[str, ...] = SCENARIO_NAMES
    rounds: int = 3
    quick: bool = False
    soak_minutes: float = 0.0


def left_out(target: Target, workload: str) -> bool:
    """Whether a variant of Triptych has nothing new to say about a workload."""
    return isinstance(target, Triptych) and target.refusal(workload) is not None


class Session:
    """One call of the benchmark: the running targets and what has been measured so far."""

    def __init__(self, plan: Plan, bench: Bench, targets: list[Target], installations: list[Target]) -> None:
        self.plan = plan
        self.installations = installations
        self.bench = bench
        self.targets = targets
        self.lives: dict[str, Live] = {}
        self.scenarios: dict[str, Any] = {}

    def live(self, target: Target) -> Live:
        """The running process of a target, started when it is first needed."""
        if target.name not in self.lives:
            say(f"starting {target.name}")
            self.lives[target.name] = (
                Live(target, self.bench.mock, target.prepare(self.bench.mock))
                if isinstance(target, Direct)
                else start_live(self.bench, target, self.bench.work_dir / target.name)
            )
            # Compilers that work while the program runs (V8) need some thousand requests to settle.
            first_s = FIRST_WARM_UP_S / 2 if self.plan.quick else FIRST_WARM_UP_S
            warm_up(self.bench, self.lives[target.name], JSON_1K, first_s)
        return self.lives[target.name]

    def usable(self, workload: Workload, targets: Sequence[Target]) -> list[Live]:
        """Those that can run a workload, warmed up; the others are noted as skipped, with why."""
        name = workload.name
        found = self.scenarios.setdefault(name, {"title": workload.title, "runs": [], "skipped": {}})
        lives = []
        for target in targets:
            if left_out(target, name) or (target.name == "direct" and name not in WITH_DIRECT):
                continue
            why = workload.refusal(target)
            if why is None:
                try:
                    live = self.live(target)
                    why = warm_up(self.bench, live, workload)
                except StartFailed as failure:
                    why = str(failure)
            if why is None:
                lives.append(live)
            else:
                found["skipped"][target.name] = why
                say(f"!! {name}: {target.name} IS SKIPPED: {why}")
        return lives

    def add(self, workload: Workload, target: str, number: int, numbers: dict[str, Any]) -> None:
        """Keeps the numbers of one run and says what matters of them."""
        self.scenarios[workload.name]["runs"].append({"round": number, "target": target, **numbers})
        parts = [f"{name} {numbers[name]:g}" for name in SAID if name in numbers]
        say(f"{workload.name} {number} {target}: {', '.join(parts)}")

    def run_cpu(self, workload: Workload, targets: Sequence[Target] | None = None) -> None:
        """All rounds of one CPU workload."""
        lives = self.usable(workload, self.targets if targets is None else targets)
        for number in range(self.plan.rounds):
            for live in self.bench.order.sample(lives, len(lives)):
                self.add(workload, live.target.name, number, run_cpu(self.bench, live, workload))

    def run_latency(self, workload: Workload) -> None:
        """All rounds of one latency workload."""
        lives = self.usable(workload, self.targets)
        blocks, block_requests = (4, 100) if self.plan.quick else (6, 150)
        block_requests *= 1 if workload.concurrency == 1 else 8
        for number in range(self.plan.rounds):
            measured = run_latency_round(self.bench, lives, workload, blocks, block_requests)
            for name, numbers in measured.items():
                self.add(workload, name, number, numbers)

    def run_fresh(self, workload: Workload, rounds: int) -> None:
        """Memory and start-up: every run starts a process of its own."""
        found = self.scenarios.setdefault(workload.name, {"title": workload.title, "runs": [], "skipped": {}})
        gateways = [
            target
            for target in self.targets
            if not isinstance(target, Direct) and not left_out(target, workload.name)
        ]
        if workload in (SOAK, MEMORY_TRANSLATED):
            gateways = [target for target in gateways if target.name == "triptych"]
        for number in range(rounds):
            for target in self.bench.order.sample(gateways, len(gateways)):
                try:
                    if workload in (MEMORY, MEMORY_TRANSLATED):
                        numbers = run_memory(self.bench, target, workload)
                    elif workload is SOAK:
                        numbers = run_soak(self.bench, target, self.plan.soak_minutes)
                    else:
                        numbers = run_startup(self.bench, target, number)
                except StartFailed as failure:
                    found["skipped"][target.name] = str(failure)
                    say(f"!! {workload.name}: {target.name} IS SKIPPED: {failure}")
                else:
                    self.add(workload, target.name, number, numbers)
                shutil.rmtree(self.bench.work_dir / f"{workload.name}-{target.name}", ignore_errors=True)

    def run(self) -> None:
        """The scenarios asked for, in their order."""
        only = self.plan.scenarios
        for workload in CPU_WORKLOADS:
            if workload.name in only:
                self.run_cpu(workload)
        for workload in LATENCY_WORKLOADS.values():
            if workload.name in only:
                self.run_latency(workload)
        self.stop()
        for workload in (NODES, KEYS):
            if workload.name in only:
                self.run_cpu(workload, self.installations)
                self.stop()
        for workload in (MEMORY, MEMORY_TRANSLATED):
            if workload.name in only:
                self.run_fresh(workload, 1)
        if STARTUP.name in only:
            self.run_fresh(STARTUP, self.plan.rounds)
        if self.plan.soak_minutes:
            self.run_fresh(SOAK, 1)

    def stop(self) -> None:
        """Stops every target but the mock."""
        for live in self.lives.values():
            if live.running is not self.bench.mock:
                live.running.stop()
                if isinstance(live.target, ManyNodes):
                    live.target.clean_up()
        self.lives = {}
