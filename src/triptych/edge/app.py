"""From a request's head to its endpoint: routes, hard size, key - before any body is awaited.

The longest matching surface prefix owns a path and decides how its failures look, also for paths it
does not serve. Unknown paths are answered before the key check.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.core.ids import UlidSource
from triptych.core.response import Response
from triptych.edge.message import Request
from triptych.edge.protocol import Endpoint

Guard = Callable[[Request], None]


class Route(msgspec.Struct, frozen=True):
    endpoint: Endpoint
    guard: Guard | None = None
    """Looks at the head before the body is read; raises Failure to refuse."""
    always: bool = False
    """Whether it is served while the gateway drains."""


Routes = Mapping[bytes, Mapping[bytes, Route]]


class Surface(Protocol):
    """One mounted API contract: its routes, and the form of its failures."""

    @property
    def prefix(self) -> bytes: ...
    @property
    def routes(self) -> Routes: ...
    def refuse(self, request: Request, failure: Failure) -> Response: ...


class RefusalCounter(Protocol):
    def __call__(self, kind: FailureKind, status: int) -> None: ...


class Gateway:
    """The application behind every connection."""

    def __init__(
        self, surfaces: tuple[Surface, ...], max_body_bytes: int, count_refusal: RefusalCounter
    ) -> None:
        self._surfaces = sorted(surfaces, key=lambda surface: len(surface.prefix), reverse=True)
        self._routes: dict[bytes, Mapping[bytes, Route]] = {}
        for surface in surfaces:
            for path, methods in surface.routes.items():
                full = surface.prefix + path
                if full in self._routes:
                    raise ValueError(f"two surfaces own the path {full.decode()}")
                self._routes[full] = methods
        self._max_body_bytes = max_body_bytes
        self._count_refusal = count_refusal
        self._new_id = UlidSource().new
        self.draining = False

    def admit(self, request: Request) -> Endpoint | Response:
        request.id = self._new_id()
        try:
            route = self._route(request)
            if request.content_length is not None and request.content_length > self._max_body_bytes:
                raise Failure(FailureKind.PAYLOAD_TOO_LARGE)
            if self.draining and not route.always:
                request.keep_alive = False
                raise Failure(
                    FailureKind.SERVICE_UNAVAILABLE,
                    "The gateway is shutting down. Retry: another node, or this one soon, will answer.",
                    retry_after_s=1,
                )
            if route.guard is not None:
                route.guard(request)
        except Failure as failure:
            return self.refuse(request, failure)
        return route.endpoint

    def refuse(self, request: Request, failure: Failure) -> Response:
        if not request.id:
            request.id = self._new_id()
        if failure.kind is FailureKind.PAYLOAD_TOO_LARGE:
            failure = body_too_large(self._max_body_bytes)
        response = self._owner(request.path).refuse(request, failure)
        self._count_refusal(failure.kind, response.status)
        return response

    def _route(self, request: Request) -> Route:
        methods = self._routes.get(request.path)
        if methods is None:
            path = request.path[:200].decode("utf-8", "replace")
            raise Failure(
                FailureKind.ROUTE_NOT_FOUND, f"Unknown request URL: {request.method.decode()} {path}"
            )
        route = methods.get(request.method)
        if route is None and request.method == b"HEAD":
            route = methods.get(b"GET")
        if route is None:
            allowed = sorted(methods) + ([b"HEAD"] if b"GET" in methods else [])
            listed = b", ".join(sorted(set(allowed)))
            raise Failure(
                FailureKind.METHOD_NOT_ALLOWED,
                f"{request.method.decode()} is not allowed here; use {listed.decode()}.",
                headers=((b"allow", listed),),
            )
        return route

    def _owner(self, path: bytes) -> Surface:
        for surface in self._surfaces:
            prefix = surface.prefix
            if not prefix or path == prefix or path.startswith(prefix + b"/"):
                return surface
        return self._surfaces[-1]


def body_too_large(limit_bytes: int) -> Failure:
    """The refusal of an oversized body, with the limit in the unit that states it exactly."""
    mebibytes, rest = divmod(limit_bytes, 1 << 20)
    size = f"{limit_bytes} bytes" if rest or not mebibytes else f"{mebibytes} MB"
    return Failure(
        FailureKind.PAYLOAD_TOO_LARGE,
        f"Request body too large. Maximum size is {size}.",
        details={"limit_bytes": limit_bytes},
    )
