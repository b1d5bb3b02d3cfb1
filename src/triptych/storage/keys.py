"""API keys made and taken back at run time, by the command line or an API."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, Row, Select, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from triptych.core.clock import now_us
from triptych.core.ids import new_ulid
from triptych.storage.admin_actions import CLI, KEY_CREATED, KEY_REVOKED, Actor
from triptych.storage.apply import check_key_facts, shown_parts
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.org_changes import note_key
from triptych.storage.secrets import KeyHasher
from triptych.storage.specs import Allowances, allowances
from triptych.storage.tables import ORIGIN_API, api_keys, orgs, users
from triptych.storage.versions import Change, changing

MAX_NAME_CHARS = 100
CLI_ACTOR = Actor(CLI)


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it may be shown: everything but the secret, which nobody has."""

    id: str
    """A bare ULID; the contracts show it as ``key_<id>``."""
    org_slug: str
    user_name: str
    name: str
    prefix: str
    """Such as ``trp_live_``; empty for an imported key."""
    last_four: str
    scopes: tuple[str, ...] | None
    """None: all."""
    environment: str
    origin: str
    created_us: int
    expires_us: int | None
    revoked_us: int | None


class IssuedKey(msgspec.Struct, frozen=True):
    """A new key and its secret, which is shown this once and kept nowhere."""

    record: KeyRecord
    plaintext: str

    @property
    def id(self) -> str:
        return self.record.id

    def __repr__(self) -> str:
        return f"IssuedKey(id={self.record.id!r}, plaintext=...)"


def create_key(
    database: Database,
    hasher: KeyHasher,
    org_slug: str,
    user_name: str,
    name: str,
    scopes: Sequence[str] | None = None,
    environment: str = "live",
    prefix: str = "trp",
    *,
    expires_us: int | None = None,
    limits: Allowances | None = None,
    actor: Actor = CLI_ACTOR,
) -> IssuedKey:
    """Issue a key for a user of an org. ``scopes`` None: all.

    Raises StorageError: unknown org, user, scope or environment; unusable prefix or name.
    """
    check_key_facts(scopes, environment, f'key "{name}"')
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise StorageError(f"A key's name has 1 to {MAX_NAME_CHARS} printable characters.")
    issued = _issue(hasher, org_slug, user_name, name, scopes, environment, prefix, expires_us)
    with changing(database) as change:
        org_id = change.connection.execute(
            select(orgs.c.id).where(orgs.c.slug == org_slug, orgs.c.removed_us.is_(None))
        ).scalar()
        if org_id is None:
            slugs = change.connection.execute(
                select(orgs.c.slug).where(orgs.c.removed_us.is_(None)).order_by(orgs.c.slug)
            )
            raise StorageError(f'There is no org "{org_slug}". {_known(slugs.scalars().all(), "orgs")}')
        of_org = (users.c.org_id == org_id, users.c.removed_us.is_(None))
        user_id = change.connection.execute(
            select(users.c.id).where(*of_org, users.c.name == user_name)
        ).scalar()
        if user_id is None:
            names = change.connection.execute(select(users.c.name).where(*of_org).order_by(users.c.name))
            known = _known(names.scalars().all(), "users")
            raise StorageError(f'There is no user "{user_name}" in org "{org_slug}". {known}')
        _insert(change.connection, hasher, issued, org_id, user_id, limits or Allowances(), actor)
        change.changed = True
    return issued


class Delegate(msgspec.Struct, frozen=True):
    """A key that makes another one over the API."""

    org_id: str
    org_slug: str
    user_id: str
    key_id: str
    admin: bool
    """Of an administrator: the new key takes over nothing of the one that makes it."""


def delegate_key(
    change: Change,
    hasher: KeyHasher,
    maker: Delegate,
    name: str,
    scopes: Sequence[str],
    environment: str,
    prefix: str,
    actor: Actor,
) -> IssuedKey | None:
    """A key for the same user, in the transaction of ``change``; None: the maker has been revoked, or has
    expired, since it was let in. Unless its maker is an administrator's it has the limits of the maker, and
    expires with it; it outlives the maker's revocation. They count for each key by itself: what must hold
    for all keys of a person is set on the user or the group.

    Raises StorageError: unknown scope or environment.
    """
    check_key_facts(scopes, environment, f'key "{name}"')
    mine = change.connection.execute(
        select(api_keys, users.c.name.label("user_name"))
        .join(users, users.c.id == api_keys.c.user_id)
        .where(
            api_keys.c.id == maker.key_id,
            api_keys.c.org_id == maker.org_id,
            api_keys.c.revoked_us.is_(None),
            or_(api_keys.c.expires_us.is_(None), api_keys.c.expires_us > now_us()),
            users.c.removed_us.is_(None),
        )
    ).first()
    if mine is None:
        return None
    limits, expires_us = Allowances(), None
    if not maker.admin:
        limits = Allowances(**{field: getattr(mine, field) for field in Allowances.__struct_fields__})
        expires_us = mine.expires_us
    issued = _issue(hasher, maker.org_slug, mine.user_name, name, scopes, environment, prefix, expires_us)
    _insert(change.connection, hasher, issued, maker.org_id, maker.user_id, limits, actor)
    change.changed = True
    return issued


def _issue(
    hasher: KeyHasher,
    org_slug: str,
    user_name: str,
    name: str,
    scopes: Sequence[str] | None,
    environment: str,
    prefix: str,
    expires_us: int | None,
) -> IssuedKey:
    plaintext = hasher.issue(prefix, environment)
    shown_prefix, last_four = shown_parts(plaintext)
    record = KeyRecord(
        id=new_ulid(),
        org_slug=org_slug,
        user_name=user_name,
        name=name,
        prefix=shown_prefix,
        last_four=last_four,
        scopes=None if scopes is None else tuple(sorted(set(scopes))),
        environment=environment,
        origin=ORIGIN_API,
        created_us=now_us(),
        expires_us=expires_us,
        revoked_us=None,
    )
    return IssuedKey(record, plaintext)


