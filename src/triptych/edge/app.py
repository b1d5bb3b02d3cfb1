"""From a request's head to its endpoint: routes, hard size, key - before any body is awaited.

The longest matching path that a surface owns decides how failures look, also where nothing is served.
A surface that names hosts answers there only, and there it goes before those that name none. Unknown paths
are answered before the key check.

A route's path may hold parameters, spelled as in a URI template (RFC 6570): ``{name}`` is one
segment of a path, ``{+name}`` is all the rest, slashes included. A path without any goes first.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import unquote_to_bytes

import msgspec

from triptych.core.call import header
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


Methods = Mapping[bytes, Route]
Routes = Mapping[bytes, Methods]
"""By path, with parameters such as ``{id}`` (one segment) and ``{+id}`` (the rest). A path without any
method is an unknown one, also where a parameter would match it."""
_PARAMETER = re.compile(rb"\{(\+?)[a-z_]+\}")
_PORT = re.compile(rb":[0-9]*$")


class Surface(Protocol):
    """One mounted API contract: its routes, and the form of its failures."""

    @property
    def prefix(self) -> bytes: ...
    @property
    def hosts(self) -> tuple[str, ...] | None:
        """Names in lower case, without port; empty: wherever no surface with hosts owns its paths;
        None: everywhere."""
        ...

    @property
    def owns(self) -> tuple[bytes, ...]:
        """Paths, prefix included, at and under which failures are told in its form: of two surfaces at
        one prefix, each has paths of its own."""
        ...

    @property
    def routes(self) -> Routes: ...
    def refuse(self, request: Request, failure: Failure) -> Response: ...


class RefusalCounter(Protocol):
    def __call__(self, kind: FailureKind, status: int) -> None: ...


class _Site:
    """What is mounted at one host. Raises ValueError when two surfaces own a path."""

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        """``surfaces``: where two have the same path, the one that names hosts goes first."""
        owners = [(path, surface) for surface in surfaces for path in surface.owns]
        self._owners = sorted(owners, key=lambda owner: len(owner[0]), reverse=True)
        self._routes: dict[bytes, Methods] = {}
        self._patterns: list[tuple[re.Pattern[bytes], Methods]] = []
        served: dict[bytes, Surface] = {}
        for surface in surfaces:
            for path, methods in surface.routes.items():
                full = surface.prefix + path
                # Whatever they are called: parameters at the same places are the same path.
                form = _PARAMETER.sub(rb"{\1}", full)
                owner = served.get(form)
                if owner is not None:
                    if bool(owner.hosts) == bool(surface.hosts):
                        raise ValueError(f"two surfaces own the path {full.decode()}")
                    continue
                served[form] = surface
                if _PARAMETER.search(path):
                    self._patterns.append((_pattern(surface.prefix, path), methods))
                else:
                    self._routes[full] = methods

    def find(self, request: Request) -> Methods | None:
        raw_path = request.raw_path
        if not raw_path and (methods := self._routes.get(request.path)) is not None:
            return methods
        # A path is taken apart before it is decoded (RFC 3986, 2.4): "%2F" is part of a segment.
        for pattern, methods in self._patterns:
            match = pattern.fullmatch(raw_path or request.path)
            if match is not None:
                values = match.groups()
                request.parameters = tuple(map(unquote_to_bytes, values)) if raw_path else values
                return methods
        return None

    def owner(self, path: bytes) -> Surface:
        for owned, surface in self._owners:
            if not owned or path == owned or path.startswith(owned + b"/"):
                return surface
        return self._owners[-1][1]


class Gateway:
    """The application behind every connection."""

    def __init__(
        self, surfaces: tuple[Surface, ...], max_body_bytes: int, count_refusal: RefusalCounter
    ) -> None:
        """Raises ValueError when two surfaces own a path."""
        self._site = _Site([surface for surface in surfaces if not surface.hosts])
        self._sites: dict[bytes, _Site] = {
            name.encode(): _Site(_mounted_at(name, surfaces))
            for surface in surfaces
            for name in surface.hosts or ()
        }
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

    def confirm(self, request: Request) -> Response | None:
        guard = self._route(request).guard
        try:
            if guard is not None:
                guard(request)
        except Failure as failure:
            return self.refuse(request, failure)
        return None

    def refuse(self, request: Request, failure: Failure) -> Response:
        if not request.id:
            request.id = self._new_id()
        if failure.kind is FailureKind.PAYLOAD_TOO_LARGE:
            failure = body_too_large(self._max_body_bytes)
        response = self._site_of(request).owner(request.path).refuse(request, failure)
        self._count_refusal(failure.kind, response.status)
        return response

    def _route(self, request: Request) -> Route:
        methods = self._site_of(request).find(request)
        if not methods:
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

    def _site_of(self, request: Request) -> _Site:
        if not self._sites:
            return self._site
        host = header(request.headers, b"host") or b""
        return self._sites.get(_PORT.sub(b"", host.lower()), self._site)


def _mounted_at(host: str, surfaces: Sequence[Surface]) -> list[Surface]:
    """The surfaces that answer at a host. One that names no hosts has nothing to say there where it is
    mounted at, or under, the prefix of one that names this one: that one owns all of it."""
    here = [surface for surface in surfaces if host in (surface.hosts or ())]
    owned = [surface.prefix for surface in here]
    return here + [
        surface
        for surface in surfaces
        if surface.hosts is None
        or (
            not surface.hosts
            and not any((surface.prefix + b"/").startswith(prefix + b"/") for prefix in owned)
        )
    ]


def _pattern(prefix: bytes, path: bytes) -> re.Pattern[bytes]:
    """What a route's path matches as a whole; one group per parameter, none of them ever empty."""
    pattern, position = re.escape(prefix), 0
    for parameter in _PARAMETER.finditer(path):
        pattern += re.escape(path[position : parameter.start()])
        pattern += b"(.+)" if parameter[1] else b"([^/]+)"
        position = parameter.end()
    return re.compile(pattern + re.escape(path[position:]), re.DOTALL)


def body_too_large(limit_bytes: int) -> Failure:
    """The refusal of an oversized body, with the limit in the unit that states it exactly."""
    mebibytes, rest = divmod(limit_bytes, 1 << 20)
    size = f"{limit_bytes} bytes" if rest or not mebibytes else f"{mebibytes} MB"
    return Failure(
        FailureKind.PAYLOAD_TOO_LARGE,
        f"Request body too large. Maximum size is {size}.",
        details={"limit_bytes": limit_bytes},
    )
