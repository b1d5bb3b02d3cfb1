"""Stored responses: written with the end row, encrypted, found by their owner only, pruned."""

import asyncio

import pytest
from sqlalchemy import select, update

from tests.storage.answered import (
    ANA,
    BOB,
    DAY_US,
    SECRET,
    STRANGER,
    answered,
    content,
    counted,
    keeping,
    played,
    principal,
    said,
)
from tests.storage.conftest import WRAPPING, opened, outcome
from tests.storage.ledgers import ENDED_US, rows
from triptych.core.clock import now_us
from triptych.core.outcome import Ending
from triptych.storage import kept
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.ledger import Ledger
from triptych.storage.nodes import Node, register_node, settle_orphans
from triptych.storage.responses import EVENTS_KEPT_US, Forbidden, StoredResponses
from triptych.storage.sealing import OrgKeys
from triptych.storage.tables import org_data_keys, stored_events, stored_responses


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_who_saw_the_end_finds_the_response(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses, durability: str
) -> None:
    async def play(ledger: Ledger) -> None:
        exchange_id = await answered(ledger, keys)
        found = stored.find(ANA, "resp_1")
        assert found is not None
        assert (found.exchange_id, found.status, found.newest, found.continuable) == (
            exchange_id,
            "completed",
            True,
            True,
        )
        assert SECRET in bytes(found.content.response).decode()
        assert said(stored.conversation(ANA, "conv_1")) == ["who?"]

    played(database, node, play, durability=durability)


def test_nothing_of_the_content_can_be_read_in_the_database(
    database: Database, node: Node, keys: OrgKeys
) -> None:
    async def play(ledger: Ledger) -> None:
        start = opened()
        keep = keeping(keys, start.id)
        await ledger.open(start)
        await ledger.keep(start.id, kept.begin(keep, "resp_1", content()))
        await ledger.keep(start.id, kept.part(keep, 0, SECRET.encode(), now_us()))
        await answered(ledger, keys)

    played(database, node, play)
    with database.read() as connection:
        held = [
            *connection.execute(select(stored_responses.c.content)).scalars(),
            *connection.execute(select(stored_events.c.content)).scalars(),
            *connection.execute(select(org_data_keys.c.wrapped)).scalars(),
        ]
    assert len(held) == 4
    for blob in held:
        assert b"Rumpelstiltskin" not in blob and keys.key("ORG") not in blob


