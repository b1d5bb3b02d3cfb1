"""One claim at a time, one answer for a day, nothing readable, and no key lost with a node."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import select, update

from tests.storage.conftest import opened
from triptych.core.clock import now_us
from triptych.core.outcome import Ending
from triptych.core.response import Response
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.idempotency import (
    KEPT_S,
    Claim,
    Claimant,
    IdempotencyKeys,
    InProgress,
    Reused,
)
from triptych.storage.kept import Writes
from triptych.storage.nodes import Node, give_up_lease, register_node
from triptych.storage.sealing import OrgKeys
from triptych.storage.secrets import KeyHasher
from triptych.storage.tables import exchanges, idempotency_keys

ACME = Claimant("ORG", "KEY", "clinical POST /v1/ai/chat", b"key-1")
ANSWER = Response(200, [(b"content-type", b"application/json")], b'{"secret":"the patient is Ana"}')


@pytest.fixture
def keys(database: Database, node: Node) -> IdempotencyKeys:
    return made(database, node)


def made(database: Database, node: Node) -> IdempotencyKeys:
    return IdempotencyKeys(
        database, node, OrgKeys(database, b"w" * 32), KeyHasher(b"i" * 32), longest_run_s=600
    )


def claimed(keys: IdempotencyKeys, claimant: Claimant = ACME, body: bytes = b"{}", **more: object) -> Claim:
    claim = keys.claim(claimant, body, str(more.get("exchange_id", "X1")), stream=bool(more.get("stream")))
    assert isinstance(claim, Claim)
    return claim


def run(database: Database, writes: Writes) -> None:
    with database.write() as connection:
        for write in writes:
            statement = write.statement
            if database.dialect_name == "postgresql":
                statement = statement.replace("?", "%s")
            connection.exec_driver_sql(statement, write.parameters())


def record(database: Database, exchange_id: str, ended_us: int | None) -> None:
    """A row of an exchange, ended or not."""
    facts = msgspec.structs.asdict(opened(id=exchange_id))
    with database.write() as connection:
        connection.execute(
            exchanges.insert().values(
                **facts, node_id="n1", node_epoch=1, ended_us=ended_us, ending="completed"
            )
        )


def test_the_first_answer_is_found_again_by_the_same_request_only(
    database: Database, keys: IdempotencyKeys
) -> None:
    assert keys.find(ACME, b"{}") is None
    keys.end(claimed(keys), ANSWER)
    for found in (keys.find(ACME, b"{}"), keys.claim(ACME, b"{}", "X2", stream=False)):
        assert isinstance(found, Response)
        assert (found.status, found.body, list(found.headers)) == (200, ANSWER.body, list(ANSWER.headers))
    assert keys.find(ACME, b"{ }") is None
    with pytest.raises(Reused):
        keys.claim(ACME, b"{ }", "X2", stream=False)


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(ACME, org_id="ORG2"),
        msgspec.structs.replace(ACME, key_id="KEY2"),
        msgspec.structs.replace(ACME, endpoint="clinical POST /v1/messages"),
        msgspec.structs.replace(ACME, idempotency_key=b"key-2"),
    ],
)
def test_keys_of_others_and_of_other_endpoints_are_others(keys: IdempotencyKeys, other: Claimant) -> None:
    keys.end(claimed(keys), ANSWER)
    assert keys.find(other, b"{}") is None
    assert claimed(keys, other, exchange_id="X2").exchange_id == "X2"


def test_while_the_first_runs_the_key_is_taken(keys: IdempotencyKeys) -> None:
    claimed(keys)
    with pytest.raises(InProgress):
        keys.claim(ACME, b"{}", "X2", stream=False)
    with pytest.raises(Reused):
        keys.claim(ACME, b"[]", "X2", stream=False)


def test_of_a_stream_only_that_it_runs_is_known(keys: IdempotencyKeys) -> None:
    claim = claimed(keys, stream=True)
    for body in (b"{}", b"[]"):
        with pytest.raises(InProgress):
            keys.claim(ACME, body, "X2", stream=False)
    keys.end(claim, None)
    claimed(keys, body=b"[]", exchange_id="X2")


def test_a_key_that_is_given_up_is_free(database: Database, keys: IdempotencyKeys) -> None:
    keys.end(claimed(keys), None)
    again = claimed(keys, exchange_id="X2")
    run(database, again.given_up())
    claimed(keys, exchange_id="X3")


def test_an_answer_is_kept_by_the_end_it_belongs_to_and_by_no_other(
    database: Database, keys: IdempotencyKeys
) -> None:
    claim, ended_us = claimed(keys), now_us()
    record(database, "X1", ended_us + 1)
    run(database, claim.answered(ANSWER, ended_us, Ending.COMPLETED.value))
    assert keys.find(ACME, b"{}") is None
    run(database, claim.answered(ANSWER, ended_us + 1, Ending.COMPLETED.value))
    assert keys.find(ACME, b"{}") is not None


def test_nothing_of_it_can_be_read_in_the_database(database: Database, keys: IdempotencyKeys) -> None:
    keys.end(claimed(keys, body=b'{"message":"the patient is Ana"}'), ANSWER)
    with database.read() as connection:
        (row,) = connection.execute(select(idempotency_keys)).all()
    told = b"".join(bytes(value) if isinstance(value, bytes) else str(value).encode() for value in row)
    assert b"patient" not in told
    assert b"key-1" not in told


def test_after_a_day_it_is_as_if_never_there_and_goes(database: Database, keys: IdempotencyKeys) -> None:
    keys.end(claimed(keys), ANSWER)
    keys.end(claimed(keys, msgspec.structs.replace(ACME, org_id="ORG2"), exchange_id="X2"), ANSWER)
    mine = idempotency_keys.c.org_id == "ORG"
    with database.write() as connection:
        connection.execute(
            update(idempotency_keys).where(mine).values(claimed_us=now_us() - KEPT_S * 1_000_000 - 1)
        )
    assert keys.find(ACME, b"{}") is None
    assert keys.prune() == 1
    with database.read() as connection:
        assert connection.execute(select(idempotency_keys.c.org_id)).scalars().all() == ["ORG2"]
    claimed(keys, exchange_id="X3")


def test_a_claim_whose_exchange_was_ended_by_others_has_lapsed(
    database: Database, keys: IdempotencyKeys
) -> None:
    old = claimed(keys)
    record(database, "X1", None)
    with pytest.raises(InProgress):
        keys.claim(ACME, b"{}", "X2", stream=False)
    with database.write() as connection:
        connection.execute(update(exchanges).values(ended_us=now_us(), ending="interrupted"))
    claimed(keys, body=b"[]", exchange_id="X2")
    # The one that lost it can neither answer nor free it, and undoes what the answer would tell of.
    with pytest.raises(StorageError):
        keys.end(old, ANSWER)
    keys.end(old, None)
    with pytest.raises(InProgress):
        keys.claim(ACME, b"[]", "X3", stream=False)


def test_a_claim_of_a_dead_node_has_lapsed_and_one_of_a_living_node_has_not(
    database: Database, node: Node
) -> None:
    other = made(database, register_node(database, "n2"))
    claimed(made(database, node))
    if database.dialect_name == "postgresql":
        with pytest.raises(InProgress):
            other.claim(ACME, b"{}", "X2", stream=False)
        give_up_lease(database, node)
    claimed(other, exchange_id="X2")


def test_of_many_at_once_one_gets_the_key(database: Database, node: Node) -> None:
    keys = made(database, node)

    def attempt(number: int) -> str:
        try:
            claimed(keys, exchange_id=f"X{number}")
        except InProgress:
            return "in progress"
        return "claimed"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(attempt, range(16)))
    assert sorted(found) == ["claimed", *["in progress"] * 15]


def test_what_the_ledger_writes_has_a_value_for_every_mark(database: Database, node: Node) -> None:
    claim = claimed(made(database, node))
    (write,) = claim.answered(ANSWER, 7, "completed")
    assert write.statement.count("?") == len(write.parameters())
    (freed,) = claim.given_up()
    assert freed.statement.count("?") == len(freed.parameters())