def _insert(
    connection: Connection,
    hasher: KeyHasher,
    issued: IssuedKey,
    org_id: str,
    user_id: str,
    limits: Allowances,
    actor: Actor,
) -> None:
    record = issued.record
    connection.execute(
        insert(api_keys).values(
            id=record.id,
            org_id=org_id,
            user_id=user_id,
            name=record.name,
            hash=hasher.hash(issued.plaintext.encode()),
            prefix=record.prefix,
            last_four=record.last_four,
            scopes=None if record.scopes is None else msgspec.json.encode(record.scopes).decode(),
            environment=record.environment,
            origin=ORIGIN_API,
            created_us=record.created_us,
            expires_us=record.expires_us,
            **allowances(limits),
        )
    )
    note_key(
        connection,
        actor,
        KEY_CREATED,
        org_id,
        record.id,
        record.name,
        scopes=record.scopes,
        environment=record.environment,
    )


def page_of_keys(
    database: Database, org_id: str, *, environment: str | None, before: str | None, limit: int
) -> list[KeyRecord]:
    """Keys of an org that are not revoked, newest first, at most ``limit``; ``before``: of lower ids
    only. ``environment`` None: of both."""
    query = (
        _records()
        .where(
            api_keys.c.org_id == org_id,
            api_keys.c.revoked_us.is_(None),
            users.c.removed_us.is_(None),
        )
        .order_by(api_keys.c.id.desc())
        .limit(limit)
    )
    if environment is not None:
        query = query.where(api_keys.c.environment == environment)
    if before is not None:
        query = query.where(api_keys.c.id < before)
    with database.read() as connection:
        return [_record(row) for row in connection.execute(query)]


def revoke_own_key(
    database: Database, org_id: str, key_id: str, *, environment: str | None, actor: Actor
) -> KeyRecord | None:
    """Take back a key of one org by its bare id; None: there is none, or it is revoked already."""
    conditions = [api_keys.c.id == key_id, api_keys.c.org_id == org_id, api_keys.c.revoked_us.is_(None)]
    if environment is not None:
        conditions.append(api_keys.c.environment == environment)
    with changing(database) as change:
        row = change.connection.execute(_records().where(*conditions)).first()
        return None if row is None else _revoke(change, row, actor)


def _revoke(change: Change, row: Row[*tuple[object, ...]], actor: Actor) -> KeyRecord:
    revoked = msgspec.structs.replace(_record(row), revoked_us=now_us())
    change.connection.execute(
        update(api_keys)
        .where(api_keys.c.id == revoked.id)
        .values(revoked_us=revoked.revoked_us, revoked_by=ORIGIN_API)
    )
    note_key(change.connection, actor, KEY_REVOKED, row.org_id, revoked.id, revoked.name)
    change.changed = True
    return revoked


def list_keys(database: Database, org_slug: str | None = None) -> list[KeyRecord]:
    """All keys, or those of one org, revoked ones included, in order of creation."""
    query = _records().order_by(api_keys.c.id)
    if org_slug is not None:
        query = query.where(orgs.c.slug == org_slug)
    with database.read() as connection:
        return [_record(row) for row in connection.execute(query)]


def revoke_key(
    database: Database, key: str, org_slug: str | None = None, actor: Actor = CLI_ACTOR
) -> KeyRecord:
    """Take a key back, by its id (with or without ``key_``) or its name; it stays revoked even when
    a configuration file that contains it is applied again.

    Raises StorageError: no such key, already revoked, or a name that several keys have.
    """
    conditions: list[ColumnElement[bool]] = [
        or_(api_keys.c.id == key.removeprefix("key_"), api_keys.c.name == key)
    ]
    if org_slug is not None:
        conditions.append(orgs.c.slug == org_slug)
    with changing(database) as change:
        rows = change.connection.execute(_records().where(*conditions)).all()
        # One that only left its file can still be taken back for good.
        active = [row for row in rows if row.revoked_us is None] or [
            row for row in rows if row.revoked_by != ORIGIN_API
        ]
        if not active:
            raise StorageError(
                f"The key {key!r} is revoked already."
                if rows
                else f"There is no key {key!r}{f' in org {org_slug!r}' if org_slug else ''}."
            )
        if len(active) > 1:
            raise StorageError(
                f"{len(active)} keys are named {key!r}. Revoke by id: "
                + ", ".join(f"key_{row.id} (org {row.org_slug})" for row in active)
            )
        return _revoke(change, active[0], actor)


def _known(names: Sequence[str], kind: str) -> str:
    return f"The {kind} are: {', '.join(names)}." if names else f"There are no {kind} yet."


def _records() -> Select[*tuple[object, ...]]:
    return (
        select(api_keys, orgs.c.slug.label("org_slug"), users.c.name.label("user_name"))
        .join(orgs, orgs.c.id == api_keys.c.org_id)
        .join(users, users.c.id == api_keys.c.user_id)
    )


def _record(row: Row[*tuple[object, ...]]) -> KeyRecord:
    facts = row._mapping
    scopes = facts["scopes"]
    return KeyRecord(
        scopes=None if scopes is None else msgspec.json.decode(scopes, type=tuple[str, ...]),
        **{name: facts[name] for name in KeyRecord.__struct_fields__ if name != "scopes"},
    )