def test_content_moved_to_another_row_or_changed_does_not_open(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        await answered(ledger, keys, response_id="resp_1")
        await answered(ledger, keys, response_id="resp_2")

    played(database, node, play)
    column = stored_responses.c
    with database.write() as connection:
        first = connection.execute(select(column.content).where(column.id == "resp_1")).scalar_one()
        connection.execute(update(stored_responses).where(column.id == "resp_2").values(content=first))
        spoiled = first[:-1] + bytes([first[-1] ^ 1])
        connection.execute(update(stored_responses).where(column.id == "resp_1").values(content=spoiled))
    for response_id in ("resp_1", "resp_2"):
        with pytest.raises(StorageError, match="cannot be decrypted"):
            stored.find(ANA, response_id)


def test_an_orgs_key_is_made_once_and_opens_only_with_the_master_key(database: Database) -> None:
    one, other = OrgKeys(database, WRAPPING), OrgKeys(database, WRAPPING)
    assert one.key("A") == other.key("A") != one.key("B")
    assert len(one.key("A")) == 32
    with pytest.raises(StorageError):
        OrgKeys(database, b"x" * 32).key("A")


def test_the_owner_finds_it_his_org_may_not_read_it_and_nobody_else_knows_of_it(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    played(database, node, lambda ledger: answered(ledger, keys))
    for method in (stored.find, stored.delete):
        with pytest.raises(Forbidden):
            method(BOB, "resp_1")
    with pytest.raises(Forbidden):
        stored.conversation(BOB, "conv_1")
    for other in (STRANGER, principal(environment="test")):
        assert stored.find(other, "resp_1") is None
        assert stored.conversation(other, "conv_1") is None
        assert stored.delete(other, "resp_1") == []
    assert stored.find(ANA, "resp_1") is not None


def test_an_id_that_comes_twice_is_everybodys_own_and_the_newest(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> list[str]:
        first = await answered(ledger, keys)
        second = await answered(ledger, keys, conversation_id="conv_2")
        bobs = await answered(ledger, keys, BOB, conversation_id="conv_3")
        return [first, second, bobs]

    first, second, bobs = played(database, node, play)
    mine, his = stored.find(ANA, "resp_1"), stored.find(BOB, "resp_1")
    assert mine is not None and his is not None
    assert (mine.exchange_id, his.exchange_id) == (second, bobs)
    assert set(stored.delete(ANA, "resp_1")) == {first, second}
    assert stored.find(BOB, "resp_1") is not None
    with pytest.raises(Forbidden):
        stored.find(ANA, "resp_1")


def test_a_chain_is_in_order_and_ends_where_it_was_asked_for(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> list[str]:
        found: list[str] = []
        for number in range(4):
            before = found[-1] if found else None
            found.append(
                await answered(ledger, keys, response_id=f"r{number}", asked=str(number), previous_id=before)
            )
        return found

    found = played(database, node, play)
    assert said(stored.chain(ANA, found[3])) == ["0", "1", "2", "3"]
    assert said(stored.chain(ANA, found[1])) == ["0", "1"]
    assert said(stored.conversation(ANA, "conv_1")) == ["0", "1", "2", "3"]
    older, newest = stored.find(ANA, "r1"), stored.find(ANA, "r3")
    assert older is not None and newest is not None and (older.newest, newest.newest) == (False, True)


def test_two_answers_to_one_conversation_both_stay_in_it(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        first = await answered(ledger, keys, asked="0")
        await asyncio.gather(
            *(
                answered(ledger, keys, asked=word, response_id=word, previous_id=first, appends=True)
                for word in ("a", "b", "c")
            )
        )

    played(database, node, play)
    talked = said(stored.conversation(ANA, "conv_1"))
    assert talked[0] == "0" and sorted(talked[1:]) == ["a", "b", "c"]


def test_a_failed_response_is_found_but_nothing_goes_on_from_it(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        first = await answered(ledger, keys, asked="0")
        await answered(ledger, keys, response_id="r", status="failed", previous_id=first, appends=True)

    played(database, node, play)
    found = stored.find(ANA, "r")
    assert found is not None and (found.status, found.continuable) == ("failed", False)
    assert said(stored.conversation(ANA, "conv_1")) == ["0"]


def test_a_fenced_exchange_keeps_nothing(database: Database, keys: OrgKeys, stored: StoredResponses) -> None:
    node = register_node(database, "n1")

    async def play(ledger: Ledger) -> None:
        start = opened()
        keep = keeping(keys, start.id)
        await ledger.open(start)
        successor = register_node(database, "n1")
        assert settle_orphans(database, successor, exclusive=True) == 1
        writes = kept.end(keep, "resp_1", "completed", content(), ended_us=ENDED_US, ending="completed")
        assert await ledger.end(start.id, outcome(), ENDED_US, writes) is False

    played(database, node, play)
    assert stored.find(ANA, "resp_1") is None
    assert stored.conversation(ANA, "conv_1") is None


def test_a_running_response_is_found_with_its_events_so_far(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        start = opened()
        keep = keeping(keys, start.id)
        await ledger.open(start)
        await ledger.keep(start.id, kept.begin(keep, "resp_1", content("nothing yet")))
        found = stored.find(ANA, "resp_1")
        assert found is not None and (found.status, found.ended_us) == ("in_progress", None)
        assert stored.events(ANA, start.id, 0) == ([], False)
        await ledger.keep(start.id, kept.part(keep, 0, b"one", now_us()))
        await ledger.keep(start.id, kept.part(keep, 1, b"two", now_us()))
        assert stored.events(ANA, start.id, 0) == ([b"one", b"two"], False)
        assert stored.events(ANA, start.id, 1) == ([b"two"], False)
        writes = kept.part(keep, 2, b"three", now_us()) + kept.end(
            keep, "resp_1", "completed", content(), ended_us=ENDED_US, ending="completed"
        )
        await ledger.end(start.id, outcome(), ENDED_US, writes)
        assert stored.events(ANA, start.id, 2) == ([b"three"], True)
        found = stored.find(ANA, "resp_1")
        assert found is not None and SECRET in bytes(found.content.response).decode()

    played(database, node, play)


def test_a_response_whose_node_died_failed(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> str:
        start = opened()
        await ledger.open(start)
        await ledger.keep(start.id, kept.begin(keeping(keys, start.id), "resp_1", content()))
        return start.id

    exchange_id = played(database, node, play)
    settle_orphans(database, register_node(database, "n1"), exclusive=True)
    found = stored.find(ANA, "resp_1")
    assert found is not None and (found.status, found.continuable) == ("failed", False)
    assert stored.events(ANA, exchange_id, 0) == ([], True)


def test_past_its_retention_it_is_as_if_never_there_and_then_pruned(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    old_us = now_us() - 30 * DAY_US - 1

    async def play(ledger: Ledger) -> None:
        first = await answered(ledger, keys, response_id="old", asked="0", created_us=old_us)
        await answered(ledger, keys, response_id="new", asked="1", previous_id=first)
        await answered(ledger, keys, response_id="lone", created_us=old_us, conversation_id="conv_2")

    played(database, node, play)
    for _ in range(2):
        assert stored.find(ANA, "old") is None
        assert stored.conversation(ANA, "conv_2") is None
        assert said(stored.conversation(ANA, "conv_1")) == ["1"]
        assert stored.prune() in (0, 2)
    assert counted(database) == (1, 1, 0)
    assert len(rows(database)) == 3, "outcomes have a retention of their own"


def test_events_go_an_hour_after_the_end_and_not_before(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    long_ago_us = now_us() - EVENTS_KEPT_US - 1

    async def play(ledger: Ledger) -> None:
        for response_id, ended_us in (("early", now_us() - EVENTS_KEPT_US - 1), ("late", now_us())):
            start = opened()
            keep = keeping(keys, start.id)
            await ledger.open(start)
            writes = kept.part(keep, 0, b"x", long_ago_us) + kept.end(
                keep, response_id, "completed", content(), ended_us=ended_us, ending="completed"
            )
            await ledger.end(start.id, outcome(), ended_us, writes)

    played(database, node, play)
    assert stored.prune() == 0
    assert counted(database)[2] == 1
    early, late = stored.find(ANA, "early"), stored.find(ANA, "late")
    assert early is not None and late is not None
    assert stored.events(ANA, early.exchange_id, 0) == ([], True)
    assert stored.events(ANA, late.exchange_id, 0) == ([b"x"], True)


def test_content_that_cannot_be_stored_fails_its_own_exchange_only(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        good, bad = opened(), opened()
        await asyncio.gather(ledger.open(good), ledger.open(bad))
        ends = []
        for start, response_id in ((good, "good"), (bad, None)):
            writes = kept.end(
                keeping(keys, start.id),
                response_id,  # type: ignore[arg-type]
                "completed",
                content(),
                ended_us=ENDED_US,
                ending="completed",
            )
            ends.append(ledger.end(start.id, outcome(), ENDED_US, writes))
        results = await asyncio.gather(*ends, return_exceptions=True)
        assert results[0] is True and isinstance(results[1], StorageError)
        assert stored.find(ANA, "good") is not None

    played(database, node, play)


def test_a_commit_that_is_done_twice_changes_nothing_more(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        start = opened()
        keep = keeping(keys, start.id, appends=True)
        await ledger.open(start)
        writes = kept.part(keep, 0, b"x", now_us()) + kept.end(
            keep, "resp_1", "completed", content(), ended_us=ENDED_US, ending="completed"
        )
        await ledger.end(start.id, outcome(), ENDED_US, writes)
        before = counted(database)
        await ledger.keep(start.id, writes)
        assert counted(database) == before == (1, 1, 1)
        assert said(stored.conversation(ANA, "conv_1")) == ["who?"]

    played(database, node, play)


def test_a_refused_ending_keeps_nothing(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    """The end row that was written is another than the content belongs to."""

    async def play(ledger: Ledger) -> None:
        start = opened()
        await ledger.open(start)
        writes = kept.end(
            keeping(keys, start.id), "r", "completed", content(), ended_us=ENDED_US, ending="completed"
        )
        await ledger.end(start.id, outcome(ending=Ending.FAILED), ENDED_US, writes)
        assert stored.find(ANA, "r") is None

    played(database, node, play)


@pytest.mark.parametrize("no_id", ["", "a\0b", "ü", "x" * 300])
def test_what_can_be_no_id_is_not_there(stored: StoredResponses, no_id: str) -> None:
    """PostgreSQL's texts hold no NUL: it would fail at the question."""
    assert stored.find(ANA, no_id) is None
    assert stored.conversation(ANA, no_id) is None
    assert stored.delete(ANA, no_id) == []
