"""Business Associate Agreements (45 CFR 164.504(e)): in which state an org's is, at a moment.

Two can say so: the configuration (``baa = "active"``), and acceptances that were signed. The newer of
the two words holds; an acceptance is good until it expires, an administrator ends it, or a newer
version of the agreement takes effect.
"""

from collections.abc import Sequence

import msgspec

NONE, ACTIVE, EXPIRED, SUPERSEDED = "none", "active", "expired", "superseded"


class Template(msgspec.Struct, frozen=True):
    """A version of the agreement's text."""

    version: str
    sha256: str
    """Of the text in UTF-8, in hex."""
    effective_us: int
    """From then on it is the one to sign."""


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """A signed agreement. Instants are microseconds since the epoch."""

    id: str
    """A bare ULID."""
    org_id: str
    template_version: str
    template_sha256: str
    signer_name: str
    signer_title: str
    signer_email: str
    ip_address: str | None
    """None: signed on the gateway's own machine."""
    accepted_us: int
    expires_us: int | None
    ended_us: int | None


class Agreement(msgspec.Struct, frozen=True):
    """The state at a moment, and until when it stays so by itself."""

    status: str
    acceptance: Acceptance | None = None
    """Whose word holds; None: the configuration's, or nobody's."""
    until_us: int | None = None
    """When an active one stops being so; None: not by the passing of time."""


def in_effect(templates: Sequence[Template], moment_us: int) -> Template | None:
    """The one to sign at a moment: of those in effect, that which took effect last."""
    return max(
        (template for template in templates if template.effective_us <= moment_us),
        key=lambda template: (template.effective_us, template.version),
        default=None,
    )


def agreement_of(
    stated: str,
    stated_us: int,
    acceptances: Sequence[Acceptance],
    templates: Sequence[Template],
    moment_us: int,
) -> Agreement:
    """``stated``: what the configuration says, since ``stated_us``; of one org."""
    newest = max(acceptances, key=lambda acceptance: (acceptance.accepted_us, acceptance.id), default=None)
    if newest is None or (stated != NONE and stated_us > newest.accepted_us):
        return Agreement(stated)
    status, until_us = status_of(newest, templates, moment_us)
    return Agreement(status, newest, until_us)


def status_of(
    acceptance: Acceptance, templates: Sequence[Template], moment_us: int
) -> tuple[str, int | None]:
    """``active`` with its end if it has one, ``expired`` or ``superseded``: whichever came first."""
    signed = next(
        (template for template in templates if template.version == acceptance.template_version), None
    )
    superseded_us = None
    if signed is not None:
        newer = (
            template.effective_us
            for template in templates
            if (template.effective_us, template.version) > (signed.effective_us, signed.version)
        )
        superseded_us = min(newer, default=None)
    ends = [
        (end_us, status)
        for end_us, status in (
            (acceptance.ended_us, EXPIRED),
            (acceptance.expires_us, EXPIRED),
            (superseded_us, SUPERSEDED),
        )
        if end_us is not None
    ]
    if not ends:
        return ACTIVE, None
    end_us, status = min(ends)
    return (status, None) if end_us <= moment_us else (ACTIVE, end_us)
