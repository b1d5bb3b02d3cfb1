"""What several commands have in common, as typer wants it."""

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.terminal import say

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The configuration file; else TRIPTYCH_CONFIG names it, else the built-in defaults hold.",
        show_default=False,
    ),
]


def help_when_alone(context: typer.Context) -> None:
    """For a group named without one of its commands: its help is the answer."""
    if context.invoked_subcommand is None:
        say(context.get_help())
