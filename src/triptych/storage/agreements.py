"""Agreements as they are kept: versions of the text, and what was signed when by whom.

A text that has a version never changes, and neither does an acceptance, but for its end. Every act
counts the directory's version up, so that all nodes judge by it within a second. All functions block
and raise StorageError.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources

import msgspec
from sqlalchemy import Connection, Row, RowMapping, insert, select, update

from triptych.core.agreement import (
    ACTIVE,
    Acceptance,
    Agreement,
    Template,
    agreement_of,
    in_effect,
    status_of,
)
from triptych.core.clock import now_us
from triptych.core.ids import new_ulid
from triptych.core.plans import EVALUATION
from triptych.storage.admin_actions import (
    BAA_ACCEPTED,
    BAA_ENDED,
    BAA_TEMPLATE_ADDED,
    FROM_FILE,
    Actor,
    note,
)
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.tables import baa_acceptances, baa_templates, orgs
from triptych.storage.versions import changing

FIRST_VERSION = "2026-11-29"
"""Of the text that comes with the program: there to be replaced by one's own."""
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+")
MAX_TEXT_CHARS = 1_000_000
_MAX_NAME_CHARS = 200


class Books(msgspec.Struct, frozen=True):
    """Everything that decides about agreements, as of one moment."""

    templates: tuple[Template, ...]
    acceptances: Mapping[str, Sequence[Acceptance]]
    """By org, newest first."""

    def of(self, org: RowMapping, moment_us: int) -> Agreement:
        """``org``: its row."""
        signed = self.acceptances.get(org["id"], ())
        return agreement_of(org["baa"], org["baa_stated_us"], signed, self.templates, moment_us)


def read_books(connection: Connection) -> Books:
    found: dict[str, list[Acceptance]] = {}
    for row in connection.execute(select(baa_acceptances).order_by(baa_acceptances.c.id.desc())):
        found.setdefault(row.org_id, []).append(_acceptance(row))
    return Books(tuple(_templates(connection)), found)


def shipped_text() -> str:
    """The agreement's text that comes with the program."""
    return resources.files("triptych.storage").joinpath("baa_template.txt").read_text(encoding="utf-8")


def add_template(
    database: Database, actor: Actor, version: str, text: str, *, effective_us: int | None = None
) -> Template:
    """A new version of the text, the one to sign from ``effective_us`` on (now). The same text under
    the same version again changes nothing."""
    if not _VERSION.fullmatch(version):
        raise StorageError(
            f"A template's version cannot be {version!r}: use 1 to 64 letters, digits, dots, - and _."
        )
    text = text.replace("\r\n", "\n").strip() + "\n"
    if not 1 < len(text) <= MAX_TEXT_CHARS:
        raise StorageError(f"A template's text has 1 to {MAX_TEXT_CHARS} characters.")
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    with changing(database) as change:
        known = change.connection.execute(
            select(baa_templates).where(baa_templates.c.version == version)
        ).first()
        if known is not None:
            if known.sha256 != sha256:
                raise StorageError(
                    f"The template {version} is there with another text (SHA-256 {known.sha256[:16]}...), "
                    "which orgs may have signed. Give the new text a version of its own."
                )
            return _template(known)
        template = Template(version, sha256, effective_us if effective_us is not None else now_us())
        change.connection.execute(
            insert(baa_templates).values(
                version=version,
                sha256=sha256,
                text=text,
                created_us=now_us(),
                effective_us=template.effective_us,
            )
        )
        note(
            change.connection,
            actor,
            BAA_TEMPLATE_ADDED,
            org_id=None,
            entity=("baa_template", version),
            metadata={"sha256": sha256, "effective_us": template.effective_us},
        )
        change.changed = True
    return template


def ensure_template(database: Database) -> None:
    """Where there is none yet, the text that comes with the program is the one to sign."""
    with database.read() as connection:
        if connection.execute(select(baa_templates.c.version)).first() is not None:
            return
    add_template(database, FROM_FILE, FIRST_VERSION, shipped_text(), effective_us=0)


def list_templates(database: Database) -> list[Template]:
    """All, in the order in which they take effect."""
    with database.read() as connection:
        return _templates(connection)


def template_text(database: Database, version: str) -> str:
    with database.read() as connection:
        text = connection.execute(
            select(baa_templates.c.text).where(baa_templates.c.version == version)
        ).scalar()
    if text is None:
        raise StorageError(f"There is no template {version!r}.")
    return str(text)


