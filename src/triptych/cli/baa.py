"""``triptych baa``: versions of the Business Associate Agreement, and what orgs signed of it."""

import getpass
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli.keys import OrgOption, opened_vault
from triptych.cli.options import ConfigOption, help_when_alone
from triptych.cli.terminal import note, program, say, table, warn

if TYPE_CHECKING:
    from triptych.core.agreement import Acceptance, Template
    from triptych.storage.admin_actions import Actor
    from triptych.storage.database import Database

_SHOWN_HASH_CHARS = 16


def build() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)
    app.callback(invoke_without_command=True)(_baa)
    templates = typer.Typer(rich_markup_mode=None)
    templates.callback(invoke_without_command=True)(_templates)
    templates.command("add")(add)
    templates.command("show")(show)
    app.add_typer(templates, name="templates")
    app.command("status")(status)
    app.command("sign")(sign)
    app.command("list")(list_)
    app.command("expire")(expire)
    app.command("pdf")(pdf)
    return app


def _baa(context: typer.Context) -> None:
    """Sign, end and show Business Associate Agreements."""
    help_when_alone(context)


def _templates(context: typer.Context, config: ConfigOption = None) -> None:
    """List the versions of the agreement's text; "add" adds one, "show" prints one."""
    if context.invoked_subcommand is not None:
        return
    from triptych.core.agreement import in_effect
    from triptych.core.clock import now_us
    from triptych.storage.agreements import ensure_template, list_templates

    with opened_vault(config) as (_, vault):
        ensure_template(vault.database)
        found = list_templates(vault.database)
    now = now_us()
    current = in_effect(found, now)
    rows = []
    for template in found:
        state = "to sign" if template is current else "superseded"
        if template.effective_us > now:
            state = f"from {_time(template.effective_us)}"
        rows.append((template.version, template.sha256, state))
    say(table(("VERSION", "SHA-256", "STATE"), rows))


def add(
    file: Annotated[Path, typer.Argument(help="The text, in UTF-8.", show_default=False)],
    version: Annotated[str, typer.Option(help="What to call it, such as 2027-01.", show_default=False)],
    config: ConfigOption = None,
    effective: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From when on it is the one to sign; now.", show_default=False),
    ] = None,
) -> None:
    """Add a version of the text. From its time on, what was signed of older ones is superseded."""
    from triptych.storage.agreements import add_template, ensure_template

    text = _text(file)
    effective_us = _moment("--effective", effective)
    with opened_vault(config) as (_, vault):
        ensure_template(vault.database)
        template = add_template(vault.database, _actor(), version, text, effective_us=effective_us)
    say(f"Template {template.version}, SHA-256 {template.sha256}, from {_time(template.effective_us)} on.")


def _text(file: Path) -> str:
    """One character more than the storage takes may be missing at the end, and it says so."""
    from triptych.storage.agreements import MAX_TEXT_CHARS
    from triptych.storage.errors import StorageError

    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(MAX_TEXT_CHARS + 1)
    except UnicodeDecodeError as error:
        raise StorageError(f"{file}: not UTF-8 at byte {error.start}") from None


def show(
    version: Annotated[str, typer.Argument(help="Its version.", show_default=False)],
    config: ConfigOption = None,
) -> None:
    """Print the text of a version."""
    from triptych.storage.agreements import ensure_template, template_text

    with opened_vault(config) as (_, vault):
        ensure_template(vault.database)
        say(template_text(vault.database, version).rstrip("\n"))


def status(config: ConfigOption = None) -> None:
    """Show the state of every org's agreement."""
    from triptych.storage.agreements import agreements, ensure_template

    with opened_vault(config) as (_, vault):
        ensure_template(vault.database)
        found, _ = agreements(vault.database)
    rows = []
    for one in found:
        signed, until_us = one.agreement.acceptance, one.agreement.until_us
        rows.append(
            (
                one.org_slug,
                "yes" if one.required else "no",
                one.agreement.status,
                "-" if signed is None else f"baa_{signed.id}",
                "-" if until_us is None else _time(until_us),
            )
        )
    say(table(("ORG", "NEEDED", "STATE", "BY", "UNTIL"), rows))


def sign(
    name: Annotated[str, typer.Option(help="Who signs.", show_default=False)],
    title: Annotated[str, typer.Option(help="As what: the signer's position.", show_default=False)],
    email: Annotated[str, typer.Option(help="The signer's e-mail address.", show_default=False)],
    config: ConfigOption = None,
    org: OrgOption = None,
    template: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="The version to sign; that in effect.", show_default=False),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it ends by itself; never.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is agreed to.")] = False,
) -> None:
    """Sign the agreement for an org. Running gateways let its requests through within a second.

    --org may be left out where there is but one. TIME is a date (midnight UTC), an RFC 3339 time, or a
    number of days such as 365d.
    """
    from triptych.storage.agreements import ensure_template, list_templates
    from triptych.storage.agreements import sign as accept

    expires_us = _moment("--expires", expires)
    with opened_vault(config) as (_, vault):
        ensure_template(vault.database)
        slug = _org(vault.database, org)
        # A script that names all of it has decided already.
        if not yes and sys.stdin.isatty():
            _confirm(list_templates(vault.database), template)
        signed = accept(
            vault.database,
            _actor(),
            slug,
            name=name,
            title=title,
            email=email,
            version=template,
            expires_us=expires_us,
        )
    say(
        f"baa_{signed.id}: {slug} accepted template {signed.template_version} "
        f"(SHA-256 {signed.template_sha256[:_SHOWN_HASH_CHARS]}...), signed by {signed.signer_name}"
        + (f", until {_time(signed.expires_us)}." if signed.expires_us is not None else ".")
    )


