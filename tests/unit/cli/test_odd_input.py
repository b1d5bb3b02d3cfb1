"""Files and words that nobody means to give, and terminals that cannot show everything."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run

NO_TEXT = os.fsdecode(b"\xff")


@pytest.mark.parametrize("command", [("check", "-c"), ("apply",), ("doctor", "-c")])
def test_a_file_without_end_is_no_configuration(run: Run, command: tuple[str, ...]) -> None:
    code, out, err = run(*command, "/dev/zero")
    assert code != 0
    assert "larger than 64 MiB" in out + err


def test_a_text_of_an_agreement_without_end_or_in_no_utf_8_is_refused(run: Run) -> None:
    run("init")
    add = ("baa", "templates", "add", "--version", "v1", "-c", "triptych.toml")
    code, _, err = run(*add, "/dev/zero")
    assert (code, "1 to 1000000 characters" in err) == (1, True)
    Path("latin.txt").write_bytes("Ein Vertrag über Daten".encode("latin-1"))
    assert run(*add, "latin.txt")[::2] == (1, "triptych: error: latin.txt: not UTF-8 at byte 12\n")


def test_a_word_that_is_no_utf_8_is_wrong_usage(run: Run) -> None:
    run("init")
    code, out, err = run("keys", "revoke", NO_TEXT, "-c", "triptych.toml")
    assert (code, out) == (2, "")
    assert err == "triptych: error: '\\udcff' is not UTF-8\n"


def test_a_terminal_that_cannot_show_a_name_shows_it_spelled_out(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "triptych", *arguments],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("ascii")

    run("init")
    run("keys", "create", "-c", "triptych.toml", "--name", "Łucja")
    assert r"\u0141ucja" in run("keys", "list", "-c", "triptych.toml")


def test_a_configuration_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    """As on a full disk."""
    mine = tmp_path / "triptych.toml"
    mine.write_text("# mine\n")

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))

    told = subprocess.run(
        [sys.executable, "-m", "triptych", "init", "--force"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=little_room,
    )
    assert (told.returncode, told.stderr) == (1, "triptych: error: triptych.toml: File too large\n")
    assert mine.read_text() == "# mine\n"
    assert list(tmp_path.iterdir()) == [mine]
