"""The admission index: what may still be asked, spent and run at once, derived from the ledger.

The database is the only authority for money. An index answers "may this exchange go ahead?" in one
atomic step over all its scopes, all or nothing, without asking the database; it is rebuilt from
balances and open rows when it is new. Every hold is keyed by the id of its exchange:

    admit_request(id, scopes) -> reserve(id, ...) -> start row -> provider -> end row -> settle(id, ...)

Units: money in nano-USD, instants in days or microseconds since the epoch (UTC), waits in
milliseconds, or in whole seconds of at least 1 where a client is told.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

import msgspec

SCOPE_KINDS = ("key", "user", "org")
"""Kinds of the request scopes, in the order in which they are handed over."""

TPM = "tpm"
SPEND_CAP = "spend_cap"
CREDITS = "credits"


class RequestLimits(msgspec.Struct, frozen=True):
    """What one level allows; None means no limit."""

    rpm: int | None = None
    """Requests in any 60 s."""
    rpd: int | None = None
    """Requests per UTC day."""
    tpm: int | None = None
    """Tokens in any 60 s."""
    concurrency: int | None = None
    """Exchanges that run at the same time."""


class RequestScope(msgspec.Struct, frozen=True):
    """A key, a user or an org, whose windows are counted under its id."""

    id: str
    limits: RequestLimits


class BudgetScope(msgspec.Struct, frozen=True):
    """What a key, user, group or org may spend in one cycle. Budgets are handed over in the order
    key, user, groups, org."""

    kind: str
    """``key`` | ``user`` | ``group`` | ``org``."""
    id: str
    cap_nusd: int | None
    """None: no cap; 0: refuse all."""
    credits: int | None
    """None: unlimited; 0: none left."""
    cycle: int
    """First day of the cycle, in days since the epoch (UTC)."""


class Admission(msgspec.Struct, frozen=True):
    """The decision on one request, and the window that describes it best: on a yes the one with
    the fewest requests left, on a no the one that takes longest to open."""

    admitted: bool
    limit: int | None
    """Requests the window allows (for ``slots``: exchanges); None when no limit is set at all."""
    remaining: int
    """Requests left in that window, this one already taken off."""
    reset_ms: int
    """How long until that window is empty again if no further request comes."""
    retry_after_s: int | None
    """On a no: after so long the same request passes if no other comes. For ``slots``, which open
    when another exchange ends, always 1."""
    scope: str
    """``key`` | ``user`` | ``org``."""
    window: str
    """``minute`` | ``day`` | ``slots`` (exchanges that run at the same time)."""
    tokens_limit: int | None = None
    """The token window with the fewest tokens left, as it was at that moment; None: no limit."""
    tokens_remaining: int = 0
    tokens_reset_ms: int = 0


class Reservation(msgspec.Struct, frozen=True):
    """The decision on tokens, money and credits. The facts of a refusal are those of one limit: the
    one that takes longest to recover (credits or money before tokens), and of a scope that has neither
    credits nor money left its credits."""

    admitted: bool
    refused_by: str | None = None
    """On a no: ``tpm`` | ``spend_cap`` | ``credits``."""
    scope: str = ""
    """On a no: ``key`` | ``user`` | ``group`` | ``org``, and its id."""
    scope_id: str = ""
    limit: int = 0
    """On a no: tokens a minute, the cap in nano-USD, or the credits of a cycle."""
    used: int = 0
    """On a no: of that, settled in this cycle (``tpm``: counted in this minute)."""
    held: int = 0
    """On a no: of that, reserved by exchanges that still run (``tpm``: 0, they are in ``used``)."""
    cycle: int = 0
    """On a no by money or credits: the first day of the scope's cycle."""
    retry_after_s: int | None = None
    """On a no by ``tpm``: after so long the same request passes if no other comes."""
    tokens_limit: int | None = None
    """The token window with the fewest tokens left, this exchange taken off; None: no limit."""
    tokens_remaining: int = 0
    tokens_reset_ms: int = 0


class Settled(msgspec.Struct, frozen=True):
    """What became of a hold."""

    found: bool
    """Whether the exchange held anything; False also the second time."""
    exceeded: bool = False
    """Whether more money or credits were used than held: charged in full."""


