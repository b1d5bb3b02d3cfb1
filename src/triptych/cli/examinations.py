"""What ``triptych doctor`` looks at on this machine. Nothing here creates or changes anything."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import inspect, select

from triptych.cli.directory_changes import left_over
from triptych.settings import Settings, SettingsError, remarks
from triptych.settings.certificate import out_of_date, tls_context
from triptych.storage import schema
from triptych.storage.database import Database, open_database
from triptych.storage.errors import StorageError
from triptych.storage.secrets import bind_master_key, load_master_key
from triptych.storage.tables import installation
from triptych.vault import key_file as key_file_of

OK: Final = "ok"
LOOK: Final = "look"
WRONG: Final = "WRONG"

_LITTLE_DISK_BYTES: Final = 1 << 30
_TOO_LITTLE_DISK_BYTES: Final = 100 << 20


class Finding(msgspec.Struct, frozen=True):
    verdict: str
    """``ok``, ``look`` (works, but a person should know) or ``WRONG``."""
    subject: str
    text: str


def configuration(settings: Settings) -> Iterator[Finding]:
    """That it loads is known already."""
    yield Finding(OK, "configuration", settings.source)
    for remark in remarks(settings):
        yield Finding(LOOK, "configuration", remark)


def database(settings: Settings) -> Iterator[Finding]:
    path = _sqlite_path(settings)
    if path is not None and not path.exists():
        if not path.parent.is_dir():
            yield Finding(WRONG, "database", f"{path.parent} is no directory; create it")
        elif not os.access(path.parent, os.W_OK):
            yield Finding(WRONG, "database", f"{path} is not there, and this user may not make it")
        else:
            yield Finding(OK, "database", f"{path} is not there yet; the first start makes it")
        return
    try:
        opened = open_database(settings.storage.url.reveal(), durability=settings.ledger.durability)
    except StorageError as error:
        yield Finding(WRONG, "database", str(error))
        return
    try:
        yield from _revision(opened)
        yield from _master_key(settings, opened)
        yield from _orgs(settings, opened)
    except StorageError as error:
        yield Finding(WRONG, "database", str(error))
    finally:
        opened.close()


def _revision(opened: Database) -> Iterator[Finding]:
    with opened.read() as connection:
        revision = schema.current_revision(connection)
    if revision == schema.HEAD:
        yield Finding(OK, "database", f"{opened.name} answers, schema {revision}")
    elif revision is None:
        yield Finding(OK, "database", f"{opened.name} answers and is empty; the first start fills it")
    elif schema.knows(revision):
        text = f"{opened.name} answers, schema {revision}; this version needs {schema.HEAD}"
        yield Finding(LOOK, "database", f"{text} (the next start upgrades it)")
    else:
        yield Finding(WRONG, "database", f"{opened.name}: {schema.unknown(revision)}")


def _master_key(settings: Settings, opened: Database) -> Iterator[Finding]:
    with opened.read() as connection:
        bound = (
            inspect(connection).has_table(installation.name)
            and connection.execute(select(installation.c.name)).first() is not None
        )
    if not bound:
        return
    configured = settings.secrets.master_key
    try:
        # There is a fingerprint, so neither call can write: they only read and compare.
        master = load_master_key(configured.reveal() if configured else None, key_file_of(opened), True)
        bind_master_key(opened, master)
    except StorageError as error:
        yield Finding(WRONG, "master key", str(error))
    else:
        yield Finding(OK, "master key", "the one the database was made with")


def _orgs(settings: Settings, opened: Database) -> Iterator[Finding]:
    with opened.read() as connection:
        current = schema.current_revision(connection) == schema.HEAD
    if current:
        for sentence in left_over(opened, {org.slug for org in settings.orgs}):
            yield Finding(LOOK, "orgs", sentence)


def key_file(settings: Settings) -> Iterator[Finding]:
    if settings.secrets.master_key is not None:
        yield Finding(OK, "key file", f"not used: master_key is {settings.secrets.master_key.shown()}")
        return
    path = _key_file_path(settings)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding(WRONG, "key file", f"{path}: {error.strerror}")
        return
    if mode & 0o077:
        yield Finding(WRONG, "key file", f"{path} has mode {mode:04o}: run chmod 600 {path}")
    else:
        yield Finding(OK, "key file", f"{path}, mode {mode:04o}")


def disk(settings: Settings) -> Iterator[Finding]:
    path = _sqlite_path(settings)
    folder = Path.cwd() if path is None else path.parent
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    verdict = WRONG if free < _TOO_LITTLE_DISK_BYTES else LOOK if free < _LITTLE_DISK_BYTES else OK
    yield Finding(verdict, "disk", f"{free / (1 << 30):.1f} GiB free in {folder}")


def certificate(settings: Settings) -> Iterator[Finding]:
    try:
        context = tls_context(settings)
    except SettingsError as error:
        for problem in error.problems:
            yield Finding(WRONG, "certificate", f"{problem.where}: {problem.text}")
        return
    if context is None:
        return
    late = out_of_date(settings)
    if late is not None:
        yield Finding(WRONG, "certificate", late)
    else:
        yield Finding(OK, "certificate", f"{settings.server.tls_cert} and its key fit")


def _sqlite_path(settings: Settings) -> Path | None:
    path = settings.storage.sqlite_path
    return None if path is None else Path(path).absolute()


def _key_file_path(settings: Settings) -> Path:
    from triptych.vault import KEY_FILE

    path = _sqlite_path(settings)
    return Path(KEY_FILE).absolute() if path is None else path.with_suffix(".key")
