"""``triptych doctor``: is everything there that a gateway with this configuration needs?"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import typer

from triptych.cli.options import ConfigOption
from triptych.cli.terminal import say, table

if TYPE_CHECKING:
    from triptych.cli.examinations import Finding
    from triptych.settings import Settings

FAILED: Final = 1


def doctor(config: ConfigOption = None) -> None:
    """Check configuration, database, master key, disk, providers and port. Exit 1 if one is wrong.

    Nothing is created or changed, and providers are connected to without sending anything.
    """
    from triptych.cli.examinations import WRONG, Finding
    from triptych.settings import SettingsError, config_path, load_settings

    try:
        findings = list(_examine(load_settings(config_path(config, os.environ), os.environ)))
    except SettingsError as error:
        findings = [Finding(WRONG, "configuration", line) for line in str(error).splitlines()]
    say(table(("", "WHAT", "FINDING"), [(found.verdict, found.subject, found.text) for found in findings]))
    if any(found.verdict == WRONG for found in findings):
        raise typer.Exit(FAILED)


def _examine(settings: "Settings") -> "Iterator[Finding]":
    from triptych.cli import examinations, network_examinations

    local: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        examinations.configuration,
        examinations.database,
        examinations.key_file,
        examinations.disk,
        examinations.certificate,
    )
    for examination in local:
        yield from examination(settings)
    with ThreadPoolExecutor(max_workers=16) as pool:
        for findings in pool.map(lambda ask: list(ask()), network_examinations.all_of(settings)):
            yield from findings
