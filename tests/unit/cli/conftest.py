"""The commands as a person runs them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from triptych.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty directory: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIPTYCH_CONFIG", raising=False)
    monkeypatch.delenv("TRIPTYCH_MASTER_KEY", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run
