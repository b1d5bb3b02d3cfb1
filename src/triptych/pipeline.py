"""The governed path: every model call of every surface takes these steps, in this order."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Protocol, TypeVar

import msgspec

from triptych.core.call import Headers, Upstream, UpstreamCall
from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response
from triptych.stages.authorize import authorize_call, authorize_model
from triptych.stages.book import Book
from triptych.stages.departure import AnswerReader, Departure, Elsewhere
from triptych.stages.permit import permit_features
from triptych.stages.read import SMALL_BYTES, Read
from triptych.stages.relay import Relay
from triptych.stages.reserve import Reserve
from triptych.stages.resolve import Resolve
from triptych.stages.route import Detours, Leg, RouteCall
from triptych.stages.screen import Screen
from triptych.stages.settle import Dialect, HoldIndex, Ledger, Reply, Reporter, Settlement
from triptych.stages.throttle import Throttle, Throttled
from triptych.wires.features import Use

LARGE_REQUEST_BYTES = 262_144
"""From this size on a request is made ready for its provider in a thread."""


class ParsedRequest(Protocol):
    """What the path needs to know of a request, whatever its wire."""

    @property
    def model(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def body(self) -> bytes: ...
    @property
    def max_output_tokens(self) -> int | None:
        """The longest answer it allows, of each of its ``choices``."""
        ...

    @property
    def choices(self) -> int: ...


Parsed = TypeVar("Parsed", bound=ParsedRequest)


class Carriage(msgspec.Struct, frozen=True):
    """How a request goes to its provider: on the caller's wire, or translated to another."""

    wire: str
    path: str
    query: bytes
    headers: Headers
    """What of the client's headers goes with it."""
    body: bytes
    reader: AnswerReader
    restores: bool = False
    """Whether the reader gives the caller his own values back by itself: what it writes is on none of
    the wires that the guard reads."""


class Endpoint(Protocol[Parsed]):
    """One operation of a wire, such as creating a message or counting its tokens."""

    wire: str
    """Of its requests and answers."""
    relays_query: bool
    """Whether the query string is for the provider: its own API has the endpoint."""
    billed: bool
    """Whether its answers cost tokens and money; a count of tokens costs a request only."""
    recall: Callable[[Exchange, Parsed], Awaitable[Parsed]] | None
    """Puts in what the request refers to and the gateway stores. Raises Failure."""

    def recalls(self, parsed: Parsed) -> bool:
        """Whether ``recall`` has to look anything up."""
        ...

    conclude: Callable[[Exchange, Parsed, Settlement], Awaitable[None]] | None
    """Adds what the gateway itself says to a good answer, before its last bytes go out. Raises Failure."""
    plain_timeout_s: float | None
    """How long a call that is not streamed may take, where that is less than the gateway's own limit."""

    def features(self, parsed: Parsed) -> Iterable[Use]:
        """What the request uses beyond text, found only as far as it is looked at."""
        ...

    def parse(self, exchange: Exchange) -> Parsed:
        """Validate the core fields. Raises Failure INVALID_BODY and its kin."""
        ...

    def apart(self, exchange: Exchange) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        """See ``stages.read.Readable.apart``."""
        ...

    def with_body(self, parsed: Parsed, body: bytes) -> Parsed:
        """The request with another body of the same shape."""
        ...

    def carry(self, exchange: Exchange, parsed: Parsed, wires: frozenset[str]) -> Carriage | Response:
        """The request for a provider that speaks ``wires``, or the answer when none is needed.

        Same wire: only the permitted edits are made. Another: translated. Raises Failure
        UNSUPPORTED_PARAMETER for what none of the wires can express.
        """
        ...


class UserHasher(Protocol):
    def hash(self, secret: bytes) -> bytes: ...


