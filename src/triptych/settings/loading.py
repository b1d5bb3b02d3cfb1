"""From a file and an environment to one checked tree."""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from triptych.settings.catalogue import read_model, read_provider
from triptych.settings.consistency import inconsistencies
from triptych.settings.directory import read_org
from triptych.settings.problem import Problem, SettingsError
from triptych.settings.sections import (
    LARGEST_PORT,
    MASTER_KEY_VARIABLE,
    MOST_WORKERS,
    read_breaker,
    read_compliance,
    read_emotion,
    read_keys,
    read_ledger,
    read_limits,
    read_retention,
    read_retries,
    read_secrets,
    read_server,
    read_storage,
    read_surfaces,
)
from triptych.settings.table import Reading
from triptych.settings.tree import GroupSettings, OrgSettings, ProviderSettings, Settings, UserSettings

CONFIG_VARIABLE: Final = "TRIPTYCH_CONFIG"
"""Names the configuration file when no ``--config`` does."""
NO_FILE: Final = "(no file: built-in defaults)"
DEMO_SLUG: Final = "demo"
SANDBOX: Final = "sandbox"
MOST_MIB: Final = 64


def config_path(option: Path | None, environ: Mapping[str, str]) -> Path | None:
    """``--config``, else the file ``TRIPTYCH_CONFIG`` names, else None: the defaults."""
    if option is not None:
        return option
    named = environ.get(CONFIG_VARIABLE)
    return Path(named) if named else None


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read and check a configuration file; without one, the defaults with a demo org.

    Raises SettingsError with every problem found: an unreadable file, broken TOML, unknown or
    missing keys, wrong values, names that do not exist, ``env:NAME`` variables that are not set.
    """
    if path is None:
        return default_settings(environ)
    source = str(path)
    try:
        text = _read(path).decode("utf-8-sig")
        # The byte order mark is dropped, as editors on Windows add one.
        content = tomllib.loads(text, parse_float=Decimal)
    except FileNotFoundError:
        raise SettingsError(source, [Problem("", 'no such file; "triptych init" writes one')]) from None
    except OSError as error:
        raise SettingsError(source, [Problem("", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise SettingsError(source, [Problem("", f"not UTF-8 at byte {error.start}")]) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(source, [Problem("", f"not valid TOML: {error}")]) from None
    return settings_from(content, source, environ)


def _read(path: Path) -> bytes:
    """A device may have no end, and the memory has one. Raises SettingsError, OSError."""
    with path.open("rb") as file:
        content = file.read((MOST_MIB << 20) + 1)
    if len(content) > MOST_MIB << 20:
        raise SettingsError(str(path), [Problem("", f"larger than {MOST_MIB} MiB")])
    return content


def settings_from(content: Mapping[str, object], source: str, environ: Mapping[str, str]) -> Settings:
    """Check parsed TOML. ``source`` stands before every problem. Raises SettingsError."""
    reading = Reading(environ)
    root = reading.open(content, "")
    providers = tuple(read_provider(table) for table in root.tables("providers"))
    names = {provider.name for provider in providers}
    settings = Settings(
        source=source,
        server=read_server(root.table("server")),
        surfaces=read_surfaces(root.table("surfaces")),
        storage=read_storage(root.table("storage")),
        limits=read_limits(root.table("limits")),
        secrets=read_secrets(root.table("secrets"), MASTER_KEY_VARIABLE in environ),
        keys=read_keys(root.table("keys")),
        breaker=read_breaker(root.table("breaker")),
        retries=read_retries(root.table("retries")),
        ledger=read_ledger(root.table("ledger")),
        retention=read_retention(root.table("retention")),
        emotion=read_emotion(root.table("emotion")),
        compliance=read_compliance(root.table("compliance")),
        providers=providers,
        models=tuple(read_model(table, names) for table in root.tables("models")),
        orgs=tuple(read_org(table) for table in root.tables("orgs")),
    )
    reading.note_unknown_keys()
    problems = [*reading.problems, *inconsistencies(settings)]
    if problems:
        raise SettingsError(source, problems)
    return settings


def default_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """What holds without a file: SQLite beside the process, the sandbox, one demo org.

    The demo org's key is not part of it: it is issued, and shown, at the first start.
    """
    base = settings_from({}, NO_FILE, environ or {})
    return msgspec.structs.replace(
        base, providers=(ProviderSettings(name=SANDBOX, kind="sandbox"),), orgs=(demo_org(),)
    )


def demo_org() -> OrgSettings:
    return OrgSettings(
        slug=DEMO_SLUG,
        demo=True,
        groups=(GroupSettings(name="everyone", models=("*",), api_key_access=True),),
        users=(UserSettings(name="demo", groups=("everyone",), admin=True),),
    )


def with_server(
    settings: Settings, host: str | None = None, port: int | None = None, workers: int | None = None
) -> Settings:
    """The same settings with what the command line says instead. Raises SettingsError."""
    problems = []
    if port is not None and not 0 <= port <= LARGEST_PORT:
        problems.append(Problem("--port", f"found {port}, expected 0 to {LARGEST_PORT}"))
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        problems.append(Problem("--workers", f"found {workers}, expected 1 to {MOST_WORKERS}"))
    if host is not None and not host:
        problems.append(Problem("--host", 'found "", expected an address or a name'))
    if problems:
        raise SettingsError("command line", problems)
    server = settings.server
    changed = msgspec.structs.replace(
        settings,
        server=msgspec.structs.replace(
            server,
            host=server.host if host is None else host,
            port=server.port if port is None else port,
            workers=server.workers if workers is None else workers,
        ),
    )
    problems = list(inconsistencies(changed))
    if problems:
        raise SettingsError(settings.source, problems)
    return changed
