"""The database and the secrets that go with it, opened together: for serving, and for the command
line's tools."""

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from triptych.settings import Settings
from triptych.settings.tree import Allowances, OrgSettings
from triptych.storage.database import Database, open_database
from triptych.storage.secrets import KeyHasher, bind_master_key, derive_key, load_master_key
from triptych.storage.specs import GroupSpec, KeySpec, OrgSpec, UserSpec
from triptych.storage.tables import installation

KEY_FILE = "triptych.master.key"


class Vault(msgspec.Struct, frozen=True):
    database: Database
    key_hasher: KeyHasher
    """Hashes API keys."""
    user_hasher: KeyHasher
    """Hashes the end users that clients name in ``metadata.user_id``."""
    request_hasher: KeyHasher
    """Hashes idempotency keys, and the requests that come with them."""
    data_key_wrapper: bytes
    """What each org's data key is encrypted with."""
    first_start: bool
    """Whether nothing was here before."""


def open_vault(settings: Settings, *, serving: bool) -> Vault:
    """Open (or create) the database, bring its schema up to date, find or make the master key.

    ``serving`` claims a SQLite file for this process. Raises StorageError.
    """
    database = open_database(settings.storage.url.reveal(), durability=settings.ledger.durability)
    try:
        if serving:
            database.lock()
        database.migrate()
        with database.read() as connection:
            known = connection.execute(select(installation.c.name)).first() is not None
        configured = settings.secrets.master_key
        master = load_master_key(configured.reveal() if configured else None, key_file(database), known)
        bind_master_key(database, master)
    except BaseException:
        database.close()
        raise
    return Vault(
        database=database,
        key_hasher=KeyHasher(derive_key(master, "api-keys")),
        user_hasher=KeyHasher(derive_key(master, "end-users")),
        request_hasher=KeyHasher(derive_key(master, "idempotency-keys")),
        data_key_wrapper=derive_key(master, "data-keys"),
        first_start=not known,
    )


def key_file(database: Database) -> Path:
    """Where a generated master key lives: beside the SQLite file, else in the working directory."""
    return Path(KEY_FILE) if database.path is None else database.path.with_suffix(".key")


def org_specs(settings: Settings) -> tuple[OrgSpec, ...]:
    """The configuration's ``[[orgs]]`` in the form that storage applies."""
    return tuple(_org_spec(org) for org in settings.orgs)


def _org_spec(org: OrgSettings) -> OrgSpec:
    return OrgSpec(
        slug=org.slug,
        plan=org.plan,
        compliance=org.compliance,
        baa=org.baa,
        opus_enabled=org.opus_enabled,
        features=org.features,
        dlp_filters=org.dlp_filters,
        alert_thresholds=org.alert_thresholds,
        demo=org.demo,
        context_ttl_s=org.context_ttl_s,
        store_text=org.store_text,
        groups=tuple(
            GroupSpec(
                name=group.name,
                models=group.models,
                api_key_access=group.api_key_access,
                **_allowances(group),
            )
            for group in org.groups
        ),
        users=tuple(
            UserSpec(name=user.name, groups=user.groups, admin=user.admin, **_allowances(user))
            for user in org.users
        ),
        keys=tuple(
            KeySpec(
                name=key.name,
                user=key.user,
                secret=key.secret.reveal(),
                scopes=key.scopes,
                environment=key.environment,
                **_allowances(key),
            )
            for key in org.keys
        ),
        **_allowances(org),
    )


def _allowances(level: Allowances) -> dict[str, Any]:
    return {name: getattr(level, name) for name in Allowances.__struct_fields__}
