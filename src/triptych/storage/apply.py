"""Makes the database agree with the ``[[orgs]]`` of a configuration file.

Applying the same file again changes nothing. What the file does not own - keys, users and groups
made at run time - stays as it is. What left the file is taken back: keys are revoked and users
removed (their rows stay, exchanges name them), groups are deleted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Table, delete, insert, select, update

from triptych.core.clock import now_us
from triptych.core.ids import new_ulid
from triptych.core.plans import PLANS
from triptych.core.principal import SCOPES
from triptych.storage.admin_actions import FROM_FILE, KEY_CREATED, KEY_REVOKED, Actor
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.org_changes import OWN_BUDGET, note_key, note_keys, note_org_changes, note_user
from triptych.storage.secrets import KeyHasher, is_issued_form
from triptych.storage.specs import GroupSpec, KeySpec, OrgSpec, UserSpec, allowances
from triptych.storage.tables import ORIGIN_FILE, api_keys, groups, orgs, user_groups, users
from triptych.storage.versions import Change, changing

# Of shorter imported secrets the last four characters would be too much to show.
_MIN_CHARS_TO_SHOW_LAST_FOUR = 16
# SQLite's older builds take 999 parameters a statement.
_KEYS_AT_ONCE = 500


def apply_orgs(
    database: Database,
    hasher: KeyHasher,
    specs: Sequence[OrgSpec],
    *,
    remove_missing: bool = False,
    actor: Actor = FROM_FILE,
) -> bool:
    """Apply the specs in one transaction; True when anything changed. What it changes of orgs and keys
    is noted as done by ``actor``.

    With ``remove_missing``, orgs that came from a file and are in ``specs`` no more stop working.
    A key that a person revoked stays revoked; a budget that an org's own people changed stays so until
    the file says something else of it than before. Raises StorageError, and then nothing was changed:
    unknown plan, scope, user or group; two things of one name; a secret that is in use.
    """
    _check(specs)
    hashes = _hashes(specs, hasher)
    with changing(database) as change:
        for spec in specs:
            _OrgSection(change, spec, hashes, actor).apply()
        if remove_missing:
            kept = [spec.slug for spec in specs]
            gone = change.connection.execute(
                update(orgs)
                .where(orgs.c.origin == ORIGIN_FILE, orgs.c.removed_us.is_(None), orgs.c.slug.not_in(kept))
                .values(removed_us=now_us())
            )
            change.changed |= gone.rowcount > 0
        return change.changed


class _OrgSection:
    """One org of the file and its rows."""

    def __init__(
        self, change: Change, spec: OrgSpec, hashes: Mapping[tuple[str, str], bytes], actor: Actor
    ) -> None:
        self._actor = actor
        self._change = change
        self._connection: Connection = change.connection
        self._spec = spec
        self._hashes = hashes
        self._now_us = now_us()
        self._org_id = ""

    def apply(self) -> None:
        self._org_id = self._org()
        group_ids = self._groups()
        user_ids = self._users()
        self._memberships(user_ids, group_ids)
        self._keys(user_ids)

    def _org(self) -> str:
        spec = self._spec
        row = self._connection.execute(select(orgs).where(orgs.c.slug == spec.slug)).mappings().first()
        values = {
            "slug": spec.slug,
            "plan": spec.plan,
            "compliance": spec.compliance,
            "baa": spec.baa,
            "opus_enabled": spec.opus_enabled,
            "features": _json(sorted(spec.features)),
            "dlp_filters": _json(spec.dlp_filters),
            "alert_thresholds": _json(spec.alert_thresholds),
            "demo": spec.demo,
            "context_ttl_s": spec.context_ttl_s,
            "store_text": spec.store_text,
            "removed_us": None,
            **allowances(spec),
        }
        filed = {name: values[name] for name in OWN_BUDGET}
        if row is not None and row["filed"] is not None:
            before = msgspec.json.decode(row["filed"], type=dict[str, Any])
            for name in OWN_BUDGET:
                if before.get(name) == filed[name]:
                    del values[name]
        values["filed"] = _json(filed)
        if row is None or row["baa"] != spec.baa:
            values["baa_stated_us"] = self._now_us
        org_id = self._upsert(orgs, row, values)
        note_org_changes(self._connection, self._actor, org_id, row, values)
        return org_id

    def _groups(self) -> dict[str, str]:
        rows = self._of_org(groups)
        ids = {
            spec.name: self._upsert(groups, rows.pop(spec.name, None), self._group_values(spec))
            for spec in self._spec.groups
        }
        for row in rows.values():
            if row["origin"] == ORIGIN_FILE:
                self._connection.execute(delete(groups).where(groups.c.id == row["id"]))
                self._change.changed = True
        return ids

    def _group_values(self, spec: GroupSpec) -> dict[str, object]:
        return {
            "org_id": self._org_id,
            "name": spec.name,
            "models": _json(sorted(spec.models)),
            "api_key_access": spec.api_key_access,
            **allowances(spec),
        }

    def _users(self) -> dict[str, str]:
        rows = self._of_org(users)
        ids: dict[str, str] = {}
        for spec in self._spec.users:
            row = rows.pop(spec.name, None)
            ids[spec.name] = self._upsert(users, row, self._user_values(spec))
            self._note_user(ids[spec.name], row, spec.name, admin=spec.admin)
        for row in rows.values():
            if row["origin"] == ORIGIN_FILE and row["removed_us"] is None:
                self._update(users, row["id"], {"removed_us": self._now_us})
                self._note_user(row["id"], row, row["name"], admin=row["admin"], removed=True)
        return ids

    def _note_user(
        self, user_id: str, before: RowMapping | None, name: str, *, admin: bool, removed: bool = False
    ) -> None:
        note_user(
            self._connection,
            self._actor,
            self._org_id,
            user_id,
            before,
            name=name,
            admin=admin,
            removed=removed,
        )

    def _user_values(self, spec: UserSpec) -> dict[str, object]:
        return {
            "org_id": self._org_id,
            "name": spec.name,
            "admin": spec.admin,
            "removed_us": None,
            **allowances(spec),
        }

    def _memberships(self, user_ids: Mapping[str, str], group_ids: Mapping[str, str]) -> None:
        """The file's users are in the groups the file names, and in no other."""
        wanted = {
            (user_ids[user.name], group_ids[group]) for user in self._spec.users for group in user.groups
        }
        present = {
            (row.user_id, row.group_id)
            for row in self._connection.execute(
                select(user_groups).join(users).where(users.c.org_id == self._org_id)
            )
            if row.user_id in user_ids.values()
        }
        for user_id, group_id in sorted(present - wanted):
            self._connection.execute(
                delete(user_groups).where(
                    user_groups.c.user_id == user_id, user_groups.c.group_id == group_id
                )
            )
        added = [{"user_id": user_id, "group_id": group_id} for user_id, group_id in sorted(wanted - present)]
        if added:
            self._connection.execute(insert(user_groups), added)
        self._change.changed |= wanted != present

    def _keys(self, user_ids: Mapping[str, str]) -> None:
        kept = {self._hashes[self._spec.slug, spec.name]: spec for spec in self._spec.keys}
        known = self._known_keys(list(kept))
        new: list[dict[str, object]] = []
        noted: list[tuple[str, str]] = []
        for key_hash, spec in kept.items():
            row = known.get(key_hash)
            if row is not None and row["org_id"] != self._org_id:
                raise StorageError(
                    f'The secret of key "{spec.name}" of org "{self._spec.slug}" already belongs to a key of '
                    "another org. Give each key a secret of its own."
                )
            values = self._key_values(spec, key_hash, user_ids[spec.user])
            if row is None or row["revoked_by"] in (None, ORIGIN_FILE):
                values |= {"revoked_us": None, "revoked_by": None}
            if row is None:
                identity = new_ulid()
                new.append({"id": identity, "created_us": self._now_us, "origin": ORIGIN_FILE, **values})
                noted.append((identity, spec.name))
                continue
            self._upsert(api_keys, row, values)
            if row["revoked_us"] is not None and values.get("revoked_us", 0) is None:
                noted.append((row["id"], spec.name))
        # Thousands of them are one statement.
        if new:
            self._connection.execute(insert(api_keys), new)
            self._change.changed = True
        note_keys(self._connection, self._actor, KEY_CREATED, self._org_id, noted)
        for active in self._connection.execute(
            select(api_keys.c.id, api_keys.c.hash, api_keys.c.name).where(
                api_keys.c.org_id == self._org_id,
                api_keys.c.origin == ORIGIN_FILE,
                api_keys.c.revoked_us.is_(None),
            )
        ).all():
            if bytes(active.hash) not in kept:
                self._update(api_keys, active.id, {"revoked_us": self._now_us, "revoked_by": ORIGIN_FILE})
                note_key(self._connection, self._actor, KEY_REVOKED, self._org_id, active.id, active.name)

    def _known_keys(self, hashes: Sequence[bytes]) -> dict[bytes, RowMapping]:
        """Those that the database has already, whoever owns them."""
        found: dict[bytes, RowMapping] = {}
        for start in range(0, len(hashes), _KEYS_AT_ONCE):
            some = hashes[start : start + _KEYS_AT_ONCE]
            rows = self._connection.execute(select(api_keys).where(api_keys.c.hash.in_(some))).mappings()
            found |= {bytes(row["hash"]): row for row in rows}
        return found

    def _key_values(self, spec: KeySpec, key_hash: bytes, user_id: str) -> dict[str, object]:
        prefix, last_four = shown_parts(spec.secret)
        return {
            "org_id": self._org_id,
            "user_id": user_id,
            "name": spec.name,
            "hash": key_hash,
            "prefix": prefix,
            "last_four": last_four,
            "scopes": None if spec.scopes is None else _json(sorted(spec.scopes)),
            "environment": spec.environment,
            **allowances(spec),
        }

    def _of_org(self, table: Table) -> dict[str, RowMapping]:
        rows = self._connection.execute(select(table).where(table.c.org_id == self._org_id)).mappings()
        return {row["name"]: row for row in rows}

    def _upsert(self, table: Table, row: RowMapping | None, values: dict[str, object]) -> str:
        """Insert, or update what differs; what the file names is the file's from then on."""
        values["origin"] = ORIGIN_FILE
        if row is None:
            identity = new_ulid()
            self._connection.execute(insert(table).values(id=identity, created_us=self._now_us, **values))
            self._change.changed = True
            return identity
        different = {name: value for name, value in values.items() if row[name] != value}
        if different:
            self._update(table, row["id"], different)
        return str(row["id"])

    def _update(self, table: Table, identity: str, values: Mapping[str, Any]) -> None:
        self._connection.execute(update(table).where(table.c.id == identity).values(**values))
        self._change.changed = True


