"""One client call, from the moment its key is good until its outcome is recorded.

The only mutable value of the core: each stage writes what it found out, and the settlement turns it
into one row. It holds the request's body while the exchange runs; nothing of it reaches the row.
"""

from typing import Protocol

from triptych.core.call import Headers
from triptych.core.failure import FailureKind
from triptych.core.outcome import Ending, Opened, Outcome
from triptych.core.principal import Principal
from triptych.core.target import Model, Target
from triptych.core.usage import NO_USAGE, Usage, cost_nusd


class Admission(Protocol):
    """The rate limiter's decision, and what the limit headers say."""

    @property
    def admitted(self) -> bool: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def remaining(self) -> int: ...
    @property
    def reset_ms(self) -> int: ...
    @property
    def retry_after_s(self) -> int | None: ...
    @property
    def scope(self) -> str: ...
    @property
    def window(self) -> str: ...


class Exchange:
    """State of one governed exchange. Times ending in ``_s`` are ``time.monotonic()``."""

    __slots__ = (
        "admission",
        "body",
        "bytes_in",
        "client_user_hash",
        "endpoint",
        "ending",
        "failure_kind",
        "first_byte_s",
        "headers",
        "id",
        "left_out",
        "meter",
        "model",
        "opened",
        "principal",
        "query",
        "received_s",
        "recordable",
        "retries",
        "started_us",
        "status",
        "stream",
        "surface",
        "target",
        "upstream_request_id",
        "upstream_status",
        "upstream_wire",
        "usage",
    )

    def __init__(
        self,
        *,
        id: str,
        surface: str,
        endpoint: str,
        principal: Principal,
        headers: Headers,
        query: bytes,
        body: bytes,
        started_us: int,
        received_s: float,
    ) -> None:
        self.id = id
        self.surface = surface
        self.endpoint = endpoint
        self.principal = principal
        self.headers = headers
        self.query = query
        self.body = body
        self.bytes_in = len(body)
        self.started_us = started_us
        self.received_s = received_s
        self.admission: Admission | None = None
        self.model: Model | None = None
        self.target: Target | None = None
        self.stream = False
        self.client_user_hash: str | None = None
        self.opened = False
        """Whether the start row was handed to the ledger."""
        self.recordable = True
        """False once the ledger could not write the start row: waiting for the end row is futile."""
        self.status = 0
        self.ending = Ending.COMPLETED
        self.failure_kind: FailureKind | None = None
        self.upstream_status: int | None = None
        self.upstream_request_id: str | None = None
        self.usage: Usage = NO_USAGE
        self.meter: object = None
        """The wire's reading of the stream, once there is one; how a broken one ends may depend on it."""
        self.first_byte_s: float | None = None
        self.retries = 0
        self.upstream_wire: str | None = None
        """The provider's wire where it is not the caller's: the answer is translated."""
        self.left_out: tuple[str, ...] = ()
        """What of the request another wire has nothing for and needs nothing of; the caller is told."""

    @property
    def request_id(self) -> str:
        return "req_" + self.id

    def start_row(self) -> Opened:
        principal, target = self.principal, self.target
        return Opened(
            id=self.id,
            started_us=self.started_us,
            org_id=principal.org_id,
            user_id=principal.user_id,
            key_id=principal.key_id,
            environment=principal.environment,
            surface=self.surface,
            endpoint=self.endpoint,
            model=self.model.id if self.model else None,
            provider=target.provider if target else None,
            upstream_model=target.upstream_model if target else None,
            stream=self.stream,
            bytes_in=self.bytes_in,
            client_user_hash=self.client_user_hash,
        )

    def end_row(self, now_s: float, bytes_out: int) -> Outcome:
        """The outcome as it stands; money only for exchanges that left for a live provider."""
        price = self.model.price if self.model else None
        billable = self.principal.environment == "live" and self.opened
        received_s, first_byte_s = self.received_s, self.first_byte_s
        return Outcome(
            ending=self.ending,
            status=self.status,
            failure_kind=self.failure_kind,
            upstream_status=self.upstream_status,
            usage=self.usage,
            cost_nusd=cost_nusd(self.usage, price) if price and billable else 0,
            unpriced=billable and price is None,
            first_byte_us=None if first_byte_s is None else int((first_byte_s - received_s) * 1e6),
            total_us=int((now_s - received_s) * 1e6),
            bytes_out=bytes_out,
            retries=self.retries,
            upstream_request_id=self.upstream_request_id,
            provider=self.target.provider if self.target else None,
            upstream_model=self.target.upstream_model if self.target else None,
        )