def list_(
    config: ConfigOption = None,
    org: Annotated[str | None, typer.Option("--org", help="This org alone.", show_default=False)] = None,
) -> None:
    """List what was signed, newest first."""
    from triptych.core.agreement import status_of
    from triptych.core.clock import now_us
    from triptych.storage.agreements import acceptances_of, agreements, list_templates
    from triptych.storage.errors import StorageError

    with opened_vault(config) as (_, vault):
        orgs, _ = agreements(vault.database)
        if org is not None and org not in {one.org_slug for one in orgs}:
            raise StorageError(f'There is no org "{org}" in the database.')
        templates = list_templates(vault.database)
        signed = [
            (one.org_slug, acceptance)
            for one in orgs
            if org in (None, one.org_slug)
            for acceptance in acceptances_of(vault.database, one.org_id)
        ]
    signed.sort(key=lambda pair: pair[1].id, reverse=True)
    now = now_us()
    rows = [
        (
            f"baa_{one.id}",
            slug,
            one.template_version,
            f"{one.signer_name} ({one.signer_title}) <{one.signer_email}>",
            _time(one.accepted_us),
            _end(one),
            status_of(one, templates, now)[0],
        )
        for slug, one in signed
    ]
    say(table(("ID", "ORG", "TEMPLATE", "SIGNER", "SIGNED", "ENDS", "STATE"), rows))


def expire(
    config: ConfigOption = None,
    org: OrgOption = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When; now.", show_default=False)] = None,
) -> None:
    """End an org's agreement. Running gateways refuse its requests within a second."""
    from triptych.storage.agreements import agreements, end

    at_us = _moment("--at", at)
    with opened_vault(config) as (_, vault):
        slug = _org(vault.database, org)
        ended = end(vault.database, _actor(), slug, at_us=at_us)
        found, _ = agreements(vault.database)
    for one in ended:
        assert one.ended_us is not None
        say(f"baa_{one.id} ends at {_time(one.ended_us)}.")
    stated = next((one.agreement for one in found if one.org_slug == slug), None)
    if not ended:
        note(f'There is no acceptance of "{slug}" to end.')
    if at_us is None and stated is not None and stated.status == "active":
        warn(
            f'the configuration states baa = "active" for "{slug}", and that holds: state another there, '
            f'then "{program()} apply FILE"'
        )


def pdf(
    acceptance: Annotated[str, typer.Argument(help='Its id, as "baa list" shows it.', show_default=False)],
    output: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)],
    config: ConfigOption = None,
) -> None:
    """Write an acceptance, with the text that was signed, as a PDF."""
    from triptych.storage.agreements import agreements, find_acceptance, template_text
    from triptych.storage.errors import StorageError
    from triptych.surfaces.clinical.agreement_pdf import acceptance_pdf

    with opened_vault(config) as (_, vault):
        signed = find_acceptance(vault.database, None, acceptance.removeprefix("baa_"))
        if signed is None:
            raise StorageError(f"There is no acceptance {acceptance!r}.")
        orgs, _ = agreements(vault.database, org_id=signed.org_id)
        slug = orgs[0].org_slug if orgs else signed.org_id
        text = template_text(vault.database, signed.template_version)
    output.write_bytes(acceptance_pdf(signed, slug, text))
    say(f"Wrote {output}.")


def _confirm(templates: "list[Template]", version: str | None) -> None:
    from triptych.core.agreement import in_effect
    from triptych.core.clock import now_us

    named = (template for template in templates if template.version == version)
    template = in_effect(templates, now_us()) if version is None else next(named, None)
    if template is not None:
        note(
            f"This accepts template {template.version}, SHA-256 {template.sha256}; read it with "
            f'"{program()} baa templates show {template.version}".'
        )
        typer.confirm("Does the org agree to it, and may you sign for it?", abort=True, err=True)


def _org(database: "Database", org: str | None) -> str:
    from triptych.storage.agreements import agreements

    if org is not None:
        return org
    found, _ = agreements(database)
    if len(found) != 1:
        raise typer.BadParameter(
            f"say which: there are {', '.join(one.org_slug for one in found)}"
            if found
            else "there are no orgs yet",
            param_hint="--org",
        )
    return found[0].org_slug


def _actor() -> "Actor":
    from triptych.storage.admin_actions import CLI, Actor

    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        login = None
    return Actor(CLI, name=login)


def _moment(option: str, text: str | None) -> int | None:
    """Microseconds since the epoch."""
    if text is None:
        return None
    try:
        if text.endswith("d") and text[:-1].isdecimal():
            moment = datetime.now(UTC) + timedelta(days=int(text[:-1]))
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r}: expected a date, an RFC 3339 time, or days such as 365d", param_hint=option
        ) from error


def _end(acceptance: "Acceptance") -> str:
    ends = [end for end in (acceptance.expires_us, acceptance.ended_us) if end is not None]
    return _time(min(ends)) if ends else "-"


def _time(moment_us: int) -> str:
    from triptych.core.clock import rfc3339

    return rfc3339(moment_us // 1_000_000)
