"""GET /v1/models and /v1/models/{id}: what the caller may use, in the shape of the vendor he speaks.

OpenAI: https://platform.openai.com/docs/api-reference/models. Anthropic, when ``anthropic-version``
is sent: https://docs.anthropic.com/en/api/models-list. When a model was made is not known here: it
is given as the epoch, as Anthropic's page asks for.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from triptych.core.call import header
from triptych.core.clock import MICROSECONDS_PER_S, now_us, utc_from_us
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.principal import Principal
from triptych.core.response import Response, json_response
from triptych.core.target import Model
from triptych.edge.message import Request
from triptych.stages.authorize import authorize_model, may_use
from triptych.stages.resolve import Resolve
from triptych.stages.route import RouteCall
from triptych.stages.settle import Dialect
from triptych.surfaces.inference.messages import MessagesDialect
from triptych.surfaces.inference.openai import ChatDialect
from triptych.surfaces.query import Query

DEFAULT_PAGE = 20
LARGEST_PAGE = 1000
_LIFECYCLES = ("active", "deprecated", "retired")
_EPOCH = "1970-01-01T00:00:00Z"
_VERSION = b"anthropic-version"

_messages, _openai = MessagesDialect(), ChatDialect()


def dialect_of(request: Request) -> Dialect:
    return _openai if header(request.headers, _VERSION) is None else _messages


class Models:
    """The catalogue as one caller may see it."""

    def __init__(self, resolve: Resolve, route: RouteCall) -> None:
        self._resolve = resolve
        self._route = route

    async def list(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Raises Failure INVALID_BODY: a page that cannot be (Anthropic's shape only)."""
        principal, moment_us = exchange.principal, now_us()
        usable = [
            model
            for model in self._resolve.offered(principal, moment_us)
            if may_use(principal, model) and self._routed(principal, model, moment_us)
        ]
        found = (
            anthropic_page(usable, Query(exchange.query))
            if dialect is _messages
            else {"object": "list", "data": [openai_model(model) for model in usable]}
        )
        return json_response(200, msgspec.json.encode(found), dialect.answer_headers(exchange))

    async def retrieve(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """What a call of the model would be refused with, this is: MODEL_NOT_FOUND, MODEL_RETIRED,
        MODEL_ACCESS_DENIED (also for want of a price), PREMIUM_NOT_ENABLED, BAA_REQUIRED."""
        model_id, moment_us = parameters[0].decode("utf-8", "replace"), now_us()
        model, _ = self._resolve(exchange.principal, model_id, moment_us)
        authorize_model(exchange.principal, model)
        self._route.authorize(exchange.principal, model, moment_us)
        exchange.asked = model
        found = anthropic_model(model) if dialect is _messages else openai_model(model)
        return json_response(200, msgspec.json.encode(found), dialect.answer_headers(exchange))

    def _routed(self, principal: Principal, model: Model, moment_us: int) -> bool:
        try:
            self._route.authorize(principal, model, moment_us)
        except Failure:
            return False
        return True


def openai_model(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": model.targets[0].provider,
    }
    if model.retires_at_us is not None:
        found["shutdown_date"] = _moment(model.retires_at_us)[:10]
    return found


def anthropic_model(model: Model) -> dict[str, Any]:
    retires = model.retires_at_us
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "created_at": _EPOCH,
        "lifecycle": _lifecycle(model),
        "deprecated_at": None if model.announced_us is None else _moment(model.announced_us),
        "retires_at": None if retires is None else _moment(retires),
        "capabilities": None,
        "line": None,
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
    }


def anthropic_page(models: Sequence[Model], query: Query) -> dict[str, Any]:
    """One page by ``before_id`` or ``after_id``, ``limit`` and ``lifecycle``.

    Raises Failure INVALID_BODY: both ids, an id that is not in the list, a limit that is none.
    """
    limit = query.number("limit", 1, LARGEST_PAGE) or DEFAULT_PAGE
    lifecycles = query.words("lifecycle", _LIFECYCLES)
    before, after = query.text("before_id"), query.text("after_id")
    if before is not None and after is not None:
        raise Failure(
            FailureKind.INVALID_BODY, "before_id and after_id exclude each other", param="before_id"
        )
    listed = [model for model in models if not lifecycles or _lifecycle(model) in lifecycles]
    if before is not None:
        place = _place(listed, before, "before_id")
        page, more = listed[max(0, place - limit) : place], place > limit
    else:
        start = 0 if after is None else _place(listed, after, "after_id") + 1
        page, more = listed[start : start + limit], start + limit < len(listed)
    return {
        "data": [anthropic_model(model) for model in page],
        "has_more": more,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def _place(models: Sequence[Model], model_id: str, name: str) -> int:
    for place, model in enumerate(models):
        if model.id == model_id:
            return place
    raise Failure(FailureKind.INVALID_BODY, f"{name} names no model of this list", param=name)


def _lifecycle(model: Model) -> str:
    """A model whose retirement is set is "headed for retirement", in the vendor's words."""
    return "active" if model.retires_at_us is None else "deprecated"


def _moment(microseconds: int) -> str:
    whole = utc_from_us(microseconds // MICROSECONDS_PER_S * MICROSECONDS_PER_S)
    return whole.isoformat().replace("+00:00", "Z")
