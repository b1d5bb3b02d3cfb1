"""One client call, from the moment its key is good until its outcome is recorded.

The only mutable value of the core: each stage writes what it found out, and the settlement turns it
into one row. It holds the request's body while the exchange runs; nothing of it reaches the row.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from triptych.core.admission import Admission, BudgetScope, Reservation
from triptych.core.call import Headers
from triptych.core.cycle import cycle_of, day_of
from triptych.core.failure import Failure, FailureKind
from triptych.core.finding import Screening
from triptych.core.hold import Alert, Charge, Hold
from triptych.core.outcome import Ending, Opened, Outcome
from triptych.core.principal import Principal
from triptych.core.response import Response
from triptych.core.target import Model, Target
from triptych.core.usage import NO_USAGE, Usage, all_tokens, cost_nusd, credits_used

if TYPE_CHECKING:
    import asyncio


class Keeper(Protocol):
    """Keeps the answer of an exchange, as its caller is told of it."""

    def stream(self, piece: bytes, reply: Any) -> "asyncio.Future[None] | None":
        """Tell the caller of whole events; may ask to be waited for."""
        ...

    def conclude(self, answer: Response | None, last_piece: bytes) -> tuple[Response | None, bytes]:
        """What the caller gets last. Raises Failure when it cannot be kept."""
        ...

    def writes(self, outcome: Outcome, ended_us: int) -> tuple[Any, ...]:
        """What the ledger writes in the transaction of the end row."""
        ...


class Once(Protocol):
    """Sees to it that a request with an idempotency key is answered once."""

    async def take(self, stream: bool) -> Response | None:
        """Claim the key; the answer where another exchange gave it meanwhile. Raises Failure
        INVALID_VALUE (it is no key), IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_IN_PROGRESS, SERVICE_UNAVAILABLE."""
        ...

    @property
    def held(self) -> bool: ...
    def writes(self, outcome: Outcome, ended_us: int, answer: Response | None) -> tuple[Any, ...]:
        """What the ledger writes of it in the transaction of the end row."""
        ...

    def answered_in(self, connection: Any, answer: Response) -> None:
        """Keep the answer in the database transaction that does what it tells of, so that neither is
        without the other. For threads."""
        ...

    async def end(self, answer: Response | None) -> None:
        """The same for an exchange that has no start row; before its end is recorded. Never raises."""
        ...


class Announcer(Protocol):
    """Tells the caller how far his exchange has come, before a provider has answered."""

    def announce(self) -> None:
        """Every check has passed; nothing is recorded yet."""
        ...

    def begin(self) -> None:
        """The start row is durable; the provider is asked next."""
        ...


class Exchange:
    """State of one governed exchange. Times ending in ``_s`` are ``time.monotonic()``."""

    __slots__ = (
        "admission",
        "announcer",
        "asked",
        "body",
        "booked_late",
        "budgets",
        "bytes_in",
        "client_user_hash",
        "content_encoding",
        "endpoint",
        "ending",
        "failure_kind",
        "fallbacks",
        "first_byte_s",
        "headers",
        "hold",
        "id",
        "keeper",
        "left_out",
        "meter",
        "model",
        "named",
        "occupies",
        "once",
        "opened",
        "peer",
        "placeholders",
        "principal",
        "query",
        "received_s",
        "recordable",
        "reservation",
        "restore",
        "retries",
        "screening",
        "started_us",
        "status",
        "stopped",
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
        content_encoding: bytes = b"",
        query: bytes,
        body: bytes,
        started_us: int,
        received_s: float,
        peer: str = "",
    ) -> None:
        """``peer``: the client's address, for what is noted of administrative acts."""
        self.id = id
        self.surface = surface
        self.endpoint = endpoint
        self.principal = principal
        self.headers = headers
        self.content_encoding = content_encoding
        self.query = query
        self.body = body
        self.bytes_in = len(body)
        self.started_us = started_us
        self.received_s = received_s
        self.peer = peer
        self.admission: Admission | None = None
        self.budgets: tuple[BudgetScope, ...] = ()
        """Whose money and credits it spends; empty where nobody has a budget, and for test keys."""
        self.hold: Hold | None = None
        self.occupies = False
        """Whether the admission index may hold anything for it, which its end must give back."""
        self.booked_late = False
        """Whether its ``hold`` was made at its end, because somebody had got a budget meanwhile."""
        self.reservation: Reservation | None = None
        """The decision on the hold, once there is one."""
        self.asked: Model | None = None
        """The model the caller named, once it is found; ``model`` is the one that answers."""
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
        """How often a target was asked again, by a rule or because a kept connection was dead."""
        self.fallbacks = 0
        """How often the next target was asked instead."""
        self.announcer: Announcer | None = None
        """Set where the caller is told of more than the answer."""
        self.named: Callable[[str], str] | None = None
        """The caller's own name of a field of what goes to the provider; None: the same."""
        self.keeper: Keeper | None = None
        """Set when the answer is to be stored."""
        self.once: Once | None = None
        """Set when the client named an idempotency key."""
        self.screening: Screening | None = None
        """What the guard found; None where nothing is scanned, or nothing was found."""
        self.placeholders: dict[str, str] = {}
        """Values by what stood for them, in earlier turns of a stored conversation and in this one. Kept
        encrypted with its content, or not at all."""
        self.restore: Callable[[Any], Any] | None = None
        """Wraps the reader of an answer, so that the caller gets his own values back; None where
        nothing of his was redacted."""
        self.stopped: Failure | None = None
        """Why it was told to stop; what is stored of it is taken away again."""
        self.upstream_wire: str | None = None
        """The provider's wire where it is not the caller's: the answer is translated."""
        self.left_out: tuple[str, ...] = ()
        """What of the request another wire has nothing for and needs nothing of; the caller is told."""

    @property
    def request_id(self) -> str:
        return "req_" + self.id

    def start_row(self) -> Opened:
        principal, target, hold = self.principal, self.target, self.hold
        booking = hold.booking if hold is not None and self.opened else None
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
            hold_nusd=None if booking is None or hold is None else hold.nusd,
            hold_credits=None if booking is None or hold is None else hold.credits,
            booking=None if booking is None else msgspec.json.encode(booking).decode(),
        )

    def end_row(self, now_s: float, bytes_out: int) -> Outcome:
        """The outcome as it stands; money only for exchanges that left for a live provider."""
        usage = self.usage
        cost, credits, unpriced = self.price(usage)
        received_s, first_byte_s = self.received_s, self.first_byte_s
        return Outcome(
            ending=self.ending,
            status=self.status,
            failure_kind=self.failure_kind,
            upstream_status=self.upstream_status,
            usage=usage,
            cost_nusd=cost,
            unpriced=unpriced,
            first_byte_us=None if first_byte_s is None else int((first_byte_s - received_s) * 1e6),
            total_us=int((now_s - received_s) * 1e6),
            bytes_out=bytes_out,
            retries=self.retries,
            upstream_request_id=self.upstream_request_id,
            provider=self.target.provider if self.target else None,
            upstream_model=self.target.upstream_model if self.target else None,
            credits=credits,
            charge=self._charge(cost, credits),
            phi=None if self.screening is None else msgspec.json.encode(self.screening).decode(),
        )

    def price(self, usage: Usage) -> tuple[int, int, bool]:
        """Nano-USD and credits that so much usage is charged, and whether there was no price for it."""
        model = self.model
        price = model.price_at(self.started_us) if model else None
        billable = self.principal.environment == "live" and self.opened
        cost = cost_nusd(usage, price) if price and billable else 0
        credits = credits_used(all_tokens(usage), model.credit_ratio) if model and billable else 0
        return cost, credits, billable and price is None

    def _charge(self, cost_nusd: int, credits: int) -> Charge | None:
        """What balances and counters of the day have to learn; None in most cases."""
        principal, admission = self.principal, self.admission
        booking = self.hold.booking if self.hold is not None and self.opened else None
        counted = principal.counted if admission is not None and admission.admitted else None
        if booking is None:
            if not (counted or cost_nusd or credits):
                return None
            day = day_of(self.started_us)
            # Others may know of a budget already (``Charge.scopes``).
            cycle, _ = cycle_of(principal.cycle_anchor_day, day)
            return Charge(principal.org_id, cost_nusd, credits, cycle, day=day, counted=counted)
        return Charge(
            principal.org_id,
            cost_nusd,
            credits,
            booking.cycle,
            booking.scopes,
            self._alerts() if cost_nusd and principal.alert_thresholds else (),
            day_of(self.started_us),
            counted,
        )

    def _alerts(self) -> tuple[Alert, ...]:
        return tuple(
            Alert(budget.kind, budget.id, threshold, budget.cap_nusd)
            for budget in self.budgets
            if budget.cap_nusd
            for threshold in self.principal.alert_thresholds
        )
