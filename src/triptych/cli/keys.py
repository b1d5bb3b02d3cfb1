"""``triptych keys``: issue, list and revoke API keys."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli.options import ConfigOption, help_when_alone
from triptych.cli.terminal import note, program, say, show, table
from triptych.core.principal import SCOPES

if TYPE_CHECKING:
    from triptych.settings import Settings
    from triptych.storage.database import Database
    from triptych.storage.directory import KeyRecord
    from triptych.vault import Vault

OrgOption = Annotated[str | None, typer.Option("--org", help="The org's slug.", show_default=False)]


def build() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)
    app.callback(invoke_without_command=True)(_keys)
    app.command("create")(create)
    app.command("list")(list_)
    app.command("revoke")(revoke)
    return app


def _keys(context: typer.Context) -> None:
    """Issue, list and revoke API keys."""
    help_when_alone(context)


def create(
    config: ConfigOption = None,
    org: OrgOption = None,
    user: Annotated[str | None, typer.Option(help="Whom the key acts for.", show_default=False)] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "cli",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help=f"May be given several times; all when not. One of {', '.join(sorted(SCOPES))}.",
            show_default=False,
        ),
    ] = None,
    environment: Annotated[str, typer.Option(help="live or test (answered by the sandbox only).")] = "live",
) -> None:
    """Issue a key. Its text is printed this once, alone on stdout; only its hash is kept.

    --org and --user may be left out where there is but one.
    """
    from triptych.storage.directory import apply_orgs, create_key, revoke_key
    from triptych.vault import org_specs

    with opened_vault(config, create=True) as (settings, vault):
        if vault.first_start:
            apply_orgs(vault.database, vault.key_hasher, org_specs(settings))
        users = users_by_org(vault.database)
        nobody = f'there are no orgs yet: describe them in [[orgs]], then "{program()} apply FILE"'
        slug = org or _only("--org", list(users), nobody)
        known_org(slug, users, settings)
        user_name = user or _only("--user", users[slug], f'the org "{slug}" has no users')
        issued = create_key(
            vault.database,
            vault.key_hasher,
            slug,
            user_name,
            name,
            scopes=scope or None,
            environment=environment,
            prefix=settings.keys.prefix,
        )
        record = issued.record
        whose = f'"{name}" of {record.user_name} in {slug}, {environment}, {_scopes(record.scopes)}'
        note(f"key_{record.id}: {whose}")
        try:
            show(issued.plaintext)
        except OSError:
            revoke_key(vault.database, record.id)
            note("It could not be shown, so it is revoked.")
            raise


def list_(config: ConfigOption = None, org: OrgOption = None) -> None:
    """List keys, revoked ones too. Secrets are not kept and cannot be shown."""
    from triptych.core.clock import now_us
    from triptych.storage.directory import list_keys

    with opened_vault(config) as (settings, vault):
        if org is not None:
            known_org(org, users_by_org(vault.database), settings)
        records = list_keys(vault.database, org)
    now = now_us()
    rows = [
        (
            f"key_{record.id}",
            record.org_slug,
            record.user_name,
            record.name,
            f"{record.prefix}...{record.last_four}",
            record.environment,
            _scopes(record.scopes),
            _time(record.created_us),
            _state(record, now),
        )
        for record in records
    ]
    say(table(("ID", "ORG", "USER", "NAME", "KEY", "FOR", "SCOPES", "CREATED", "STATE"), rows))


def revoke(
    key: Annotated[str, typer.Argument(help="Its id, or its name.", show_default=False)],
    config: ConfigOption = None,
    org: OrgOption = None,
) -> None:
    """Revoke a key for good. A running gateway on the same database knows within a second."""
    from triptych.storage.directory import revoke_key

    with opened_vault(config) as (_, vault):
        record = revoke_key(vault.database, key, org)
    say(f'Revoked key_{record.id}: "{record.name}" of {record.user_name} in {record.org_slug}.')


@contextmanager
def opened_vault(config: Path | None, *, create: bool = False) -> "Iterator[tuple[Settings, Vault]]":
    """Settings and vault. A database that is not there is an error unless ``create``."""
    from triptych.settings import config_path, load_settings
    from triptych.vault import open_vault

    settings = load_settings(config_path(config, os.environ), os.environ)
    path = settings.storage.sqlite_path
    if path is not None and not create and not Path(path).exists():
        raise FileNotFoundError(0, 'no such database yet; "triptych serve" and "triptych init" make it', path)
    vault = open_vault(settings, serving=False)
    try:
        yield settings, vault
    finally:
        vault.database.close()


def users_by_org(database: "Database") -> dict[str, list[str]]:
    """The names of each org's users, of orgs and users that are not removed."""
    from triptych.cli.directory_changes import directory

    present = [name for name, row in directory(database).items() if row.get("removed_us") is None]
    users: dict[str, list[str]] = {name: [] for kind, name in present if kind == "org"}
    for kind, name in present:
        slug, _, user = name.partition("/")
        if kind == "user" and slug in users:
            users[slug].append(user)
    return users


def known_org(slug: str, known: Collection[str], settings: "Settings") -> None:
    """Raises StorageError for an org that the database does not have."""
    from triptych.storage.errors import StorageError

    if slug in known:
        return
    told = f"The orgs are: {', '.join(sorted(known))}." if known else "There are no orgs yet."
    if any(org.slug == slug for org in settings.orgs):
        told = f"It stands in {settings.source}, which was not applied: {program()} apply {settings.source}"
    raise StorageError(f'There is no org "{slug}" in the database. {told}')


def _only(option: str, names: Sequence[str], none: str) -> str:
    if len(names) == 1:
        return names[0]
    raise typer.BadParameter(
        f"say which: there are {', '.join(sorted(names))}" if names else none, param_hint=option
    )


def _scopes(scopes: Sequence[str] | None) -> str:
    return "all scopes" if scopes is None else ",".join(scopes) or "no scopes"


def _time(moment_us: int) -> str:
    from triptych.core.clock import rfc3339

    return rfc3339(moment_us // 1_000_000)


def _state(record: "KeyRecord", now_us: int) -> str:
    if record.revoked_us is not None:
        return f"revoked {_time(record.revoked_us)}"
    if record.expires_us is not None:
        return f"{'expired' if record.expires_us <= now_us else 'expires'} {_time(record.expires_us)}"
    return "active"
