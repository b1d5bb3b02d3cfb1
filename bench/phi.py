"""`make bench-phi`: the PHI guard beside Presidio (with spaCy's small English model), in one run.

CPU time of one core for messages of 50, 300 and 2,000 words, in turns, and covered recall on labelled sets.
Presidio has an environment of its own (`bench/install_peers.sh presidio`); without it the guard runs alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

from bench.facts import machine_facts, revision
from triptych.core.finding import Finding
from triptych.engines.phi import evaluation
from triptych.engines.phi.datasets import Example, read
from triptych.engines.phi.recognise import Recogniser

HERE = Path(__file__).resolve().parent
PEER = HERE / ".peers" / "presidio" / "bin" / "python"
SAMPLE = Path(str(resources.files("triptych.engines.phi"))) / "weights" / "sample.jsonl"
RESULT = HERE / "results" / "phi.json"
SIZES = (50, 300, 2_000)
TURNS = 4
WARM_UP = 150
"""Messages before the race: patterns build their automata from the first texts they see."""
ROUNDS = {50: 80, 300: 24, 2_000: 8}


class Presidio:
    """The peer's process: a line of JSON in, a line of JSON out."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [PEER, HERE / "phi_presidio.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def ask(self, text: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"text": text}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def scan(self, texts: list[str]) -> list[list[Finding]]:
        return [
            sorted(
                (
                    Finding(one["type"], one["start"], one["end"], one["score"], "presidio")
                    for one in self.ask(text)["entities"]
                ),
                key=lambda finding: finding.start,
            )
            for text in texts
        ]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def messages(examples: list[Example], size: int, count: int) -> list[str]:
    """Messages of so many words, of the words of the sets in their order."""
    words = " ".join(example.text for example in examples).split()
    return [
        " ".join((words * (1 + (start + size) // len(words)))[start : start + size])
        for start in range(0, count * size, size)
    ]


def race(ours: Recogniser, peer: Presidio | None, examples: list[Example]) -> list[dict[str, Any]]:
    rows = []
    for size in SIZES:
        mine: list[float] = []
        theirs: list[float] = []
        texts = messages(examples, size, ROUNDS[size])
        # In turns of several messages: after each change of turn, the caches of the core are the other's.
        turn = len(texts) // TURNS
        for start in range(0, len(texts), turn):
            for text in texts[start : start + turn]:
                began = time.process_time()
                ours.scan([text])
                mine.append(1000 * (time.process_time() - began))
            if peer is not None:
                theirs.extend(peer.ask(text)["cpu_ms"] for text in texts[start : start + turn])
        row = {"words": size, "triptych_ms": round(statistics.median(mine), 3)}
        if theirs:
            row["presidio_ms"] = round(statistics.median(theirs), 2)
            row["times"] = round(statistics.median(theirs) / statistics.median(mine), 1)
        rows.append(row)
    return rows


def quality(name: str, scanner: Any, examples: list[Example]) -> dict[str, Any]:
    report = evaluation.evaluate(scanner, examples)
    return {
        "guard": name,
        "covered_recall": round(report.covered.value, 4),
        "fully_redacted": round(report.fully.value, 4),
        "untouched": round(report.untouched.value, 4) if report.untouched.total else None,
        "f2_overlap": round(report.overlap_f2, 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.phi", description=__doc__)
    parser.add_argument("sets", nargs="*", type=Path, help="labelled sets; else the package's own sample")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    sets = {path.name: read(path) for path in options.sets or [SAMPLE]}
    ours = Recogniser.load()
    peer = Presidio() if PEER.exists() else None
    if peer is None:
        print(
            "Presidio is not installed (bench/install_peers.sh presidio): only the guard is measured",
            file=sys.stderr,
        )
    every = [example for examples in sets.values() for example in examples]
    for text in messages(every, 50, WARM_UP):
        ours.scan([text])
        if peer is not None:
            peer.ask(text)
    result: dict[str, Any] = {
        "machine": machine_facts(),
        "revision": revision(),
        "speed": race(ours, peer, every),
    }
    result["quality"] = {
        name: [quality("triptych", ours, examples)]
        + ([quality("presidio", peer, examples)] if peer is not None else [])
        for name, examples in sets.items()
    }
    if peer is not None:
        peer.close()
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({"speed": result["speed"], "quality": result["quality"]}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