class Pipeline:
    """The stages, joined once at start."""

    def __init__(
        self,
        *,
        throttle: Throttle,
        reserve: Reserve,
        index: HoldIndex,
        read: Read,
        resolve: Resolve,
        route: RouteCall,
        screen: Screen,
        relay: Relay,
        upstreams: Mapping[str, Upstream],
        ledger: Ledger,
        report: Reporter,
        user_hasher: UserHasher,
        request_timeout_s: float,
        confirm: Callable[[Exchange], None] | None = None,
        book: Book | None = None,
    ) -> None:
        """``confirm`` is called right before anything leaves for a provider; see ``stages.confirm``."""
        self._throttle = throttle
        self._reserve = reserve
        self._index = index
        self._read = read
        self._resolve = resolve
        self._route = route
        self._screen = screen
        self._relay = relay
        self._upstreams = self._newest = upstreams
        self._ledger = ledger
        self._report = report
        self._user_hasher = user_hasher
        self._request_timeout_s = request_timeout_s
        self._confirm = confirm
        self._book = book

    def replace_upstreams(self, upstreams: Mapping[str, Upstream]) -> None:
        """Those of a new configuration. What was just resolved may still need one that it left out."""
        self._upstreams, self._newest = {**self._newest, **upstreams}, upstreams

    async def govern(
        self, exchange: Exchange, endpoint: Endpoint[Parsed], dialect: Dialect, reply: Reply
    ) -> None:
        """Answer one exchange of an authenticated caller; leaves exactly one outcome behind."""
        async with Settlement(
            exchange, self._ledger, dialect, reply, self._report, self._index, self._book
        ) as settlement:
            principal = exchange.principal
            throttled = self._throttle(exchange)
            if throttled is not None and not self._joins(throttled, exchange, endpoint):
                await throttled
                throttled = None
            try:
                authorize_call(principal, "ai:chat")
                parsed = (
                    endpoint.parse(exchange)
                    if len(exchange.body) < SMALL_BYTES
                    else await self._read(exchange, endpoint)
                )
                if exchange.once is not None:
                    settlement.answer = await exchange.once.take(parsed.stream)
                    if settlement.answer is not None:
                        exchange.status = settlement.answer.status
                        return
                asked_us = now_us()
                model, target = exchange.model, exchange.target = self._resolve(
                    principal, parsed.model, asked_us
                )
                exchange.asked = model
                authorize_model(principal, model)
                if endpoint.recall is not None:
                    if throttled is not None and endpoint.recalls(parsed):
                        due, throttled = throttled, None
                        await due
                    parsed = await endpoint.recall(exchange, parsed)
                permit_features(exchange, endpoint.features(parsed))
                legs = self._route.legs(principal, model, target, parsed.stream, asked_us)
                # Of one configuration: in a newer one the name of a provider may be another's, whom no
                # agreement covers.
                upstreams = self._upstreams
                reservation: Awaitable[None] | None = throttled
                if endpoint.billed:
                    reservation = self._reserve(exchange, legs, parsed, throttled)
                throttled = None
            except Failure:
                # A refused request is told so, whatever else is wrong with it.
                if throttled is not None:
                    await throttled
                raise
            if reservation is not None:
                await reservation
            if principal.policy.guarded or model.phi_mode is not None or len(legs) > 1:
                parsed = await self._screen(exchange, endpoint, parsed, legs)
            detours: Elsewhere | None = None
            if len(legs) == 1:
                leg = legs[0]
                exchange.model, exchange.target = leg.model, leg.target
                begin = partial(self._depart, exchange, endpoint, parsed, upstreams, leg)
            else:
                depart = partial(self._detour, exchange, endpoint, parsed, upstreams)
                detours = Detours(legs, depart, self._deadline_s(exchange, endpoint, parsed))
                begin = partial(detours.begin, monotonic())
            # Translating a large request takes milliseconds, and others do not wait for them.
            departure = begin() if len(parsed.body) < LARGE_REQUEST_BYTES else await asyncio.to_thread(begin)
            if isinstance(departure, Response):
                settlement.answer, exchange.status = departure, departure.status
                return
            announcer = exchange.announcer
            if announcer is not None:
                announcer.announce()
            await self._open(exchange, parsed)
            if announcer is not None:
                announcer.begin()
            await self._relay(exchange, departure, parsed, dialect, reply, settlement, detours)
            if endpoint.conclude is not None and exchange.failure_kind is None:
                await endpoint.conclude(exchange, parsed, settlement)

    @staticmethod
    def _joins(throttled: Throttled, exchange: Exchange, endpoint: Endpoint[Parsed]) -> bool:
        """Whether the decision on the request can wait for the one on its costs: then both are one
        round trip. A replay needs no second decision, so the first cannot wait for it."""
        return (
            endpoint.billed
            and exchange.once is None
            and exchange.principal.reserves
            and throttled.joinable is not None
        )

    def _deadline_s(self, exchange: Exchange, endpoint: Endpoint[Parsed], parsed: Parsed) -> float:
        """Monotonic time at which the exchange is out of time."""
        limit_s = self._request_timeout_s
        if endpoint.plain_timeout_s is not None and not parsed.stream:
            limit_s = min(limit_s, endpoint.plain_timeout_s)
        return exchange.received_s + limit_s

    def _depart(
        self,
        exchange: Exchange,
        endpoint: Endpoint[Parsed],
        parsed: Parsed,
        upstreams: Mapping[str, Upstream],
        leg: Leg,
    ) -> Departure | Response:
        """The call for one target, or the answer when none is needed; made anew for each of them.

        Raises Failure SERVICE_UNAVAILABLE, and what ``Endpoint.carry`` raises.
        """
        provider = leg.target.provider
        upstream = upstreams.get(provider)
        if upstream is None:
            raise Failure(
                FailureKind.SERVICE_UNAVAILABLE,
                f"The provider '{provider}' is not available on this gateway.",
            )
        carriage = endpoint.carry(exchange, parsed, upstream.wires)
        if isinstance(carriage, Response):
            return carriage
        call = UpstreamCall(
            wire=carriage.wire,
            path=carriage.path,
            query=carriage.query,
            headers=carriage.headers,
            body=carriage.body,
            model=leg.target.upstream_model,
            stream=parsed.stream,
            deadline_s=self._deadline_s(exchange, endpoint, parsed),
            may_resend=partial(self._relay.may_resend, exchange),
            confirm=None if self._confirm is None else partial(self._confirm, exchange),
        )
        reader = carriage.reader
        if exchange.restore is not None and not carriage.restores:
            reader = exchange.restore(reader)
        return Departure(leg, upstream, call, reader, endpoint.billed)

    def _detour(
        self,
        exchange: Exchange,
        endpoint: Endpoint[Parsed],
        parsed: Parsed,
        upstreams: Mapping[str, Upstream],
        leg: Leg,
    ) -> Departure | Response:
        """``_depart`` for one of several targets; where it raises, the exchange is as it was."""
        before = exchange.model, exchange.target, exchange.upstream_wire, exchange.left_out
        exchange.model, exchange.target = leg.model, leg.target
        exchange.upstream_wire, exchange.left_out = None, ()
        try:
            return self._depart(exchange, endpoint, parsed, upstreams, leg)
        except Failure:
            exchange.model, exchange.target, exchange.upstream_wire, exchange.left_out = before
            raise

    async def _open(self, exchange: Exchange, parsed: ParsedRequest) -> None:
        """Make the start row durable before anything leaves for a provider."""
        exchange.stream = parsed.stream
        if parsed.user_id is not None:
            exchange.client_user_hash = self._user_hasher.hash(parsed.user_id.encode()).hex()
        exchange.body = b""
        exchange.opened = True
        try:
            await self._ledger.open(exchange.start_row())
        except Exception as lost:  # whatever the ledger raises means: not recorded
            exchange.recordable = False
            raise Failure(
                FailureKind.SERVICE_UNAVAILABLE, "The gateway cannot record the request right now."
            ) from lost
