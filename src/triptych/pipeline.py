"""The governed path: every model call of every surface takes these steps, in this order."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

import msgspec

from triptych.core.call import Headers, Upstream, UpstreamCall
from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response
from triptych.stages.authorize import authorize_call, authorize_model, refuse_unenforceable
from triptych.stages.relay import AnswerReader, Relay
from triptych.stages.resolve import Resolve
from triptych.stages.settle import Dialect, Ledger, Reply, Reporter, Settlement
from triptych.stages.throttle import Throttle


class ParsedRequest(Protocol):
    """What the path needs to know of a request, whatever its wire."""

    @property
    def model(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def user_id(self) -> str | None: ...


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


class Endpoint(Protocol[Parsed]):
    """One operation of a wire, such as creating a message or counting its tokens."""

    def parse(self, exchange: Exchange) -> Parsed:
        """Validate the core fields. Raises Failure INVALID_BODY and its kin."""
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
        resolve: Resolve,
        relay: Relay,
        upstreams: Mapping[str, Upstream],
        ledger: Ledger,
        report: Reporter,
        user_hasher: UserHasher,
        request_timeout_s: float,
    ) -> None:
        self._throttle = throttle
        self._resolve = resolve
        self._relay = relay
        self._upstreams = upstreams
        self._ledger = ledger
        self._report = report
        self._user_hasher = user_hasher
        self._request_timeout_s = request_timeout_s

    async def govern(
        self, exchange: Exchange, endpoint: Endpoint[Parsed], dialect: Dialect, reply: Reply
    ) -> None:
        """Answer one exchange of an authenticated caller; leaves exactly one outcome behind."""
        async with Settlement(exchange, self._ledger, dialect, reply, self._report) as settlement:
            principal = exchange.principal
            self._throttle(exchange)
            authorize_call(principal, "ai:chat")
            parsed = endpoint.parse(exchange)
            exchange.model, exchange.target = self._resolve(principal, parsed.model, now_us())
            authorize_model(principal, exchange.model)
            refuse_unenforceable(principal)
            upstream = self._upstream(exchange.target.provider)
            carriage = endpoint.carry(exchange, parsed, upstream.wires)
            if isinstance(carriage, Response):
                settlement.answer, exchange.status = carriage, carriage.status
                return
            call = self._call(exchange, carriage, parsed.stream)
            await self._open(exchange, parsed)
            await self._relay(exchange, upstream, call, carriage.reader, parsed, dialect, reply, settlement)

    def _upstream(self, provider: str) -> Upstream:
        upstream = self._upstreams.get(provider)
        if upstream is None:
            raise Failure(
                FailureKind.SERVICE_UNAVAILABLE,
                f"The provider '{provider}' is not available on this gateway.",
            )
        return upstream

    def _call(self, exchange: Exchange, carriage: Carriage, stream: bool) -> UpstreamCall:
        assert exchange.target is not None
        return UpstreamCall(
            wire=carriage.wire,
            path=carriage.path,
            query=carriage.query,
            headers=carriage.headers,
            body=carriage.body,
            model=exchange.target.upstream_model,
            stream=stream,
            deadline_s=exchange.received_s + self._request_timeout_s,
        )

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
