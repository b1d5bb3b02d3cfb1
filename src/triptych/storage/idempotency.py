"""Requests that must be answered once: a client's ``Idempotency-Key``, claimed by the first exchange
that brings it and kept with its answer for 24 hours.

Keys and requests are kept as keyed hashes, the answer encrypted under the org's data key. A claim
belongs to its exchange: the answer is written, or the claim given up, in the transaction of the end
row, so that there is never an answer without its bill or a bill without its answer. A claim whose
exchange was ended by somebody else, or whose node died before the exchange began, has lapsed and is
the next one's to take. All functions block; they raise StorageError.
"""

# ruff: noqa: S608 - the SQL is made of the schema's own names; every value is a parameter

from typing import Protocol

import msgspec
from sqlalchemy import Connection, Row, delete, exists, select, text, update

from triptych.core.clock import MICROSECONDS_PER_S, now_us
from triptych.core.response import Response
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.kept import Write, Writes
from triptych.storage.nodes import Node
from triptych.storage.sealing import OrgKeys, place, seal, unseal
from triptych.storage.tables import exchanges, idempotency_keys, nodes

KEPT_S = 86_400
_KEPT_US = KEPT_S * MICROSECONDS_PER_S
_TRIES = 5
_PRUNED_AT_ONCE = 500

_i = idempotency_keys.c
_COLUMNS = "id, org_id, request_hash, exchange_id, node_id, node_epoch, stream, claimed_us"
_INSERT = text(
    f"INSERT INTO idempotency_keys ({_COLUMNS}) VALUES (:id, :org_id, :request_hash, :exchange_id, "
    ":node_id, :node_epoch, :stream, :claimed_us) ON CONFLICT (id) DO NOTHING"
)
# Only by the very end that is written with it: a fenced exchange answers nothing.
_ANSWER = (
    "UPDATE idempotency_keys SET answer = ?, answered_us = ? WHERE id = ? AND exchange_id = ? "
    "AND EXISTS (SELECT 1 FROM exchanges WHERE id = ? AND ended_us = ? AND ending = ?)"
)
_FREE = "DELETE FROM idempotency_keys WHERE id = ? AND exchange_id = ? AND answer IS NULL"


class Reused(Exception):
    """The key came with another request before."""


class InProgress(Exception):
    """The first request with the key is still being answered."""


class Hasher(Protocol):
    def hash(self, secret: bytes) -> bytes: ...


class Claimant(msgspec.Struct, frozen=True):
    """Whose key it is: the same key of another API key, or for another endpoint, is another one."""

    org_id: str
    key_id: str
    endpoint: str
    """Surface, method and path."""
    idempotency_key: bytes


class Claim(msgspec.Struct, frozen=True):
    """A key that an exchange holds until it ends."""

    id: bytes
    org_id: str
    exchange_id: str
    data_key: bytes
    """The org's: what the answer is encrypted with."""

    def answered(self, answer: Response, ended_us: int, ending: str) -> Writes:
        """What keeps the answer, for the transaction of the end row."""
        values = (ended_us, self.id, self.exchange_id, self.exchange_id, ended_us, ending)
        plain = _encoded(answer)
        return (Write(_ANSWER, values, plain, 0, self.data_key, _place(self.org_id, self.id)),)

    def given_up(self) -> Writes:
        return (Write(_FREE, (self.id, self.exchange_id)),)


