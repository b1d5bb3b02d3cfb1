"""Exchanges as tuples, in the order of the statements that write them, and what a batch of them is."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import astuple

from triptych.core.hold import Charge
from triptych.core.outcome import Opened, Outcome
from triptych.storage.kept import Write

Row = tuple[Any, ...]

OPEN_COLUMNS: tuple[str, ...] = (*Opened.__struct_fields__, "node_id", "node_epoch")
"""Columns of a start row: the fields of ``Opened`` as they stand, then the node."""

END_COLUMNS: tuple[str, ...] = (
    "id",
    "ended_us",
    "ending",
    "status",
    "failure_kind",
    "upstream_status",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "usage_source",
    "cost_nusd",
    "credits",
    "unpriced",
    "first_byte_us",
    "total_us",
    "bytes_out",
    "retries",
    "upstream_request_id",
    "repeats",
    "phi",
    "provider",
    "upstream_model",
)
"""Columns of an end row. Provider and upstream model replace those of the start row if not null."""

_SHARED = ("id", "provider", "upstream_model")
WHOLE_COLUMNS: tuple[str, ...] = OPEN_COLUMNS + tuple(name for name in END_COLUMNS if name not in _SHARED)
"""Columns of a row that is written once, ended already."""

_PROVIDER = OPEN_COLUMNS.index("provider")
_MAX_TEXT_CHARS = 256

UNWRITABLE = (ValueError, TypeError, OverflowError)
"""What drivers and encoders raise, beside their own classes, for a value that cannot be stored."""


class Batch:
    """Rows that are committed together. An exchange is in at most one of the three lists."""

    __slots__ = ("charges", "ended", "kept", "opened", "whole")

    def __init__(self) -> None:
        self.opened: list[Row] = []
        """OPEN_COLUMNS: inserted unless the id is there already."""
        self.ended: list[Row] = []
        """END_COLUMNS: written into the open row, if it is open and this node's."""
        self.whole: list[Row] = []
        """WHOLE_COLUMNS: inserted, or written into the open row if it is this node's."""
        self.kept: dict[str, list[Write]] = {}
        """By exchange: content that is written after the rows, in order."""
        self.charges: dict[str, tuple[Charge, int]] = {}
        """By exchange: what is added to balances if its ending changes a row, and for how many
        requests it stands."""

    def __len__(self) -> int:
        return len(self.opened) + len(self.ended) + len(self.whole) + len(self.kept)

    @property
    def endings(self) -> int:
        return len(self.ended) + len(self.whole)

    def exchange_ids(self) -> set[str]:
        rows = (row[0] for row in (*self.opened, *self.ended, *self.whole))
        return {*rows, *self.kept}

    def single_exchanges(self) -> Iterable["Batch"]:
        """The same, each exchange in a batch of its own: what it keeps stays with its row."""
        kept = dict(self.kept)
        for name in ("opened", "ended", "whole"):
            for row in getattr(self, name):
                batch = Batch()
                getattr(batch, name).append(row)
                if row[0] in kept:
                    batch.kept[row[0]] = kept.pop(row[0])
                if name != "opened" and row[0] in self.charges:
                    batch.charges[row[0]] = self.charges[row[0]]
                yield batch
        for exchange_id, writes in kept.items():
            batch = Batch()
            batch.kept[exchange_id] = writes
            yield batch


class StoredEnd(msgspec.Struct, frozen=True):
    """What the database holds of an exchange's end; the row of an id as read back."""

    node_id: str
    node_epoch: int
    ended_us: int | None
    ending: str | None
    status: int | None
    total_us: int | None


def opened_row(opened: Opened, node_id: str, node_epoch: int) -> Row:
    row = (*astuple(opened), node_id, node_epoch)
    for text in row[8:11]:  # model, provider, upstream_model: what outsiders spell
        if text is not None and not (len(text) <= _MAX_TEXT_CHARS and text.isprintable()):
            return (*row[:8], *(_storable(text) for text in row[8:11]), *row[11:])
    return row


def ended_row(exchange_id: str, outcome: Outcome, ended_us: int, repeats: int = 1) -> Row:
    usage = outcome.usage
    kind = outcome.failure_kind
    return (
        exchange_id,
        ended_us,
        outcome.ending.value,
        outcome.status,
        # A plain str: drivers look twice at subclasses.
        None if kind is None else str.__str__(kind),
        outcome.upstream_status,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.source,
        outcome.cost_nusd,
        outcome.credits,
        outcome.unpriced,
        outcome.first_byte_us,
        outcome.total_us,
        outcome.bytes_out,
        outcome.retries,
        _storable(outcome.upstream_request_id),
        repeats,
        outcome.phi,
        outcome.provider,
        _storable(outcome.upstream_model),
    )


def whole_row(opened: Row, ended: Row) -> Row:
    """A start row and its end as one row of WHOLE_COLUMNS."""
    provider, upstream_model = ended[-2:]
    if provider is not None or upstream_model is not None:
        place = _PROVIDER
        opened = (
            *opened[:place],
            opened[place] if provider is None else provider,
            opened[place + 1] if upstream_model is None else upstream_model,
            *opened[place + 2 :],
        )
    return opened + ended[1:-2]


def is_stored(row: Row, columns: tuple[str, ...], stored: StoredEnd | None) -> bool:
    """Whether the end that ``row`` (of ``columns``) tells of is the one in the database."""
    if stored is None:
        return False
    places = (columns.index(name) for name in ("ended_us", "ending", "status", "total_us"))
    return tuple(row[place] for place in places) == (
        stored.ended_us,
        stored.ending,
        stored.status,
        stored.total_us,
    )


def _storable(text: str | None) -> str | None:
    """Without what PostgreSQL cannot store (NUL, lone surrogates) or a log would stumble over, and
    bounded: clients and providers choose these texts."""
    if text is None or (len(text) <= _MAX_TEXT_CHARS and text.isprintable()):
        return text
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:_MAX_TEXT_CHARS])
