"""What an apply changed, told by comparing the directory before and after; and what it leaves alone."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import Table

    from triptych.storage.database import Database

Directory = Mapping[tuple[str, str], Mapping[str, object]]
"""Columns by kind of object and its name, such as ``("group", "acme/everyone")``."""

_NOT_TOLD: Final = frozenset({"id", "org_id", "user_id", "hash", "created_us", "revoked_by", "prefix"})
_GONE: Final = ("removed_us", "revoked_us")


def directory(database: "Database") -> Directory:
    """The orgs, groups, users and keys there are. Raises StorageError."""
    from sqlalchemy import select

    from triptych.storage.tables import api_keys, groups, orgs, user_groups, users

    with database.read() as connection:

        def rows(table: "Table") -> dict[str, dict[str, object]]:
            return {row["id"]: dict(row) for row in connection.execute(select(table)).mappings()}

        org_rows, group_rows, user_rows, key_rows = rows(orgs), rows(groups), rows(users), rows(api_keys)
        for user in user_rows.values():
            user["groups"] = ()
        for member in connection.execute(select(user_groups)):
            user = user_rows[member.user_id]
            user["groups"] = tuple(
                sorted((*_texts(user["groups"]), str(group_rows[member.group_id]["name"])))
            )
    found = {("org", str(org["slug"])): org for org in org_rows.values()}
    for kind, members in (("group", group_rows), ("user", user_rows), ("key", key_rows)):
        for row in members.values():
            name = f"{org_rows[str(row['org_id'])]['slug']}/{row['name']}"
            if kind == "key":
                row["user"] = user_rows[str(row["user_id"])]["name"]
                # A key that got another secret is another row of the same name.
                name += f" ({row['id']})"
            found[kind, name] = row
    return found


def differences(before: Directory, after: Directory) -> Iterator[str]:
    """One line per object that is new, gone, back or different: its name and what of it."""
    for kind, name in sorted({*before, *after}):
        old, new = before.get((kind, name)), after.get((kind, name))
        title = f"{kind} {name}"
        if new is None or (old is not None and not _is_gone(old) and _is_gone(new)):
            yield f"- {title}"
        elif old is None:
            if not _is_gone(new):
                yield f"+ {title}"
        elif _is_gone(old) and not _is_gone(new):
            yield f"+ {title} (again)"
        else:
            changed = [key for key in sorted(new) if key not in _NOT_TOLD and old.get(key) != new[key]]
            if changed:
                yield f"~ {title}: {', '.join(changed)}"


def left_over(database: "Database", slugs: Collection[str]) -> Iterator[str]:
    """One sentence per org that a file once brought, that is not among ``slugs`` any more, and whose
    keys still work: applying a file takes back what left an org, but no whole org."""
    from sqlalchemy import select

    from triptych.storage.tables import ORIGIN_FILE, api_keys, orgs

    query = (
        select(orgs.c.slug)
        .distinct()
        .join(api_keys, api_keys.c.org_id == orgs.c.id)
        .where(orgs.c.origin == ORIGIN_FILE, orgs.c.removed_us.is_(None), api_keys.c.revoked_us.is_(None))
        .order_by(orgs.c.slug)
    )
    with database.read() as connection:
        found = connection.execute(query).scalars().all()
    for slug in found:
        if slug not in slugs:
            yield (
                f'org "{slug}" is in the database but not in this configuration, and its keys still work; '
                f'"triptych keys list --org {slug}" shows them, "keys revoke" takes one back'
            )


def _is_gone(row: Mapping[str, object]) -> bool:
    return any(row.get(name) is not None for name in _GONE)


def _texts(value: object) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
