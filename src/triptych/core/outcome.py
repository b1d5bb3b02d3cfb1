"""How an exchange begins and ends in the ledger: one row each, and never any content."""

from enum import StrEnum

import msgspec

from triptych.core.hold import Charge
from triptych.core.usage import NO_USAGE, Usage


class Ending(StrEnum):
    COMPLETED = "completed"
    """The client got a whole answer of the provider with a 2xx status."""
    REFUSED = "refused"
    """The gateway said no before anything went to a provider."""
    FAILED = "failed"
    """The provider, or the gateway itself, failed; also an error answer passed on verbatim."""
    CANCELLED = "cancelled"
    """The client left before the end."""
    INTERRUPTED = "interrupted"
    """The gateway stopped (crash, kill, drain limit) while the exchange ran."""


class Opened(msgspec.Struct, frozen=True):
    """What is known when an exchange begins: the start row."""

    id: str
    started_us: int
    org_id: str
    user_id: str
    key_id: str
    environment: str
    surface: str
    endpoint: str
    model: str | None = None
    provider: str | None = None
    upstream_model: str | None = None
    stream: bool = False
    bytes_in: int = 0
    client_user_hash: str | None = None
    """Keyed hash of ``metadata.user_id``; the value itself is never kept."""
    hold_nusd: int | None = None
    """Money set aside until the end; None where nobody has a budget."""
    hold_credits: int | None = None
    booking: str | None = None
    """``core.hold.Booking`` as JSON."""


class Outcome(msgspec.Struct, frozen=True):
    """What is known when it ends: the end row."""

    ending: Ending
    status: int
    """HTTP status sent, or the one that would have been sent to a client that had stayed."""
    failure_kind: str | None = None
    upstream_status: int | None = None
    usage: Usage = NO_USAGE
    cost_nusd: int = 0
    unpriced: bool = False
    first_byte_us: int | None = None
    """From the request's last byte to the first byte of the answer."""
    total_us: int = 0
    bytes_out: int = 0
    retries: int = 0
    upstream_request_id: str | None = None
    provider: str | None = None
    upstream_model: str | None = None
    credits: int = 0
    """Credits used, whether or not anybody has an allotment of them."""
    charge: Charge | None = None
    """What the end adds to balances, in the same transaction; not part of the row."""
    phi: str | None = None
    """``core.finding.Screening`` as JSON: what the guard found, as types and counts."""
