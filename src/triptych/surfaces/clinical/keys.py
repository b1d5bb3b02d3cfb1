"""``/v1/api_keys``: an org's keys, listed, made and taken back over the API."""

from collections.abc import Callable
from typing import Any

import msgspec

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.principal import SCOPES, Principal
from triptych.core.response import Response
from triptych.stages.settle import Dialect
from triptych.storage.database import Database
from triptych.storage.keys import (
    MAX_NAME_CHARS,
    Delegate,
    IssuedKey,
    KeyRecord,
    delegate_key,
    page_of_keys,
    revoke_own_key,
)
from triptych.storage.secrets import KeyHasher
from triptych.storage.versions import changing
from triptych.surfaces.clinical.control import (
    actor_of,
    answer,
    bare_id,
    confirmed,
    fields_of,
    moment,
    page_of,
    paged,
    stored,
)
from triptych.wires import faults

PREFIX = "key_"
_ENVIRONMENTS = ("live", "test")


class Wanted(msgspec.Struct, frozen=True):
    """A key that is asked for."""

    name: str
    scopes: tuple[str, ...]
    environment: str


class Keys:
    def __init__(
        self, database: Database, hasher: KeyHasher, prefix: str, confirm: Callable[[], object]
    ) -> None:
        """``prefix`` of issued keys; ``confirm`` lets this node know of a change at once (blocks)."""
        self._database = database
        self._hasher = hasher
        self._prefix = prefix
        self._confirm = confirm

    async def list(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Those that are not revoked. Raises Failure INVALID_BODY (query)."""
        page, principal = page_of(exchange), exchange.principal
        records = await stored(
            lambda: page_of_keys(
                self._database,
                principal.org_id,
                environment=_seen(principal),
                before=page.before,
                limit=page.limit + 1,
            )
        )
        shown = [{**_shown(record), "revoked_at": None} for record in records]
        return paged(exchange, dialect, page, [record.id for record in records], shown)

    async def create(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Raises Failure INVALID_BODY, INSUFFICIENT_SCOPE (a scope its maker lacks), KEY_REVOKED (by now),
        and those of ``core.exchange.Once.take``."""
        principal = exchange.principal
        wanted = wanted_key(exchange)
        if not principal.admin:
            for scope in wanted.scopes:
                if scope not in principal.scopes:
                    raise Failure(
                        FailureKind.INSUFFICIENT_SCOPE,
                        f"The API key lacks the scope '{scope}' and cannot grant it; an admin's key can.",
                        param="scopes",
                        details={"required_scope": scope},
                    )
        if exchange.once is not None:
            known = await exchange.once.take(False)
            if known is not None:
                return known
        return await stored(lambda: self._create(exchange, wanted, dialect))

    def _create(self, exchange: Exchange, wanted: Wanted, dialect: Dialect) -> Response:
        principal = exchange.principal
        maker = Delegate(
            principal.org_id, principal.org_slug, principal.user_id, principal.key_id, principal.admin
        )
        with changing(self._database) as change:
            issued = delegate_key(
                change,
                self._hasher,
                maker,
                wanted.name,
                wanted.scopes,
                wanted.environment,
                self._prefix,
                actor_of(exchange),
            )
            if issued is None:
                raise Failure(FailureKind.KEY_REVOKED)
            made = answer(exchange, dialect, _made(issued), status=201)
            if exchange.once is not None:
                exchange.once.answered_in(change.connection, made)
        confirmed(self._confirm)
        return made

    async def revoke(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Raises Failure RESOURCE_NOT_FOUND: unknown, revoked already, or another org's."""
        key_id, principal = bare_id(parameters[0], PREFIX), exchange.principal

        def work() -> KeyRecord | None:
            record = revoke_own_key(
                self._database,
                principal.org_id,
                key_id,
                environment=_seen(principal),
                actor=actor_of(exchange),
            )
            if record is not None:
                confirmed(self._confirm)
            return record

        record = await stored(work)
        if record is None:
            raise Failure(FailureKind.RESOURCE_NOT_FOUND)
        data = {"id": PREFIX + record.id, "revoked_at": moment(record.revoked_us)}
        return answer(exchange, dialect, data)


def wanted_key(exchange: Exchange) -> Wanted:
    """Raises Failure INVALID_BODY."""
    fields = fields_of(exchange, "name", "scopes", "environment")
    for required in ("name", "scopes"):
        if required not in fields:
            raise faults.wrong(required, "is required")
    name = faults.text(fields["name"])
    if name is None or not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable() or not name.strip():
        raise faults.wrong("name", f"must be a text of 1 to {MAX_NAME_CHARS} printable characters")
    listed = faults.array(fields["scopes"])
    if not listed:
        raise faults.wrong("scopes", "must be a non-empty array of scopes")
    scopes: list[str] = []
    for place, raw in enumerate(listed):
        wanted = faults.text(raw)
        if wanted not in SCOPES:
            raise faults.wrong(f"scopes[{place}]", f"must be one of {', '.join(sorted(SCOPES))}")
        scopes.append(wanted)
    test_key = exchange.principal.environment == "test"
    environment = "test" if test_key else "live"
    if "environment" in fields:
        environment = faults.text(fields["environment"]) or ""
        if environment not in _ENVIRONMENTS:
            raise faults.wrong("environment", 'must be "live" or "test"')
        if environment == "live" and test_key and not exchange.principal.admin:
            raise faults.wrong("environment", 'must be "test": a test key makes test keys only')
    return Wanted(name, tuple(sorted(set(scopes))), environment)


def _seen(principal: Principal) -> str | None:
    """The environment whose keys a key sees: a test key those for testing, others all."""
    return "test" if principal.environment == "test" and not principal.admin else None


def _shown(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": PREFIX + record.id,
        "name": record.name,
        "prefix": record.prefix,
        "last_four": record.last_four,
        "scopes": sorted(SCOPES if record.scopes is None else record.scopes),
        "environment": record.environment,
        "created_at": moment(record.created_us),
        "expires_at": moment(record.expires_us),
    }


def _made(issued: IssuedKey) -> dict[str, Any]:
    shown = _shown(issued.record)
    return {"id": shown.pop("id"), "name": shown.pop("name"), "plaintext": issued.plaintext, **shown}
