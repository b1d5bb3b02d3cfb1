"""``/v1/compliance/baa``: the state of an org's Business Associate Agreement, and what was signed.

Any valid key may ask, with an agreement or without: this is where its absence is explained.
"""

import asyncio
from typing import Any

from triptych.core.agreement import Acceptance, Template, status_of
from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response
from triptych.stages.settle import Dialect
from triptych.storage.agreements import (
    acceptances_of,
    agreements,
    find_acceptance,
    list_templates,
    template_text,
)
from triptych.storage.database import Database
from triptych.surfaces.clinical.agreement_pdf import acceptance_pdf
from triptych.surfaces.clinical.control import answer, bare_id, moment, page_of, paged, stored

BAA_PATH = "/v1/compliance/baa"
PREFIX = "baa_"
MOST_PRINTED = 64
"""PDFs that are kept, some 20 kB each: what was signed changes only when it is ended."""
_PDF = (b"content-type", b"application/pdf")


class Compliance:
    def __init__(self, database: Database, signing_url: str | None) -> None:
        self._database = database
        self._signing_url = signing_url
        self._printed: dict[tuple[Acceptance, str], bytes] = {}
        self._printing = asyncio.Lock()

    async def baa(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        org_id = exchange.principal.org_id
        found, template = await stored(lambda: agreements(self._database, org_id=org_id))
        if not found:
            raise Failure(FailureKind.RESOURCE_NOT_FOUND)
        one = found[0]
        signed = one.agreement.acceptance
        data = {
            "status": one.agreement.status,
            "required": one.required,
            "template": None
            if template is None
            else {"version": template.version, "sha256": template.sha256},
            "signing_url": self._signing_url,
            "accepted_at": None if signed is None else moment(signed.accepted_us),
            "expires_at": None if signed is None else moment(_end_us(signed)),
        }
        return answer(exchange, dialect, data)

    async def list(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Raises Failure INVALID_BODY (query)."""
        page, org_id = page_of(exchange), exchange.principal.org_id
        signed, templates = await stored(
            lambda: (
                acceptances_of(self._database, org_id, before=page.before, limit=page.limit + 1),
                list_templates(self._database),
            )
        )
        shown = [shown_acceptance(one, templates) for one in signed]
        return paged(exchange, dialect, page, [one.id for one in signed], shown)

    async def retrieve(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Raises Failure RESOURCE_NOT_FOUND."""
        signed = await self._find(exchange, parameters[0])
        templates = await stored(lambda: list_templates(self._database))
        return answer(exchange, dialect, shown_acceptance(signed, templates))

    async def download(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """The agreement and its signature as PDF. Raises Failure RESOURCE_NOT_FOUND."""
        signed = await self._find(exchange, parameters[0])
        slug = exchange.principal.org_slug
        body = await self._print(signed, slug)
        name = b'attachment; filename="baa_%b.pdf"' % signed.id.encode()
        headers = (_PDF, (b"content-disposition", name), (b"cache-control", b"private, no-store"))
        return Response(200, (*dialect.answer_headers(exchange), *headers), body)

    async def _print(self, signed: Acceptance, slug: str) -> bytes:
        """Making one takes a tenth of a second of the whole gateway: one at a time, and once. Who waits takes
        no thread."""

        def work() -> bytes:
            return acceptance_pdf(signed, slug, template_text(self._database, signed.template_version))

        async with self._printing:
            printed = self._printed.get((signed, slug))
            if printed is None:
                printed = await stored(work)
                if len(self._printed) >= MOST_PRINTED:
                    del self._printed[next(iter(self._printed))]
                self._printed[signed, slug] = printed
            return printed

    async def _find(self, exchange: Exchange, parameter: bytes) -> Acceptance:
        identity, org_id = bare_id(parameter, PREFIX), exchange.principal.org_id
        signed = await stored(lambda: find_acceptance(self._database, org_id, identity))
        if signed is None:
            raise Failure(FailureKind.RESOURCE_NOT_FOUND)
        return signed


def shown_acceptance(signed: Acceptance, templates: list[Template]) -> dict[str, Any]:
    return {
        "id": PREFIX + signed.id,
        "status": status_of(signed, templates, now_us())[0],
        "template": {"version": signed.template_version, "sha256": signed.template_sha256},
        "signer": {"name": signed.signer_name, "title": signed.signer_title, "email": signed.signer_email},
        "ip_address": signed.ip_address,
        "accepted_at": moment(signed.accepted_us),
        "expires_at": moment(_end_us(signed)),
    }


def _end_us(signed: Acceptance) -> int | None:
    ends = [end_us for end_us in (signed.expires_us, signed.ended_us) if end_us is not None]
    return min(ends, default=None)
