"""Callers' notes and the provider's log held against the ledger. The gateway is not asked."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.devices.load import Order, Seen

INPUT_NUSD, OUTPUT_NUSD = 3_000, 15_000
"""Of one token, at the price that ``tests.devices.gateway.provider`` configures."""

Row = Mapping[str, Any]


@dataclass
class Verdict:
    """What does not add up, by tag or request id."""

    lost: list[str] = field(default_factory=list)
    """The caller saw a finished answer; its row is missing, or says something else happened."""
    wrong: list[str] = field(default_factory=list)
    """The row of a finished answer has wrong tokens, cost or status."""
    doubled: list[str] = field(default_factory=list)
    """One call, several rows."""
    unrecorded: list[str] = field(default_factory=list)
    """The provider got the request, the ledger has no row."""
    invented: list[str] = field(default_factory=list)
    """A row that no call accounts for."""
    still_open: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """A row settled as interrupted that has more in it than an orphan can have."""

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        return ", ".join(f"{name}: {len(tags)} {tags[:3]}" for name, tags in vars(self).items() if tags)


def judge(
    seen: Iterable[Seen], provided: Iterable[Order], rows: Iterable[Row], hash_of: Callable[[str], str]
) -> Verdict:
    """``hash_of``: the tag as the ledger keeps it."""
    verdict = Verdict()
    calls = list(seen)
    by_id: dict[str, Row] = {}
    by_hash: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["id"] in by_id:
            verdict.doubled.append(row["id"])
        by_id[row["id"]] = row
        by_hash[row["client_user_hash"]].append(row)
        if row["ended_us"] is None:
            verdict.still_open.append(row["id"])
        elif row["ending"] == "interrupted" and (row["status"], row["failure_kind"]) != (0, "interrupted"):
            verdict.odd.append(row["id"])

    provided_tags = Counter(order.tag for order in provided)
    for call in calls:
        if not call.finished:
            continue
        row_found = by_id.get(call.request_id.removeprefix("req_").upper())
        if (
            row_found is None
            or row_found["ending"] != "completed"
            or row_found["client_user_hash"] != hash_of(call.order.tag)
        ):
            verdict.lost.append(call.order.tag)
        elif not _right(row_found, call.order) or call.order.tag not in provided_tags:
            verdict.wrong.append(call.order.tag)

    known = set()
    for tag in {call.order.tag for call in calls} | provided_tags.keys():
        known.add(hash_of(tag))
        found = by_hash.get(hash_of(tag), [])
        if len(found) > 1:
            verdict.doubled.append(tag)
        elif not found and tag in provided_tags:
            verdict.unrecorded.append(tag)
    verdict.invented += [row["id"] for row in by_id.values() if row["client_user_hash"] not in known]
    return verdict


def _right(row: Row, order: Order) -> bool:
    return (
        row["status"] == 200
        and row["failure_kind"] is None
        and row["usage_source"] == "provider"
        and row["input_tokens"] == order.input_tokens
        and row["output_tokens"] == order.output_tokens
        and row["cost_nusd"] == order.input_tokens * INPUT_NUSD + order.output_tokens * OUTPUT_NUSD
        and bool(row["stream"]) is order.stream
    )