def shown_parts(secret: str) -> tuple[str, str]:
    """What of a secret may be shown: the prefix of an issued one, and the last four characters
    where they leave enough unknown."""
    prefix = secret[:-32] if is_issued_form(secret) else ""
    return prefix, secret[-4:] if len(secret) >= _MIN_CHARS_TO_SHOW_LAST_FOUR else ""


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _hashes(specs: Sequence[OrgSpec], hasher: KeyHasher) -> dict[tuple[str, str], bytes]:
    """Key hashes by org and key name; no two keys may share one."""
    hashes: dict[tuple[str, str], bytes] = {}
    owners: dict[bytes, str] = {}
    for org in specs:
        for key in org.keys:
            place = f'key "{key.name}" of org "{org.slug}"'
            key_hash = hasher.hash(key.secret.encode())
            if key_hash in owners:
                raise StorageError(
                    f"The {place} and the {owners[key_hash]} have the same secret. Give each key its own."
                )
            owners[key_hash] = place
            hashes[org.slug, key.name] = key_hash
    return hashes


def _check(specs: Sequence[OrgSpec]) -> None:
    _unique("org", [spec.slug for spec in specs], "the configuration")
    for org in specs:
        place = f'org "{org.slug}"'
        if org.plan not in PLANS:
            raise StorageError(f"The {place} has the unknown plan {org.plan!r}; plans: {', '.join(PLANS)}.")
        _unique("group", [group.name for group in org.groups], place)
        _unique("user", [user.name for user in org.users], place)
        _unique("key", [key.name for key in org.keys], place)
        group_names = {group.name for group in org.groups}
        user_names = {user.name for user in org.users}
        for user in org.users:
            for group_name in user.groups:
                if group_name not in group_names:
                    raise StorageError(
                        f'The user "{user.name}" of {place} is in the group "{group_name}", which does not '
                        "exist there. Add it to [[orgs.groups]], or remove it from the user."
                    )
        for key in org.keys:
            _check_key(key, place, user_names)


