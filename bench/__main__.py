"""Command line: `python -m bench [--quick] [--only SCENARIO] [--rounds N] [--peers NAMES]`."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.facts import library_versions, machine_facts, revision
from bench.installations import installations
from bench.peers import all_peers
from bench.process import free_port, raise_file_limit
from bench.report import (
    bars_table,
    elsewhere_share,
    installations_table,
    latency_table,
    peers_table,
    render,
    resources_table,
    summarise,
)
from bench.runs import Bench, say
from bench.session import Plan, Session
from bench.targets import REPOSITORY, Direct, Target, variants
from bench.workloads import SCENARIO_NAMES

RESULTS_DIR = Path(__file__).resolve().parent / "results"
PAGE = REPOSITORY / "docs" / "benchmarks.md"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short windows, two rounds, no peers (90 s)")
    parser.add_argument("--only", action="append", choices=SCENARIO_NAMES, help="may be given several times")
    parser.add_argument("--rounds", type=int, help="rounds of each scenario (3; quick: 2)")
    parser.add_argument("--window-s", type=int, help="length of one measuring window (3; quick: 1)")
    parser.add_argument("--peers", help="comma-separated names, `all` or `none` (all; quick: none)")
    parser.add_argument("--without-triptych", action="store_true", help="measure the mock and the peers only")
    parser.add_argument("--soak-minutes", type=float, default=0.0, help="also load Triptych for so long")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--save", action="store_true", help="keep the results of a quick or partial run")
    parser.add_argument("--render", nargs="?", const="", metavar="FILE", help="only write the page")
    return parser.parse_args(arguments)


def choose_targets(options: argparse.Namespace) -> tuple[list[Target], dict[str, str]]:
    """The targets to measure, and why others are left out; an absence is said aloud."""
    wanted = options.peers or ("none" if options.quick else "all")
    peers = all_peers()
    names = {peer.name for peer in peers}
    chosen = names if wanted == "all" else set() if wanted == "none" else set(wanted.split(","))
    if unknown := chosen - names:
        sys.exit(f"--peers: unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(names))}")
    candidates: list[Target] = [Direct()]
    if not options.without_triptych:
        candidates += variants()
    candidates += [peer for peer in peers if peer.name in chosen]
    absent: dict[str, str] = {}
    found = present(candidates, absent)
    absent |= {peer.name: "left out with --peers or --quick" for peer in peers if peer.name not in chosen}
    return found, absent


def present(candidates: Iterable[Target], absent: dict[str, str]) -> list[Target]:
    """Those that can be measured here; why the others cannot goes into ``absent``."""
    found = []
    for target in candidates:
        why = target.absent()
        if why is None:
            found.append(target)
        else:
            absent[target.name] = why
            say(f"!! {target.name} IS SKIPPED: {why}")
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the session and returns the results as they go into the file."""
    raise_file_limit()
    if shutil.which("wrk") is None:
        say("!! wrk IS ABSENT: bench/load.py loads everything (install it with: apt-get install wrk)")
    targets, absent = choose_targets(options)
    others = [] if options.without_triptych else present(installations(), absent)
    rounds = options.rounds or (2 if options.quick else 3)
    started_at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="triptych-bench-") as directory:
        work_dir = Path(directory)
        mock = Direct().start(work_dir / "mock", free_port())
        window_s = options.window_s or (1 if options.quick else 3)
        bench = Bench(mock, work_dir, window_s, 0.3 if options.quick else 1.0, random.Random(options.seed))
        plan = Plan(tuple(options.only or SCENARIO_NAMES), rounds, options.quick, options.soak_minutes)
        session = Session(plan, bench, targets, others)
        try:
            Direct().prepare(mock)
            session.run()
        finally:
            session.stop()
            mock.stop()
    return {
        "schema": 1,
        "started_at": started_at,
        "revision": revision(),
        "quick": options.quick,
        "rounds": rounds,
        "window_s": window_s,
        "seed": options.seed,
        "arguments": sys.argv[1:],
        "machine": machine_facts() | {"elsewhere_share": elsewhere_share(session.scenarios)},
        "libraries": library_versions(),
        "targets": {
            target.name: {"title": target.title, "version": target.version(), "notes": target.notes}
            for target in targets
        },
        "installations": {target.name: target.title for target in others},
        "absent": absent,
        "scenarios": session.scenarios,
        "summary": summarise(session.scenarios),
    }


def started_at_of(results_file: Path) -> str:
    """When the run of a results file began, RFC 3339."""
    return str(json.loads(results_file.read_text())["started_at"])


def write_page(results_file: Path) -> None:
    """Writes `docs/benchmarks.md` from a results file."""
    results = json.loads(results_file.read_text())
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(results, str(results_file.resolve().relative_to(REPOSITORY))))
    say(f"wrote {PAGE}")


def newest_results() -> Path:
    """The file of the last run that was kept, or the end."""
    # Those of the guard are beside them, named otherwise.
    files = RESULTS_DIR.glob("????-??-??-*.json")
    newest = max(files, key=lambda file: str(json.loads(file.read_text())["started_at"]), default=None)
    if newest is None:
        sys.exit(f"there are no results in {RESULTS_DIR}: run `python -m bench` first")
    return newest


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the tables, keeps a full run's results; 1 when an answer of Triptych was wrong."""
    options = parse(arguments)
    if options.render is not None:
        write_page(Path(options.render) if options.render else newest_results())
        return 0
    # A SIGTERM (timeout(1), a CI runner) must still stop the targets: it becomes an exception.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = measure(options)
    summary = results["summary"]
    names = list(results["targets"])
    for text in (
        bars_table(summary),
        peers_table(summary, names),
        latency_table(summary, names),
        resources_table(summary, [name for name in names if name != "direct"]),
        installations_table(summary, results["installations"]),
    ):
        print(text, end="\n\n")
    if options.save or not (options.quick or options.only or options.without_triptych):
        RESULTS_DIR.mkdir(exist_ok=True)
        file = RESULTS_DIR / f"{results['started_at'][:10]}-{results['revision']}.json"
        file.write_text(json.dumps(results, indent=1) + "\n")
        say(f"wrote {file}")
        write_page(file)
    else:
        say("a quick or partial run is not kept; --save keeps it and rewrites docs/benchmarks.md")
    wrong = sum(
        run["errors"]
        for found in results["scenarios"].values()
        for run in found["runs"]
        if run["target"].startswith("triptych")
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
