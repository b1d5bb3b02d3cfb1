"""GET /v1/ai/models: the catalogue, with what a compliance officer asks of each model."""

from typing import Any

import msgspec

from triptych.core.clock import MICROSECONDS_PER_S, now_us, rfc3339
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response, json_response
from triptych.core.target import Model
from triptych.stages.authorize import grants, may_use
from triptych.stages.resolve import SANDBOX, Resolve
from triptych.stages.settle import Dialect
from triptych.surfaces.query import Query

DEFAULT_PAGE = 50
LARGEST_PAGE = 200


class Catalogue:
    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def list(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Models that a group of the caller grants; ``enabled`` tells whether a call would pass.

        Raises Failure INVALID_BODY: a page that cannot be.
        """
        query = Query(exchange.query)
        limit = query.number("limit", 1, LARGEST_PAGE) or DEFAULT_PAGE
        after = query.text("cursor")
        principal = exchange.principal
        models = [model for model in self._resolve.offered(principal, now_us()) if grants(principal, model)]
        start = 0
        if after is not None:
            places = [place for place, model in enumerate(models) if model.id == after]
            if not places:
                raise Failure(FailureKind.INVALID_BODY, "cursor is not one of this list", param="cursor")
            start = places[0] + 1
        page = models[start : start + limit]
        more = start + limit < len(models)
        body = {
            "success": True,
            "data": [self._shown(model, may_use(principal, model)) for model in page],
            "meta": {
                "next_cursor": page[-1].id if more else None,
                "has_more": more,
                "request_id": exchange.request_id,
            },
        }
        return json_response(200, msgspec.json.encode(body), dialect.answer_headers(exchange))

    def _shown(self, model: Model, enabled: bool) -> dict[str, Any]:
        first = model.targets[0]
        retires = model.retires_at_us
        return {
            "id": model.id,
            "object": "model",
            "provider": first.provider,
            "tier": model.tier,
            "baa": {
                "covered": any(target.covered or target.provider == SANDBOX for target in model.targets),
                "agreement": first.agreement,
            },
            "context_window": model.context_window,
            "max_output_tokens": model.max_output_tokens,
            "retires_at": None if retires is None else rfc3339(retires // MICROSECONDS_PER_S),
            "replacement": model.replacement,
            "enabled": enabled,
        }
