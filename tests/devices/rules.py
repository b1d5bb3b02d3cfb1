"""A recogniser of a few rules that tests can predict, in the place of the trained one; and guards that
fail. As a program it is the guard's process: ``python -P rules.py [fault]``."""

import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from triptych.core.finding import Finding

NAMES = ("Ana Lima", "Renée Zimmermann-Óbuda", "李小龍", 'Jo "Q" O\\Neil', "Bob")
_RULES = (
    ("PERSON", re.compile("|".join(map(re.escape, NAMES)))),
    ("US_SSN", re.compile(r"\b\d{3}-\d{2}-\d{4}\b")),
    ("EMAIL_ADDRESS", re.compile(r"\b[\w.]+@[\w.]+\.\w{2,}\b")),
    ("MRN", re.compile(r"(?i)(?<=\bmrn: )\w+")),
)


class Rules:
    """``filters``: specs whose patterns are literal texts."""

    def scan(self, texts: Sequence[str], filters: Any = None) -> list[list[Finding]]:
        rules = [*_RULES, *(("CUSTOM", re.compile(re.escape(one.pattern))) for one in filters or ())]
        return [self._scan(text, rules) for text in texts]

    @staticmethod
    def _scan(text: str, rules: Sequence[tuple[str, Any]]) -> list[Finding]:
        found = sorted(
            (match.start(), match.end(), name) for name, rule in rules for match in rule.finditer(text)
        )
        kept: list[Finding] = []
        for start, end, name in found:
            if not kept or start >= kept[-1].end:
                how = "filter:test" if name == "CUSTOM" else "rule"
                kept.append(Finding(name, start, end, 1.0, how))
        return kept


class Raises:
    def scan(self, texts: Sequence[str], filters: Any = None) -> list[list[Finding]]:
        raise ValueError(f"cannot read {texts!r}")


class Hangs:
    def scan(self, texts: Sequence[str], filters: Any = None) -> list[list[Finding]]:
        time.sleep(3600)
        return [[] for _ in texts]


class Garbage:
    """Not what was promised: fewer lists than texts."""

    def scan(self, texts: Sequence[str], filters: Any = None) -> list[list[Finding]]:
        return []


class Nonsense:
    def scan(self, texts: Sequence[str], filters: Any = None) -> list[list[Finding]]:
        return [[Finding("PERSON", 5, 10_000, 1.0, "rule")] for _ in texts]


class Dies:
    def scan(self, texts: Sequence[str], filters: Any = None) -> list[list[Finding]]:
        import os

        os._exit(9)


FAULTS = {
    "raises": Raises,
    "hangs": Hangs,
    "garbage": Garbage,
    "nonsense": Nonsense,
    "dies": Dies,
}

if __name__ == "__main__":
    from triptych.engines.phi.worker import run

    fault = sys.argv[1] if len(sys.argv) > 1 else ""
    if fault == "babbles":
        sys.stdout.write("this is no frame at all, and it goes on for a while")
        sys.stdout.flush()
        time.sleep(3600)
    if fault == "never_ready":
        time.sleep(3600)
    run(FAULTS.get(fault, Rules), list)