def sign(
    database: Database,
    actor: Actor,
    org_slug: str,
    *,
    name: str,
    title: str,
    email: str,
    version: str | None = None,
    expires_us: int | None = None,
) -> Acceptance:
    """Accept an agreement for an org: that which is in effect, or another ``version`` of it that is
    not superseded."""
    moment_us = now_us()
    for what, text in (("name", name), ("title", title)):
        if not text.strip() or len(text) > _MAX_NAME_CHARS or not text.isprintable():
            raise StorageError(f"The signer's {what} has 1 to {_MAX_NAME_CHARS} printable characters.")
    if len(email) > _MAX_NAME_CHARS or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise StorageError(f"The signer's e-mail address cannot be {email!r}.")
    if expires_us is not None and expires_us <= moment_us:
        raise StorageError("An agreement cannot expire before it is signed.")
    ensure_template(database)
    with changing(database) as change:
        org_id = _org_id(change.connection, org_slug)
        templates = _templates(change.connection)
        template = _to_sign(templates, version, moment_us)
        acceptance = Acceptance(
            id=new_ulid(),
            org_id=org_id,
            template_version=template.version,
            template_sha256=template.sha256,
            signer_name=name.strip(),
            signer_title=title.strip(),
            signer_email=email,
            ip_address=actor.ip_address,
            accepted_us=moment_us,
            expires_us=expires_us,
            ended_us=None,
        )
        if status_of(acceptance, templates, moment_us)[0] != ACTIVE:
            newer = _to_sign(templates, None, moment_us).version
            raise StorageError(f"The template {template.version} is superseded: sign {newer}.")
        change.connection.execute(insert(baa_acceptances).values(**msgspec.structs.asdict(acceptance)))
        note(
            change.connection,
            actor,
            BAA_ACCEPTED,
            org_id=org_id,
            entity=("baa_acceptance", acceptance.id),
            metadata={
                "template_version": template.version,
                "template_sha256": template.sha256,
                "signer_name": acceptance.signer_name,
                "signer_title": acceptance.signer_title,
                "signer_email": acceptance.signer_email,
                "expires_us": expires_us,
            },
        )
        change.changed = True
    return acceptance


def end(database: Database, actor: Actor, org_slug: str, *, at_us: int | None = None) -> list[Acceptance]:
    """End every acceptance of an org that is still good, now or at a later moment; returns them."""
    moment_us = now_us()
    ended_us = moment_us if at_us is None else at_us
    if ended_us < moment_us:
        raise StorageError("An agreement cannot be ended in the past: name a moment to come, or none.")
    with changing(database) as change:
        org_id = _org_id(change.connection, org_slug)
        templates = _templates(change.connection)
        rows = change.connection.execute(select(baa_acceptances).where(baa_acceptances.c.org_id == org_id))
        good = [
            acceptance
            for acceptance in map(_acceptance, rows.all())
            if status_of(acceptance, templates, moment_us)[0] == ACTIVE
        ]
        for acceptance in good:
            change.connection.execute(
                update(baa_acceptances).where(baa_acceptances.c.id == acceptance.id).values(ended_us=ended_us)
            )
            note(
                change.connection,
                actor,
                BAA_ENDED,
                org_id=org_id,
                entity=("baa_acceptance", acceptance.id),
                metadata={"ended_us": ended_us},
            )
            change.changed = True
    return [msgspec.structs.replace(acceptance, ended_us=ended_us) for acceptance in good]


def acceptances_of(
    database: Database, org_id: str, *, before: str | None = None, limit: int | None = None
) -> list[Acceptance]:
    """Newest first; ``before``: only those of a lower id."""
    query = (
        select(baa_acceptances)
        .where(baa_acceptances.c.org_id == org_id)
        .order_by(baa_acceptances.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(baa_acceptances.c.id < before)
    with database.read() as connection:
        return [_acceptance(row) for row in connection.execute(query)]


def find_acceptance(database: Database, org_id: str | None, acceptance_id: str) -> Acceptance | None:
    """``org_id`` None: of any org, for whoever runs the installation."""
    query = select(baa_acceptances).where(baa_acceptances.c.id == acceptance_id)
    if org_id is not None:
        query = query.where(baa_acceptances.c.org_id == org_id)
    with database.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else _acceptance(row)


class OrgAgreement(msgspec.Struct, frozen=True):
    """An org's agreement as it may be shown."""

    org_id: str
    org_slug: str
    required: bool
    """Whether its calls are refused without one."""
    agreement: Agreement


def agreements(
    database: Database, *, org_id: str | None = None
) -> tuple[list[OrgAgreement], Template | None]:
    """Of every org that is in use, or of one; and the template to sign."""
    moment_us = now_us()
    query = select(orgs).where(orgs.c.removed_us.is_(None)).order_by(orgs.c.slug)
    if org_id is not None:
        query = query.where(orgs.c.id == org_id)
    with database.read() as connection:
        books = read_books(connection)
        found = [
            OrgAgreement(row["id"], row["slug"], _required(row), books.of(row, moment_us))
            for row in connection.execute(query).mappings()
        ]
    return found, in_effect(books.templates, moment_us)


def _required(org: RowMapping) -> bool:
    return bool(org["compliance"] == "hipaa" and org["plan"] != EVALUATION)


def _org_id(connection: Connection, slug: str) -> str:
    found = connection.execute(
        select(orgs.c.id).where(orgs.c.slug == slug, orgs.c.removed_us.is_(None))
    ).scalar()
    if found is None:
        raise StorageError(f'There is no org "{slug}" in the database.')
    return str(found)


def _to_sign(templates: Sequence[Template], version: str | None, moment_us: int) -> Template:
    if version is None:
        template = in_effect(templates, moment_us)
        if template is None:
            raise StorageError("No template is in effect yet.")
        return template
    for template in templates:
        if template.version == version:
            return template
    known = ", ".join(template.version for template in templates)
    raise StorageError(f"There is no template {version!r}. There are: {known}.")


def _templates(connection: Connection) -> list[Template]:
    rows = connection.execute(
        select(baa_templates).order_by(baa_templates.c.effective_us, baa_templates.c.version)
    )
    return [_template(row) for row in rows]


def _template(row: Row[*tuple[object, ...]]) -> Template:
    return Template(row.version, row.sha256, row.effective_us)


def _acceptance(row: Row[*tuple[object, ...]]) -> Acceptance:
    return Acceptance(**row._mapping)
