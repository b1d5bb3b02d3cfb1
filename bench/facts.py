"""What the numbers depend on besides the gateway: machine, library versions, revision of the repository."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.targets import REPOSITORY

LIBRARIES = ("uvloop", "httptools", "msgspec", "sqlalchemy", "structlog", "prometheus-client")


def machine_facts() -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(memory_kb / 1e6, 1),
        "kernel": platform.release(),
        # Builds of one version differ by a third: whose it is says which.
        "python": f"{platform.python_version()} ({Path(sys.executable).resolve()})",
        "load_average": os.getloadavg(),
    }


def library_versions() -> dict[str, str]:
    """Versions of what the gateway runs on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def git(*arguments: str) -> str:
    """Output of a git command in the repository; empty when it fails."""
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def revision() -> str:
    """Short commit id, `-dirty` when files differ from it; `unknown` outside a repository with commits."""
    short = git("rev-parse", "--short", "HEAD")
    if not short:
        return "unknown"
    return short + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