class JoinableAdmission(Awaitable[Admission], Protocol):
    """A decision on a request that is not asked for before it is awaited: what is set aside for the
    same exchange can be asked for along with it."""

    def reserve(
        self,
        exchange_id: str,
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Awaitable[tuple[Admission, Reservation | None]]:
        """Both decisions in one step; nothing is held when the request is refused (None)."""
        ...


class AdmissionIndex(Protocol):
    """One interface, two temperaments: in memory the methods return their values, with Redis
    awaitables of them. ``type(answer) is Admission`` tells the two apart without a coroutine.

    The awaitables raise Failure SERVICE_UNAVAILABLE when the index, or the database it is built
    from, cannot be asked. In memory too, the first request of an org waits until its balances are
    read. A settlement that cannot be delivered is tried until it is through.
    """

    def admit_request(
        self, exchange_id: str | None, scopes: tuple[RequestScope, ...]
    ) -> Admission | Awaitable[Admission]:
        """Count one request against the windows of all scopes (key, user, org, in this order) and
        take a slot of each that limits concurrency; or none of it. ``exchange_id`` None takes no
        slot: for a caller that will never settle."""
        ...

    def look(self, scopes: tuple[RequestScope, ...]) -> Admission | Awaitable[Admission]:
        """How the windows stand, for who is answered without being counted: as ``admit_request`` would
        decide, with nothing taken off."""
        ...

    def reserve(
        self,
        exchange_id: str,
        scopes: tuple[RequestScope, ...],
        tokens: int,
        budgets: tuple[BudgetScope, ...],
        hold_nusd: int,
        hold_credits: int,
    ) -> Reservation | Awaitable[Reservation]:
        """Hold tokens, money and credits in all scopes, or in none. Once per exchange: a second
        call finds the first one's hold and answers yes.

        More tokens than a window ever has are held as all of it. A budget admits while at least
        one unit is left, so that a cap of 0, and one used up, refuse free calls too.
        """
        ...

    def settle(
        self,
        exchange_id: str,
        actual_tokens: int,
        actual_nusd: int,
        actual_credits: int,
        org_id: str | None = None,
    ) -> Settled | None:
        """Replace the hold by what was used, and free the slots. For every exchange that was
        admitted under its id, after its end row is durable, with zeros when nothing was used; a
        second call does nothing. Never waits and never raises: None when the answer is not in yet.

        ``org_id`` is needed for exchanges of another process: orphans that this one has ended.
        """
        ...


class Spent(msgspec.Struct, frozen=True):
    """What a scope has used in one cycle: one row of the balances."""

    kind: str
    id: str
    cycle: int
    nusd: int
    credits: int


class DayCount(msgspec.Struct, frozen=True):
    """Requests of a key, user or org on one UTC day (days since the epoch), those refused by a
    request limit left out."""

    id: str
    day: int
    requests: int


class OpenHold(msgspec.Struct, frozen=True):
    """What an open row holds; its tokens are not restored, their minute is nearly over."""

    exchange_id: str
    budgets: tuple[tuple[str, str, int], ...]
    """(kind, id, cycle) of each scope charged."""
    nusd: int
    credits: int
    slots: tuple[str, ...] = ()
    """Ids of the scopes in which the exchange takes a slot."""


class Seed(msgspec.Struct, frozen=True):
    """What an index is built from: one consistent read of the database."""

    spent: tuple[Spent, ...] = ()
    days: tuple[DayCount, ...] = ()
    holds: tuple[OpenHold, ...] = ()
    metered: bool = False
    """Whether ``spent`` is all that the running cycle has cost; else nobody in the org has a budget."""
    ended: tuple[str, ...] = ()
    """Of the exchanges asked about, those that have ended: what they cost is in ``spent``."""


class Metering(msgspec.Struct, frozen=True):
    """Whose spending is counted, as of one version of the directory."""

    version: int = 0
    metered: frozenset[str] = frozenset()
    """Ids of the orgs in which anybody has a cap or credits: there, all spending is counted."""
    free: frozenset[str] = frozenset()
    """Ids of all other orgs."""


class SeedSource(Protocol):
    def __call__(self, org_id: str, held: Sequence[str] = ()) -> Seed:
        """Balances of the newest cycles, counts of this UTC day, and open rows of one org, also
        those that hold nothing. ``held``: exchanges to ask about. Blocks. Raises StorageError."""
        ...