def _check_key(key: KeySpec, place: str, user_names: set[str]) -> None:
    if key.user not in user_names:
        raise StorageError(
            f'The key "{key.name}" of {place} belongs to the user "{key.user}", who does not exist there. '
            "Add the user to [[orgs.users]], or name another."
        )
    if not key.secret or any(c in key.secret for c in "\0\r\n") or key.secret != key.secret.strip():
        raise StorageError(
            f'The secret of key "{key.name}" of {place} is empty, or has spaces at an end or a line '
            "break inside: no request could carry it."
        )
    check_key_facts(key.scopes, key.environment, f'key "{key.name}" of {place}')


def check_key_facts(scopes: Sequence[str] | None, environment: str, place: str) -> None:
    """Raises StorageError for a scope or an environment that does not exist."""
    unknown = sorted(set(scopes or ()) - SCOPES)
    if unknown:
        raise StorageError(
            f"The {place} has the unknown scope {unknown[0]!r}; scopes: {', '.join(sorted(SCOPES))}."
        )
    if environment not in ("live", "test"):
        raise StorageError(f"The {place} has the environment {environment!r}; it must be live or test.")


def _unique(kind: str, names: Sequence[str], place: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise StorageError(f'There are two {kind}s named "{name}" in {place}. Rename one.')
