"""What the surfaces have in common: the key check, the body, one governed exchange."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from email.utils import formatdate
from typing import Any, ClassVar, NamedTuple

import msgspec

from triptych.core.call import Headers
from triptych.core.clock import MICROSECONDS_PER_S, now_us
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure
from triptych.core.principal import Principal
from triptych.core.response import Response
from triptych.core.target import Model
from triptych.core.usage import Usage
from triptych.edge.app import Guard, body_too_large
from triptych.edge.decoding import inflate
from triptych.edge.message import Request
from triptych.pipeline import Carriage, Endpoint, Pipeline
from triptych.stages.departure import StreamMeter
from triptych.stages.settle import Dialect, Reply, Settlement
from triptych.surfaces.forwarded import forwarded, without_credentials
from triptych.surfaces.idempotent import Idempotency
from triptych.surfaces.translated import translate
from triptych.wires.features import Use, uses
from triptych.wires.jsontext import members

SCOPE = "ai:chat"
"""What a key must have to ask models."""

# Reading takes about 2 ms for a megabyte; to be inflated, compressed text is a few times as long.
LARGE_BYTES = 1 << 20
LARGE_COMPRESSED_BYTES = 1 << 17

Authenticator = Callable[[Headers, int], Principal]


class Operation:
    """The part of an endpoint that is the same on every wire. It reads the answers of its own wire
    itself; those of another are read by a translation."""

    wire: str
    path: str
    billed: bool = True
    """See ``Endpoint.billed``."""
    recall: Callable[[Exchange, Any], Awaitable[Any]] | None = None
    """See ``Endpoint.recall``."""
    conclude: Callable[[Exchange, Any, Settlement], Awaitable[None]] | None = None
    """See ``Endpoint.conclude``."""
    plain_timeout_s: float | None = None
    """See ``Endpoint.plain_timeout_s``."""
    relays_query: bool = True
    """See ``Endpoint.relays_query``."""

    reading: ClassVar[tuple[Callable[..., Any], Callable[[bytes], Any]] | None] = None
    """``parse``, and the function of a module that does the same to an inflated body. It holds for the
    class whose ``parse`` it names: one that parses in its own way says so, or is read where it is."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes

    def apart(self, exchange: Exchange) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        """See ``Endpoint.apart``."""
        reading = self.reading
        if reading is None or reading[0] is not getattr(type(self), "parse", None):
            return None
        encoding = exchange.content_encoding
        if len(exchange.body) < (LARGE_COMPRESSED_BYTES if encoding else LARGE_BYTES):
            return None
        return read_body, (reading[1], encoding, self._max_body_bytes)

    def features(self, parsed: Any) -> Iterable[Use]:
        """See ``Endpoint.features``."""
        return uses(self.wire, parsed.body)

    def with_body(self, parsed: Any, body: bytes) -> Any:
        """The request with another body of the same shape: values were replaced, nothing else."""
        return msgspec.structs.replace(parsed, body=body, members=members(body))

    def rewrite(self, parsed: Any, upstream_model: str) -> bytes:
        """The body for a provider of the same wire: only the permitted edits are made."""
        raise NotImplementedError

    def stream_meter(self, parsed: Any, request_bytes: int) -> StreamMeter:
        raise NotImplementedError

    def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> tuple[bytes, Usage]:
        raise NotImplementedError

    def carry(self, exchange: Exchange, parsed: Any, wires: frozenset[str]) -> Carriage | Response:
        """See ``Endpoint.carry``."""
        if self.wire not in wires:
            return translate(exchange, self.wire, parsed, wires)
        assert exchange.target is not None
        return Carriage(
            self.wire,
            self.path,
            exchange.query if self.relays_query else b"",
            self.forwarded(exchange.headers),
            self.rewrite(parsed, exchange.target.upstream_model),
            self,
        )

    def forwarded(self, headers: Headers) -> Headers:
        return forwarded(headers)

    def recalls(self, parsed: Any) -> bool:
        """See ``Endpoint.recalls``."""
        return self.recall is not None

    def body(self, exchange: Exchange) -> bytes:
        """The body as it was meant: inflated, when it came compressed."""
        return inflated(exchange.body, exchange.content_encoding, self._max_body_bytes)


