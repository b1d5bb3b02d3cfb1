"""``triptych init``: a commented file, a database, a master key and a first API key."""

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer

from triptych.cli.terminal import DEFAULT_FILE, program, say

FIRST_KEY: Final = "first"


def init(
    config: Annotated[Path, typer.Option("--config", "-c", help="The file to write.")] = DEFAULT_FILE,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented triptych.toml, create what it names, and print a first key once."""
    from triptych.settings import init_template, load_settings
    from triptych.storage.directory import apply_orgs, create_key, list_keys
    from triptych.vault import key_file, open_vault, org_specs

    if config.exists() and not force:
        raise FileExistsError(0, "is there already; --force replaces it (never the database)", str(config))
    _write(config, init_template())
    settings = load_settings(config, os.environ)
    vault = open_vault(settings, serving=False)
    with closing(vault.database):
        apply_orgs(vault.database, vault.key_hasher, org_specs(settings))
        (org,) = settings.orgs
        say(f"Wrote {config}: every setting, with its default and meaning.")
        say(f"The database is {vault.database.name}.")
        if settings.secrets.master_key is None:
            say(f"The master key is in {key_file(vault.database).absolute()}: keep a copy of it.")
        if any(key.revoked_us is None for key in list_keys(vault.database, org.slug)):
            say(f'\nThe org "{org.slug}" has keys already. One more:')
            say(f"\n  {program()} keys create --config {config}")
        else:
            issued = create_key(
                vault.database,
                vault.key_hasher,
                org.slug,
                org.users[0].name,
                FIRST_KEY,
                prefix=settings.keys.prefix,
            )
            say(f'\nFirst key of the org "{org.slug}" (shown once, only its hash is kept):')
            say(f"\n  {issued.plaintext}")
    say(f"\nNext:\n\n  {program()} serve --config {config}")


def _write(path: Path, text: str) -> None:
    """Readable by the owner only: secrets may be written into it later. Whole or not at all: on a full disk,
    what was there stays. Raises OSError with the path."""
    place = path.resolve()
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
        fresh.replace(place)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
