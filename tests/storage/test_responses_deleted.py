"""Stored responses that were deleted: gone for everybody, and the turns around them stay."""

import pytest
from sqlalchemy import select, update

from tests.storage.answered import ANA, DAY_US, answered, content, counted, keeping, played, said
from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import ENDED_US
from triptych.core.clock import now_us
from triptych.storage import kept
from triptych.storage.database import Database
from triptych.storage.ledger import Ledger
from triptych.storage.nodes import Node
from triptych.storage.responses import StoredResponses
from triptych.storage.sealing import OrgKeys
from triptych.storage.tables import stored_responses


def test_what_is_deleted_while_it_runs_does_not_come_back(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        start = opened()
        keep = keeping(keys, start.id)
        await ledger.open(start)
        await ledger.keep(start.id, kept.begin(keep, "resp_1", content()))
        await ledger.keep(start.id, kept.part(keep, 0, b"one", now_us()))
        assert stored.deleted_of([start.id]) == set()
        assert stored.delete(ANA, "resp_1") == [start.id]
        assert stored.find(ANA, "resp_1") is None
        assert stored.delete(ANA, "resp_1") == []
        assert stored.deleted_of([start.id, "X"]) == {start.id}
        writes = kept.end(keep, "resp_1", "completed", content(), ended_us=ENDED_US, ending="completed")
        assert await ledger.end(start.id, outcome(), ENDED_US, writes) is True

    played(database, node, play)
    assert stored.find(ANA, "resp_1") is None
    assert stored.conversation(ANA, "conv_1") is None
    assert counted(database) == (0, 0, 0)


def test_a_chain_closes_over_what_was_deleted_from_it(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        before = None
        for number in range(3):
            before = await answered(
                ledger, keys, response_id=f"r{number}", asked=str(number), previous_id=before
            )

    played(database, node, play)
    stored.delete(ANA, "r1")
    assert said(stored.conversation(ANA, "conv_1")) == ["0", "2"]
    stored.delete(ANA, "r2")
    assert said(stored.conversation(ANA, "conv_1")) == ["0"]
    stored.delete(ANA, "r0")
    assert stored.conversation(ANA, "conv_1") is None
    assert counted(database) == (3, 0, 0)
    assert contents(database) == {b""}
    a_day_passes(database)
    stored.prune()
    assert counted(database) == (0, 0, 0)


def contents(database: Database) -> set[bytes]:
    with database.read() as connection:
        return set(connection.execute(select(stored_responses.c.content)).scalars())


def a_day_passes(database: Database) -> None:
    ended_us = stored_responses.c.ended_us
    with database.write() as connection:
        connection.execute(update(stored_responses).values(ended_us=ended_us - DAY_US))


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("appends", [False, True])
@pytest.mark.parametrize("deleted", [["r2"], ["r2", "r1"], ["r1", "r2"], ["r0", "r2"]])
def test_what_continues_a_response_that_is_deleted_meanwhile_keeps_the_older_turns(
    database: Database,
    node: Node,
    keys: OrgKeys,
    stored: StoredResponses,
    begun: bool,
    appends: bool,
    deleted: list[str],
) -> None:
    async def play(ledger: Ledger) -> None:
        before = None
        for number in range(3):
            before = await answered(
                ledger, keys, response_id=f"r{number}", asked=str(number), previous_id=before
            )
        start = opened()
        keep = keeping(keys, start.id, previous_id=before, appends=appends)
        await ledger.open(start)
        for response_id in deleted[:1]:
            stored.delete(ANA, response_id)
        if begun:
            await ledger.keep(start.id, kept.begin(keep, "r3", content()))
        for response_id in deleted[1:]:
            stored.delete(ANA, response_id)
        stored.prune()
        writes = kept.end(keep, "r3", "completed", content(asked="3"), ended_us=ENDED_US, ending="completed")
        assert await ledger.end(start.id, outcome(), ENDED_US, writes) is True
        await answered(ledger, keys, response_id="r4", asked="4", previous_id=start.id)

    played(database, node, play)
    left = [number for number in "01234" if "r" + number not in deleted]
    assert said(stored.conversation(ANA, "conv_1")) == left
    a_day_passes(database)
    assert stored.prune() == len(deleted)
    assert said(stored.conversation(ANA, "conv_1")) == left
    for number in reversed(left):
        stored.delete(ANA, "r" + number)
    assert stored.conversation(ANA, "conv_1") is None


def test_a_conversation_that_was_only_a_branch_is_continued_when_it_is_deleted_meanwhile(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        first = await answered(ledger, keys, response_id="r0", asked="0")
        branch = {"conversation_id": "conv_2"}
        before = await answered(ledger, keys, response_id="r1", asked="1", previous_id=first, **branch)
        start = opened()
        keep = keeping(keys, start.id, previous_id=before, appends=True, **branch)
        await ledger.open(start)
        stored.delete(ANA, "r1")
        writes = kept.end(keep, "r2", "completed", content(asked="2"), ended_us=ENDED_US, ending="completed")
        assert await ledger.end(start.id, outcome(), ENDED_US, writes) is True

    played(database, node, play)
    assert said(stored.conversation(ANA, "conv_2")) == ["0", "2"]


def test_deleting_two_responses_of_one_id_leaves_what_was_before_them(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        before = await answered(ledger, keys, response_id="first", asked="0")
        for number in (1, 2):
            before = await answered(ledger, keys, response_id="same", asked=str(number), previous_id=before)
        await answered(ledger, keys, response_id="last", asked="3", previous_id=before)

    played(database, node, play)
    stored.delete(ANA, "same")
    assert said(stored.conversation(ANA, "conv_1")) == ["0", "3"]
    a_day_passes(database)
    assert stored.prune() == 2
    assert said(stored.conversation(ANA, "conv_1")) == ["0", "3"]


def test_a_branch_ends_with_its_own_responses(
    database: Database, node: Node, keys: OrgKeys, stored: StoredResponses
) -> None:
    async def play(ledger: Ledger) -> None:
        first = await answered(ledger, keys, response_id="r0", asked="0")
        await answered(ledger, keys, response_id="r1", asked="1", previous_id=first)
        await answered(ledger, keys, response_id="r2", asked="2", previous_id=first, conversation_id="conv_2")

    played(database, node, play)
    assert said(stored.conversation(ANA, "conv_2")) == ["0", "2"]
    stored.delete(ANA, "r2")
    assert stored.conversation(ANA, "conv_2") is None
    assert said(stored.conversation(ANA, "conv_1")) == ["0", "1"]