def inflated(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """The very same body when it did not come compressed. Raises Failure as ``inflate`` does."""
    if not encoding:
        return body
    try:
        return inflate(body, encoding, max_bytes)
    except Failure as failure:
        if failure.kind is failure.kind.PAYLOAD_TOO_LARGE:
            raise body_too_large(max_bytes) from None
        raise


def read_body(
    body: bytes, parse: Callable[[bytes], Any], encoding: bytes, max_bytes: int
) -> tuple[Any, bytes | None]:
    """What ``parse`` finds, without the body; and the body, where it is not the one that came."""
    text = inflated(body, encoding, max_bytes)
    parsed = msgspec.structs.replace(parse(text), body=b"")
    return parsed, None if text is body else text


def identity(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """The headers every answer carries, whatever the wire."""
    request_id = exchange.request_id.encode()
    headers = [(b"request-id", request_id), (b"x-request-id", request_id)]
    return headers + about(exchange)


def about(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """What else a caller must know: that no provider was asked, that the model goes, what could not be
    carried to it."""
    headers: list[tuple[bytes, bytes]] = []
    if exchange.principal.environment == "test":
        headers.append((b"x-triptych-environment", b"test"))
    asked = exchange.asked
    if asked is not None and asked.retires_at_us is not None:
        headers += retirement(asked)
    if exchange.left_out:
        headers.append((b"x-triptych-left-out", ", ".join(exchange.left_out).encode()))
    return headers


def retirement(model: Model) -> Iterator[tuple[bytes, bytes]]:
    """That the model goes: since when that is known (RFC 9745), when it will be gone (RFC 8594), and
    what to ask instead."""
    if model.announced_us is not None:
        yield b"deprecation", b"@%d" % (model.announced_us // MICROSECONDS_PER_S)
    if model.retires_at_us is not None:
        sunset = formatdate(model.retires_at_us // MICROSECONDS_PER_S, usegmt=True)
        yield b"sunset", sunset.encode()
    if model.replacement is not None:
        yield b"x-triptych-replacement", model.replacement.encode()


class TokenWindow(NamedTuple):
    """The minute of tokens with the fewest left."""

    limit: int
    remaining: int
    reset_ms: int


def token_window(exchange: Exchange) -> TokenWindow | None:
    """As it stands for this exchange, its own tokens taken off; None: no limit."""
    known = exchange.reservation
    if known is None or known.tokens_limit is None:
        admission = exchange.admission
        if admission is None or admission.tokens_limit is None:
            return None
        return TokenWindow(admission.tokens_limit, admission.tokens_remaining, admission.tokens_reset_ms)
    return TokenWindow(known.tokens_limit, known.tokens_remaining, known.tokens_reset_ms)


def guard(authenticate: Authenticator) -> Guard:
    """The key check, made when the head is complete."""

    def check(request: Request) -> None:
        request.principal = authenticate(request.headers, now_us())

    return check


def serve(
    operation: Endpoint[Any],
    surface: str,
    name: str,
    dialect: Dialect,
    pipeline: Pipeline,
    idempotency: Idempotency | None = None,
) -> Callable[[Request, Reply], Awaitable[None]]:
    """The endpoint of one operation; ``surface`` and ``name`` stand in its rows. With ``idempotency``
    it takes idempotency keys."""

    def endpoint(request: Request, reply: Reply) -> Awaitable[None]:
        exchange = taken(request, surface, name)
        if idempotency is None or not idempotency.named(request):
            return pipeline.govern(exchange, operation, dialect, reply)

        def govern(exchange: Exchange) -> Awaitable[None]:
            return pipeline.govern(exchange, operation, dialect, reply)

        return idempotency.govern(request, exchange, SCOPE, dialect, reply, govern)

    return endpoint


def taken(request: Request, surface: str, name: str) -> Exchange:
    """The exchange of a request whose key is good; the request's body is let go."""
    assert request.principal is not None
    exchange = Exchange(
        id=request.id,
        surface=surface,
        endpoint=name,
        principal=request.principal,
        headers=request.headers,
        content_encoding=request.content_encoding,
        query=without_credentials(request.query, request.headers),
        body=request.body,
        started_us=now_us(),
        received_s=request.received_s,
        peer=request.peer,
    )
    request.body = b""
    return exchange
