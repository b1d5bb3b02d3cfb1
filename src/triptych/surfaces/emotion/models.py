"""GET /v2/models and GET /v2/status."""

from collections.abc import Callable, Mapping

import msgspec

from triptych.core.clock import now_us
from triptych.core.emotion import EMOTION_MODEL
from triptych.core.exchange import Exchange
from triptych.core.response import Response, json_response
from triptych.edge.message import Request
from triptych.edge.protocol import Endpoint
from triptych.edge.reply import Reply
from triptych.stages.authorize import may_use
from triptych.stages.resolve import Resolve
from triptych.stages.route import RouteCall
from triptych.stages.settle import Dialect
from triptych.surfaces.emotion.failures import request_id
from triptych.surfaces.emotion.scoring import Scoring

Check = Callable[[], str | None]
"""None when all is well, else what is wrong (safe to show)."""


class ModelList:
    def __init__(self, resolve: Resolve, route: RouteCall) -> None:
        self._resolve = resolve
        self._route = route

    async def list(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """The emotion model, then the chat models that the caller can ask."""
        principal, moment_us = exchange.principal, now_us()
        models = [(EMOTION_MODEL, "emotion")]
        models += [
            (model.id, "chat")
            for model in self._resolve.offered(principal, moment_us)
            if may_use(principal, model) and self._route.covers(principal, model, moment_us)
        ]
        data = [{"id": id, "object": "model", "type": type_} for id, type_ in models]
        body = msgspec.json.encode({"object": "list", "data": data})
        return json_response(200, body, dialect.answer_headers(exchange))


def status(checks: Mapping[str, Check], scoring: Scoring) -> Endpoint:
    """Anybody may ask. The engine may also be ``idle``: it is loaded by the first text. The whole is
    ``down`` when any part is."""

    async def endpoint(request: Request, reply: Reply) -> None:
        components = {name: "operational" if check() is None else "down" for name, check in checks.items()}
        components["emotion_engine"] = scoring.state
        state = "down" if "down" in components.values() else "operational"
        body = msgspec.json.encode({"object": "status", "status": state, "components": components})
        reply.respond(json_response(200, body, ((b"x-request-id", request_id(request.id).encode()),)))

    return endpoint
