"""Exchanges that keep their responses, and what is left of them."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import func, select

from tests.storage.conftest import opened, outcome
from tests.storage.ledgers import ENDED_US, running
from triptych.core.clock import now_us
from triptych.core.principal import Principal, RequestLimits
from triptych.storage import kept
from triptych.storage.database import Database
from triptych.storage.kept import Keeping
from triptych.storage.ledger import Ledger
from triptych.storage.nodes import Node
from triptych.storage.sealing import OrgKeys
from triptych.storage.tables import stored_conversations, stored_events, stored_responses

SECRET = "the patient is called Rumpelstiltskin"
DAY_US = 86_400_000_000


def principal(user: str = "ANA", org: str = "ORG", environment: str = "live") -> Principal:
    limits = RequestLimits()
    return Principal(org, org.lower(), user, "KEY", frozenset(), environment, (), limits, limits, limits)


ANA, BOB, STRANGER = principal(), principal("BOB"), principal("EVE", "OTHER")


def keeping(keys: OrgKeys, exchange_id: str, owner: Principal = ANA, **changes: Any) -> Keeping:
    facts: dict[str, Any] = {
        "exchange_id": exchange_id,
        "org_id": owner.org_id,
        "user_id": owner.user_id,
        "environment": owner.environment,
        "key": keys.key(owner.org_id),
        "conversation_id": "conv_1",
        "previous_id": None,
        "appends": False,
        "created_us": now_us(),
    }
    return Keeping(**(facts | changes))


def content(text: str = SECRET, asked: str = "who?") -> bytes:
    response = {"id": "resp_1", "output": [{"type": "message", "id": "msg_o", "content": text}]}
    return msgspec.json.encode({"response": response, "input": [{"role": "user", "content": asked}]})


def said(turns: list[Any] | None) -> list[str]:
    return [msgspec.json.decode(turn.content.input[0])["content"] for turn in turns or ()]


async def answered(
    ledger: Ledger,
    keys: OrgKeys,
    owner: Principal = ANA,
    *,
    response_id: str = "resp_1",
    status: str = "completed",
    asked: str = "who?",
    **changes: Any,
) -> str:
    """One whole exchange that keeps its response; returns its id."""
    start = opened(org_id=owner.org_id)
    keep = keeping(keys, start.id, owner, **changes)
    await ledger.open(start)
    writes = kept.end(keep, response_id, status, content(asked=asked), ended_us=ENDED_US, ending="completed")
    assert await ledger.end(start.id, outcome(), ENDED_US, writes) is True
    return start.id


def played(database: Database, node: Node, play: Callable[[Ledger], Any], **options: Any) -> Any:
    async def live() -> Any:
        async with running(database, node, **options) as ledger:
            return await play(ledger)

    return asyncio.run(live())


def counted(database: Database) -> tuple[int, ...]:
    with database.read() as connection:
        return tuple(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (stored_responses, stored_conversations, stored_events)
        )
