"""``serve`` is started without typer and what it brings along."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from triptych.cli import complaints
from triptych.cli.plain_serve import serve_options

Given = tuple[Any, ...]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """What the command was called with, however its arguments were read."""
    calls: list[Given] = []

    def serve(
        config: Path | None = None,
        host: str | None = None,
        port: int | None = None,
        workers: int | None = None,
    ) -> None:
        calls.append((config, host, port, workers))

    monkeypatch.setattr("triptych.cli.serve.serve", serve)
    return calls


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve",),
        ("serve", "--config", "a b.toml"),
        ("serve", "-c", "a.toml", "--port", "0"),
        ("serve", "--config=a=b.toml", "--host=::1", "--port=08080", "--workers=2"),
        ("serve", "--port", "1", "--port", "2", "--host", "localhost"),
    ],
)
def test_what_is_read_plainly_is_what_typer_reads(served: list[Given], arguments: tuple[str, ...]) -> None:
    assert complaints.run(arguments) == 0
    assert complaints._command(list(arguments)) == 0
    plainly, by_typer = served
    assert plainly == by_typer == serve_options(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("check",),
        ("--version",),
        ("serve", "--help"),
        ("serve", "extra"),
        ("serve", "--port"),
        ("serve", "--port", "many"),
        ("serve", "--port", "-1"),
        ("serve", "--port", "1_0"),
        ("serve", "--port", "٣"),
        ("serve", "--prt", "1"),
        ("serve", "-c=a.toml"),
        ("serve", "-ca.toml"),
        ("serve", "--config", "--port"),
        ("serve", "--config="),
    ],
)
def test_what_is_not_plain_is_left_to_typer(arguments: tuple[str, ...]) -> None:
    assert serve_options(arguments) is None


def test_a_gateway_on_sqlite_loads_no_typer_no_pydantic_and_no_other_database() -> None:
    code = (
        "import sys, triptych.cli.complaints, triptych.cli.serve, triptych.wiring\n"
        "print(*sorted({'typer', 'pydantic', 'sqlalchemy.dialects.postgresql', 'onnxruntime', 'numpy',"
        " 'redis', 'alembic', 'triptych.surfaces.openapi'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
