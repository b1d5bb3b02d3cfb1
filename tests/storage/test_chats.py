"""Turns of chats: written with the end row, encrypted, found within their org only, pruned."""

import json
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update

from tests.devices.in_loop import in_loop
from tests.storage.answered import ANA, DAY_US, SECRET, principal
from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import ENDED_US, running
from triptych.core.clock import now_us
from triptych.core.outcome import Ending
from triptych.storage.chats import Chats, Keeping, Said, end
from triptych.storage.database import Database
from triptych.storage.errors import SpoiltContent
from triptych.storage.ledger import Ledger
from triptych.storage.nodes import Node, register_node, settle_orphans
from triptych.storage.sealing import OrgKeys
from triptych.storage.tables import chat_turns


@pytest.fixture
def chats(database: Database, keys: OrgKeys) -> Chats:
    return Chats(database, keys, retention_days=30)


def said(text: str) -> Said:
    asked = msgspec.Raw(json.dumps({"role": "user", "content": text}).encode())
    return Said([asked], msgspec.Raw(b'[{"type":"text","text":"well"}]'), {"[PERSON_1]": "Ana"})


async def kept(ledger: Ledger, keys: OrgKeys, text: str, *, completed: bool = True, **changes: Any) -> str:
    """One chat from its start row to its end; returns the exchange."""
    row = opened(surface="clinical", endpoint="chat")
    await ledger.open(row)
    facts = {
        "exchange_id": row.id,
        "org_id": "ORG",
        "environment": "live",
        "conversation_id": "conv_1",
        "created_us": now_us(),
        "key": keys.key("ORG"),
        **changes,
    }
    ending = Ending.COMPLETED if completed else Ending.FAILED
    writes = end(Keeping(**facts), said(text), completed=completed, ended_us=ENDED_US, ending=ending.value)
    assert await ledger.end(row.id, outcome(ending=ending), ENDED_US, writes)
    return row.id


def texts(turns: list[Said] | None) -> list[str] | None:
    return None if turns is None else [msgspec.json.decode(turn.input[0])["content"] for turn in turns]


@in_loop
async def test_a_conversation_is_its_answered_turns_in_order(
    database: Database, node: Node, keys: OrgKeys, chats: Chats
) -> None:
    async with running(database, node) as ledger:
        await kept(ledger, keys, "one")
        await kept(ledger, keys, "lost", completed=False)
        await kept(ledger, keys, "two")
        await kept(ledger, keys, "elsewhere", conversation_id="conv_2")
    turns = chats.conversation(ANA, "conv_1")
    assert texts(turns) == ["one", "two"]
    assert turns is not None and turns[0].placeholders == {"[PERSON_1]": "Ana"}
    assert turns[0].messages() == [
        b'{"role": "user", "content": "one"}',
        b'{"role":"assistant","content":[{"type":"text","text":"well"}]}',
    ]
    assert texts(chats.conversation(principal(user="BOB"), "conv_1")) == ["one", "two"]


@in_loop
async def test_nothing_is_seen_from_another_org_or_environment(
    database: Database, node: Node, keys: OrgKeys, chats: Chats
) -> None:
    async with running(database, node) as ledger:
        exchange_id = await kept(ledger, keys, SECRET)
    for stranger in (principal(org="OTHER"), principal(environment="test")):
        assert chats.conversation(stranger, "conv_1") is None
        assert chats.find(stranger, exchange_id, ("chat",)) is None
    assert chats.find(ANA, exchange_id, ("messages",)) is None
    found = chats.find(ANA, exchange_id, ("chat",))
    assert found is not None and found.said is not None
    assert (found.conversation_id, found.ending, found.input_tokens) == ("conv_1", "completed", 135)


@in_loop
async def test_content_is_encrypted_and_does_not_open_elsewhere(
    database: Database, node: Node, keys: OrgKeys, chats: Chats
) -> None:
    async with running(database, node) as ledger:
        first, second = await kept(ledger, keys, SECRET), await kept(ledger, keys, "x")
    with database.write() as connection:
        content = connection.execute(
            select(chat_turns.c.content).where(chat_turns.c.exchange_id == first)
        ).scalar_one()
        assert b"Rumpel" not in content and len(content) > 60
        connection.execute(
            update(chat_turns).where(chat_turns.c.exchange_id == second).values(content=content)
        )
    with pytest.raises(SpoiltContent):
        chats.conversation(ANA, "conv_1")


@in_loop
async def test_an_exchange_that_somebody_else_settled_keeps_nothing(
    database: Database, node: Node, keys: OrgKeys, chats: Chats
) -> None:
    async with running(database, node) as ledger:
        row = opened(surface="clinical", endpoint="chat")
        await ledger.open(row)
        settle_orphans(database, register_node(database, "n2"), exclusive=True)
        keeping = Keeping(row.id, "ORG", "live", "conv_1", now_us(), keys.key("ORG"))
        writes = end(keeping, said("x"), completed=True, ended_us=ENDED_US, ending="completed")
        await ledger.end(row.id, outcome(), ENDED_US, writes)
    found = chats.find(ANA, row.id, ("chat",))
    assert chats.conversation(ANA, "conv_1") is None
    assert found is None or found.said is None


@in_loop
async def test_a_run_is_found_while_it_runs_and_a_refused_request_is_none(
    database: Database, node: Node, chats: Chats
) -> None:
    async with running(database, node) as ledger:
        row = opened(surface="clinical", endpoint="chat")
        await ledger.open(row)
        found = chats.find(ANA, row.id, ("chat",))
        assert found is not None and (found.ending, found.said) == (None, None)
        await ledger.end(row.id, outcome(), ENDED_US)
        refused = opened(surface="clinical", endpoint="chat")
        ledger.refuse(refused, outcome(ending=Ending.REFUSED, status=400), ENDED_US)
    assert chats.find(ANA, refused.id, ("chat",)) is None


@in_loop
async def test_what_is_past_its_retention_is_gone_before_it_is_pruned(
    database: Database, node: Node, keys: OrgKeys, chats: Chats
) -> None:
    async with running(database, node) as ledger:
        old = await kept(ledger, keys, "old", created_us=now_us() - 31 * DAY_US)
        await kept(ledger, keys, "new", created_us=now_us() - 29 * DAY_US)
    assert texts(chats.conversation(ANA, "conv_1")) == ["new"]
    found = chats.find(ANA, old, ("chat",))
    assert found is not None and found.said is None
    assert (chats.prune(), chats.prune()) == (1, 0)
    with database.read() as connection:
        assert len(connection.execute(select(chat_turns.c.exchange_id)).all()) == 1


def test_what_can_be_no_id_is_no_conversation(chats: Chats) -> None:
    assert chats.conversation(ANA, "a\0b") is None
