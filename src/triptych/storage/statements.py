"""The ledger's SQL, built once from the columns; both engines understand it."""

# ruff: noqa: S608 - the SQL is made of the schema's own names; every value is a parameter

import re
from collections.abc import Mapping

from triptych.storage.rows import END_COLUMNS, OPEN_COLUMNS, WHOLE_COLUMNS
from triptych.storage.tables import exchanges, nodes

NODE_ID = "[A-Za-z0-9_-]{1,64}"
_UPDATED = tuple(name for name in END_COLUMNS if name != "id")
_KEPT_UNLESS_GIVEN = ("provider", "upstream_model")


def insert_open(source: str) -> str:
    """Start rows from ``source`` (VALUES or SELECT); one that is there already stays as it is, so
    that a batch may be tried again after a commit of unknown outcome."""
    return f"INSERT INTO {exchanges.name} ({', '.join(OPEN_COLUMNS)}) {source} ON CONFLICT (id) DO NOTHING"


def insert_whole(source: str) -> str:
    """Ended rows from ``source``; where the start row is there it is ended, if it is still open
    and of the same node and epoch."""
    updates = ", ".join(f"{name} = excluded.{name}" for name in _UPDATED)
    return (
        f"INSERT INTO {exchanges.name} ({', '.join(WHOLE_COLUMNS)}) {source} "
        f"ON CONFLICT (id) DO UPDATE SET {updates} WHERE {exchanges.name}.ended_us IS NULL "
        f"AND {exchanges.name}.node_id = excluded.node_id "
        f"AND {exchanges.name}.node_epoch = excluded.node_epoch"
    )


def update_ended(values: Mapping[str, str]) -> str:
    """The SET part, in the order of END_COLUMNS without the id; ``values`` gives each one's expression."""
    updates = ", ".join(
        f"{name} = coalesce({values[name]}, {exchanges.name}.{name})"
        if name in _KEPT_UNLESS_GIVEN
        else f"{name} = {values[name]}"
        for name in _UPDATED
    )
    return f"UPDATE {exchanges.name} SET {updates}"


def fence(node_id: str, node_epoch: int) -> str:
    """The condition under which a node may end a row: it is open, and this node's. Literals, as
    they never change while the node lives."""
    if not re.fullmatch(NODE_ID, node_id):
        raise ValueError("a node id is made of ASCII letters, digits, - and _")
    table = exchanges.name
    return (
        f"{table}.ended_us IS NULL AND {table}.node_epoch = {node_epoch:d} AND {table}.node_id = '{node_id}'"
    )


def lapsed(node_id: str, node_epoch: int) -> str:
    """Whether a node's lease is over by PostgreSQL's clock, so that others may end what it opens."""
    if not re.fullmatch(NODE_ID, node_id):
        raise ValueError("a node id is made of ASCII letters, digits, - and _")
    return (
        f"EXISTS (SELECT 1 FROM {nodes.name} WHERE id = '{node_id}' AND epoch = {node_epoch:d} "
        "AND lease_until_us <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
    )


def kept() -> str:
    """Reads back id and the fields of ``rows.StoredEnd``, in this order."""
    return f"SELECT id, node_id, node_epoch, ended_us, ending, status, total_us FROM {exchanges.name}"
