"""How the process lies in memory."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

COLLAPSES = """
from pathlib import Path
from triptych.edge.allocator import use_huge_pages

def huge_kb() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages:"))

held = [[number] for number in range(400_000)]
before = huge_kb()
use_huge_pages()
assert held == [[number] for number in range(400_000)]
print(before, huge_kb())
"""


def can_collapse() -> bool:
    major, minor = (int(part) for part in platform.release().split(".")[:2])
    return Path("/sys/kernel/mm/transparent_hugepage").exists() and (major, minor) >= (6, 1)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not can_collapse(), reason="needs Linux 6.1 with huge pages"
)
def test_what_is_there_by_now_lies_in_huge_pages_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", COLLAPSES], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after >= before + 2_048
