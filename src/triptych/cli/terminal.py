"""Plain text for terminals and pipes."""

import io
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

DEFAULT_FILE: Final = Path("triptych.toml")
"""The configuration as ``init`` writes it, and as a terminal's user finds it again."""


def program() -> str:
    """How this program was called, for commands to copy: ``triptych`` where that finds it."""
    called = sys.argv[0]
    name = os.path.basename(called)
    if name == "__main__.py":
        return "python -m triptych"
    found = shutil.which("triptych")
    if name != "triptych" or (found is not None and os.path.realpath(found) == os.path.realpath(called)):
        return "triptych"
    return called


def say(text: str = "") -> None:
    """What was asked for: stdout."""
    print(text)


def show(text: str) -> None:
    """What cannot be asked for again: stdout, at once. Raises OSError when it did not get there."""
    print(text, flush=True)


def note(text: str) -> None:
    """What is good to know beside it: stderr, so that output can be piped."""
    print(text, file=sys.stderr)


def announce(text: str) -> None:
    """What a server says to stdout. One that nobody reads any more, or that is full, does not end it."""
    try:
        print(text, flush=True)
    except OSError as error:
        leave_stdout()
        warn(
            f"stdout cannot be written ({error.strerror}); serving goes on. A first key that nobody saw is "
            f'replaced with "{program()} keys create"'
        )


def leave_stdout() -> None:
    """Nobody takes what is left in its buffer, and the interpreter flushes it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_standard_streams() -> None:
    """Those that were closed by whoever started us lead nowhere: a file opened later, such as a lock, must
    not get their numbers, and what is printed there must not be an error."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # in the order of their numbers: each gets its own
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that this terminal has no letters for must not end the command that shows it.
        sys.stdout.reconfigure(errors="backslashreplace")


def warn(text: str) -> None:
    print(f"triptych: warning: {text}", file=sys.stderr)


def complain(text: str) -> None:
    """Each line of it is an error of its own."""
    for line in text.splitlines():
        print(f"triptych: error: {line}", file=sys.stderr)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    cells = [header, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)
