"""The entry point, before any command is loaded."""

import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

from triptych.cli import main


class InterruptedImport:
    """Ctrl-C while the commands are loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "triptych.cli.complaints":
            raise KeyboardInterrupt


def test_ctrl_c_while_loading_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "triptych.cli.complaints", raising=False)
    monkeypatch.setattr(sys, "meta_path", [InterruptedImport(), *sys.meta_path])
    assert main(["--version"]) == 130
