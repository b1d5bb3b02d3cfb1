"""Health, readiness, metrics and the API description: at the root, without a key."""

from collections.abc import Callable

import msgspec

from triptych.core.failure import Failure
from triptych.core.response import Response, json_response
from triptych.edge.app import Route, Routes
from triptych.edge.message import Request, identity_headers
from triptych.edge.protocol import Endpoint
from triptych.edge.reply import Reply

Check = Callable[[], str | None]
"""None when all is well, else what is wrong (safe to show)."""

METRICS_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class OperationsSurface:
    """Mounted beside the API surfaces; it owns no prefix and renders no failure of its own."""

    prefix = b""
    owns = (b"",)
    hosts = None

    def __init__(
        self,
        checks: dict[str, Check],
        exposition: Callable[[], bytes] | None,
        describe: Callable[[], bytes],
        refuse: Callable[[Request, Failure], Response],
        root: Route | None = None,
    ) -> None:
        """``root``: what ``/`` answers, where no surface of an empty prefix does."""
        self._checks = checks
        self._exposition = exposition
        self._describe = describe
        self._refuse = refuse
        routes: dict[bytes, dict[bytes, Route]] = {
            b"/healthz": {b"GET": Route(_endpoint(self.health), always=True)},
            b"/readyz": {b"GET": Route(_endpoint(self.readiness), always=True)},
            b"/openapi.json": {b"GET": Route(_endpoint(self.description), always=True)},
        }
        if root is not None:
            routes[b"/"] = {b"GET": root}
        if exposition is not None:
            routes[b"/metrics"] = {b"GET": Route(_endpoint(self.metrics), always=True)}
        self.routes: Routes = routes

    def refuse(self, request: Request, failure: Failure) -> Response:
        return self._refuse(request, failure)

    def health(self) -> Response:
        """The process answers: no more is claimed."""
        return json_response(200, b'{"status":"ok"}')

    def readiness(self) -> Response:
        """Whether a request sent now would be served."""
        components = {name: check() or "ok" for name, check in self._checks.items()}
        ready = all(state == "ok" for state in components.values())
        body = msgspec.json.encode({"status": "ready" if ready else "not_ready", "components": components})
        return json_response(200 if ready else 503, body)

    def metrics(self) -> Response:
        assert self._exposition is not None
        return Response(200, (METRICS_TYPE,), self._exposition())

    def description(self) -> Response:
        return json_response(200, self._describe())


async def greet(request: Request, reply: Reply) -> None:
    """``HEAD /`` and ``GET /``: Claude Code probes the base URL before it uses it."""
    body = b'{"name":"triptych","status":"ok"}'
    reply.respond(json_response(200, body, identity_headers(request)))


def _endpoint(answer: Callable[[], Response]) -> Endpoint:
    async def endpoint(request: Request, reply: Reply) -> None:
        response = answer()
        response.headers = (*identity_headers(request), *response.headers)
        reply.respond(response)

    return endpoint
