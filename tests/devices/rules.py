"""A recogniser of a few rules that tests can predict, in the place of the trained one; as a program it is
the guard's process. A text that says ``#raises`` and the like makes it fail that way."""

import os
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

    def scan(self, texts: Sequence[str], filters: Any = None, org: str = "") -> list[list[Finding]]:
        fault = next((match[1] for text in texts if (match := _FAULT.search(text))), None)
        if fault is not None:
            return _fail(fault, texts)
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


def _fail(fault: str, texts: Sequence[str]) -> list[list[Finding]]:
    if fault == "raises":
        raise ValueError(f"cannot read {texts!r}")
    if fault == "hangs":
        time.sleep(3600)
    if fault == "dies":
        os._exit(9)
    if fault == "babbles":
        os.write(TOLD, b"\x00\x00\x00\x08no frame")
        time.sleep(3600)
    if fault == "garbage":
        return [[] for _ in range(len(texts) + 1)]
    # Spans that are none of the texts.
    return [[Finding("PERSON", 5, 1_000_000, 1.0, "rule")] for _ in texts]


FAULTS = ("raises", "hangs", "dies", "babbles", "garbage", "nonsense")
_FAULT = re.compile(f"#({'|'.join(FAULTS)})")
TOLD = os.dup(1) if __name__ == "__main__" else -1

if __name__ == "__main__":
    from triptych.engines.phi.worker import run

    if "never_ready" in sys.argv:
        time.sleep(3600)
    run(Rules, list)
