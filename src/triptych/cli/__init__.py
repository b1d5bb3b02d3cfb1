"""The command line. Importing it loads nothing but this file; ``main`` is the entry point."""

from collections.abc import Sequence
from typing import Final

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 (it failed), 2 (usage or configuration).

    ``arguments`` are those after the program's name; None takes them from the process.
    """
    try:
        from triptych.cli.complaints import run

        return run(arguments)
    except KeyboardInterrupt:  # while it is still being loaded
        return INTERRUPTED
