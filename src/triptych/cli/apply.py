"""``triptych apply FILE``: make the database agree with the orgs of a configuration."""

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.terminal import say, warn


def apply(
    file: Annotated[Path, typer.Argument(help="The configuration file.", show_default=False)],
) -> None:
    """Apply the [[orgs]] of a file, and print what changed. Running it again changes nothing.

    A running gateway on the same database knows within a second.
    """
    from triptych.cli.directory_changes import differences, directory, left_over
    from triptych.settings import load_settings
    from triptych.storage.directory import apply_orgs
    from triptych.vault import open_vault, org_specs

    settings = load_settings(file, os.environ)
    vault = open_vault(settings, serving=False)
    with closing(vault.database) as database:
        before = directory(database)
        changed = apply_orgs(database, vault.key_hasher, org_specs(settings))
        lines = list(differences(before, directory(database))) if changed else []
        still_there = list(left_over(database, {org.slug for org in settings.orgs}))
    for line in lines:
        say(line)
    orgs = "1 org" if len(settings.orgs) == 1 else f"{len(settings.orgs)} orgs"
    say(f"{len(lines)} changed, {orgs} applied" if changed else "Nothing to change.")
    for sentence in still_there:
        warn(sentence)