class IdempotencyKeys:
    def __init__(
        self, database: Database, node: Node, keys: OrgKeys, hasher: Hasher, *, longest_run_s: float
    ) -> None:
        """``longest_run_s``: after so long no exchange can be running any more."""
        self._database = database
        self._node = node
        self._keys = keys
        self._hasher = hasher
        self._longest_run_us = int(longest_run_s * MICROSECONDS_PER_S)

    def find(self, claimant: Claimant, request: bytes) -> Response | None:
        """The first answer to the same request, if there is one already."""
        identity = self._identity(claimant)
        with self._database.read() as connection:
            row = connection.execute(select(idempotency_keys).where(_i.id == identity)).first()
        if row is None or row.answer is None or _expired(row) or row.request_hash != self._hash(request):
            return None
        return self._opened(row)

    def claim(
        self, claimant: Claimant, request: bytes, exchange_id: str, *, stream: bool
    ) -> Claim | Response:
        """Take the key for an exchange; the first answer where there is one. Raises Reused, InProgress."""
        identity, request_hash = self._identity(claimant), self._hash(request)
        data_key = self._keys.key(claimant.org_id)
        claim = Claim(identity, claimant.org_id, exchange_id, data_key)
        values = {
            "id": identity,
            "org_id": claimant.org_id,
            "request_hash": request_hash,
            "exchange_id": exchange_id,
            "node_id": self._node.id,
            "node_epoch": self._node.epoch,
            "stream": stream,
            "claimed_us": now_us(),
        }
        for _ in range(_TRIES):
            with self._database.write() as connection:
                if connection.execute(_INSERT, values).rowcount:
                    return claim
                row = connection.execute(
                    select(idempotency_keys).where(_i.id == identity).with_for_update()
                ).first()
                if row is None:
                    continue  # given up meanwhile
                if _expired(row) or (row.answer is None and self._lapsed(connection, row)):
                    connection.execute(
                        update(idempotency_keys)
                        .where(_i.id == identity)
                        .values(**values, answer=None, answered_us=None)
                    )
                    return claim
            if row.answer is None and (row.stream or row.request_hash == request_hash):
                raise InProgress
            if row.request_hash != request_hash:
                raise Reused
            return self._opened(row)
        raise InProgress

    def answer(self, connection: Connection, claim: Claim, answer: Response) -> None:
        """Keep the answer in a transaction that does what it tells of. StorageError, which undoes it, when
        the claim has lapsed and another exchange does the same."""
        kept = connection.execute(
            update(idempotency_keys)
            .where(_i.id == claim.id, _i.exchange_id == claim.exchange_id)
            .values(
                answer=seal(claim.data_key, _encoded(answer), _place(claim.org_id, claim.id)),
                answered_us=now_us(),
            )
        )
        if not kept.rowcount:
            raise StorageError("The idempotency key has been taken by another request meanwhile.")

    def end(self, claim: Claim, answer: Response | None) -> None:
        """Keep the answer, or give the key up, for an exchange without a row of its own."""
        with self._database.write() as connection:
            if answer is not None:
                self.answer(connection, claim, answer)
                return
            connection.execute(
                delete(idempotency_keys).where(
                    _i.id == claim.id, _i.exchange_id == claim.exchange_id, _i.answer.is_(None)
                )
            )

    def prune(self) -> int:
        """Take away what is older than 24 hours; returns how many."""
        pruned = 0
        while True:
            with self._database.write() as connection:
                stale = (
                    select(_i.id).where(_i.claimed_us < now_us() - _KEPT_US).limit(_PRUNED_AT_ONCE)
                ).scalar_subquery()
                gone = connection.execute(delete(idempotency_keys).where(_i.id.in_(stale))).rowcount
            pruned += gone
            if gone < _PRUNED_AT_ONCE:
                return pruned

    def _lapsed(self, connection: Connection, row: Row[*tuple[object, ...]]) -> bool:
        """Whether the exchange that holds the key will not answer any more."""
        known = connection.execute(
            select(exchanges.c.ended_us).where(exchanges.c.id == row.exchange_id)
        ).first()
        if known is not None:
            # An open row of a dead node is settled by some other one; until then its end may come.
            return known.ended_us is not None
        if row.claimed_us < now_us() - self._longest_run_us:
            return True
        if (row.node_id, row.node_epoch) == (self._node.id, self._node.epoch):
            return False
        if connection.dialect.name == "sqlite":
            return True  # the file has one server, and this is it
        moment_us = text("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        alive = exists().where(
            nodes.c.id == row.node_id, nodes.c.epoch == row.node_epoch, nodes.c.lease_until_us > moment_us
        )
        return not connection.execute(select(alive)).scalar()

    def _opened(self, row: Row[*tuple[object, ...]]) -> Response:
        data_key = self._keys.key(row.org_id)
        status, headers, body = _ANSWER_DECODER.decode(
            unseal(data_key, row.answer, _place(row.org_id, bytes(row.id)))
        )
        return Response(status, headers, body)

    def _identity(self, claimant: Claimant) -> bytes:
        parts = (claimant.org_id, claimant.key_id, claimant.endpoint)
        return self._hasher.hash(place("idempotency key", *parts) + claimant.idempotency_key)

    def _hash(self, request: bytes) -> bytes:
        return self._hasher.hash(b"request\0" + request)


_ANSWER_DECODER = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, bytes]], bytes])


def _encoded(answer: Response) -> bytes:
    return msgspec.msgpack.encode((answer.status, list(answer.headers), answer.body))


def _expired(row: Row[*tuple[object, ...]]) -> bool:
    return bool(row.claimed_us < now_us() - _KEPT_US)


def _place(org_id: str, identity: bytes) -> bytes:
    return place("idempotent answer", org_id, identity.hex())
