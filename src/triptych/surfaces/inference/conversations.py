"""GET /v1/conversations/{id}/items[/{item_id}]: what was said in a conversation, read only.

https://platform.openai.com/docs/api-reference/conversations/list-items
"""

import asyncio

import msgspec

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.principal import Principal
from triptych.core.response import Response, json_response
from triptych.stages.settle import Dialect
from triptych.storage.errors import StorageError
from triptych.storage.responses import Forbidden, StoredResponses
from triptych.surfaces.inference.failures import conversations_error
from triptych.surfaces.inference.keeping import forbidden, turn_items, unreadable
from triptych.surfaces.inference.stored_responses import StoredDialect, text_of
from triptych.surfaces.query import Query
from triptych.wires.openai_responses.items import Item, listed, page

DEFAULT_PAGE = 20
LARGEST_PAGE = 100


class ConversationsDialect(StoredDialect):
    """OpenAI's form, with the words its conversations use for what is not there."""

    def refusal(self, exchange: Exchange, failure: Failure) -> Response:
        response = conversations_error(failure, exchange.request_id)
        response.headers = (*self.answer_headers(exchange), *response.headers)
        return response


class Conversations:
    def __init__(self, stored: StoredResponses) -> None:
        self._stored = stored

    async def list_items(
        self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect
    ) -> Response:
        """Raises Failure RESOURCE_NOT_FOUND, RESOURCE_FORBIDDEN, INVALID_BODY (query)."""
        query = Query(exchange.query)
        limit = query.number("limit", 1, LARGEST_PAGE) or DEFAULT_PAGE
        descending = query.word("order", ("asc", "desc"), "desc") == "desc"
        after = query.text("after")
        items = await self._items(exchange.principal, text_of(parameters[0]))
        found = page(items[::-1] if descending else items, limit=limit, after=after)
        if found is None:
            raise Failure(FailureKind.INVALID_BODY, "after names no item of this conversation", param="after")
        shown = {
            "object": "list",
            "data": [item.text for item in found.items],
            "has_more": found.has_more,
            "first_id": found.items[0].id if found.items else None,
            "last_id": found.items[-1].id if found.items else None,
        }
        return json_response(200, msgspec.json.encode(shown), dialect.answer_headers(exchange))

    async def retrieve_item(
        self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect
    ) -> Response:
        """Raises Failure RESOURCE_NOT_FOUND, RESOURCE_FORBIDDEN."""
        item_id = text_of(parameters[1])
        for item in await self._items(exchange.principal, text_of(parameters[0])):
            if item.id == item_id:
                return json_response(200, bytes(item.text), dialect.answer_headers(exchange))
        raise Failure(FailureKind.RESOURCE_NOT_FOUND, "No such item is in this conversation.")

    async def _items(self, principal: Principal, conversation_id: str) -> list[Item]:
        """All of them, in the order in which they were said."""
        try:
            return await asyncio.to_thread(self._read, principal, conversation_id)
        except Forbidden:
            raise forbidden("conversation") from None
        except StorageError as error:
            raise unreadable() from error

    def _read(self, principal: Principal, conversation_id: str) -> list[Item]:
        turns = self._stored.conversation(principal, conversation_id)
        if turns is None:
            raise Failure(FailureKind.RESOURCE_NOT_FOUND, "No such conversation is stored here.")
        items = (
            listed(raw, turn.exchange_id, place)
            for turn in turns
            for place, raw in enumerate(turn_items(turn))
        )
        return [item for item in items if item is not None]
