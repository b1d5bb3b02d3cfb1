"""``/v1/usage`` and ``/v1/usage/budget``: what an org used in the cycle that runs, and may use."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from triptych.core.exchange import Exchange
from triptych.core.response import Response
from triptych.core.usage import NANO_USD_PER_USD
from triptych.stages.settle import Dialect
from triptych.storage.budgets import Budget, BudgetChange, change_budget, read_budget
from triptych.storage.cycle_usage import CycleUsage, ModelUsage, read_usage
from triptych.storage.database import Database
from triptych.surfaces.clinical.control import actor_of, answer, confirmed, fields_of, moment, stored
from triptych.surfaces.clinical.shared_reads import AT_ONCE, SharedReads
from triptych.wires import faults

MOST_THRESHOLDS = 3
MOST_USD = 9_000_000_000
_NULL = b"null"
_AMOUNT = msgspec.json.Decoder(Decimal)


class Usage:
    def __init__(self, database: Database, confirm: Callable[[], object]) -> None:
        """``confirm`` lets this node know of a change at once (blocks)."""
        self._database = database
        self._confirm = confirm
        places = asyncio.Semaphore(AT_ONCE)
        self._usages = SharedReads(lambda org_id: read_usage(database, org_id), places)
        self._budgets = SharedReads(lambda org_id: read_budget(database, org_id), places)

    async def read(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        used = await self._usages.of(exchange.principal.org_id)
        return answer(exchange, dialect, shown_usage(used))

    async def budget(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        budget = await self._budgets.of(exchange.principal.org_id)
        return answer(exchange, dialect, shown_budget(budget))

    async def change(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """What is absent stays as it is. Raises Failure INVALID_BODY."""
        change, org_id = wanted_change(exchange), exchange.principal.org_id

        def work() -> None:
            if change_budget(self._database, org_id, change, actor_of(exchange)):
                confirmed(self._confirm)

        await stored(work)
        return answer(exchange, dialect, shown_budget(await self._budgets.of(org_id)))


def shown_usage(used: CycleUsage) -> dict[str, Any]:
    allotment = used.credits_allotment
    remaining = None if allotment is None else max(0, allotment - used.credits - used.credits_reserved)
    return {
        "period": {"start": moment(used.cycle_start_us), "end": moment(used.cycle_end_us)},
        "credits": {
            "allotment": allotment,
            "used": used.credits,
            "reserved": used.credits_reserved,
            "remaining": remaining,
        },
        "requests": {"total": used.requests, "failed": used.failed},
        "by_model": [_shown_model(model) for model in used.by_model],
        "spend_usd": usd(used.cost_nusd),
    }


def _shown_model(used: ModelUsage) -> dict[str, Any]:
    shown = msgspec.structs.asdict(used)
    spent_nusd = shown.pop("cost_nusd")
    return {**shown, "spend_usd": usd(spent_nusd)}


def shown_budget(budget: Budget) -> dict[str, Any]:
    cap = budget.spend_cap_nusd
    return {
        "spend_cap_usd": None if cap is None else usd(cap),
        "alert_thresholds": budget.alert_thresholds,
        "opus_enabled": budget.opus_enabled,
        "credits_allotment": budget.credits_allotment,
        "current_spend_usd": usd(budget.spent_nusd),
        "cycle_reset_at": moment(budget.cycle_end_us),
    }


def usd(nusd: int) -> int | float:
    """An amount as JSON's number: whole where it is whole."""
    return nusd // NANO_USD_PER_USD if nusd % NANO_USD_PER_USD == 0 else nusd / NANO_USD_PER_USD


def wanted_change(exchange: Exchange) -> BudgetChange:
    """Raises Failure INVALID_BODY."""
    fields = fields_of(exchange, "spend_cap_usd", "alert_thresholds", "opus_enabled", may_be_empty=True)
    change = BudgetChange()
    if "spend_cap_usd" in fields:
        change = msgspec.structs.replace(change, spend_cap_nusd=_amount(fields["spend_cap_usd"]))
    if "alert_thresholds" in fields:
        change = msgspec.structs.replace(change, alert_thresholds=_thresholds(fields["alert_thresholds"]))
    if "opus_enabled" in fields:
        enabled = bytes(fields["opus_enabled"])
        if enabled not in (b"true", b"false"):
            raise faults.wrong("opus_enabled", "must be true or false")
        change = msgspec.structs.replace(change, opus_enabled=enabled == b"true")
    return change


def _amount(raw: msgspec.Raw) -> int | None:
    """In nano-USD, exactly; a text is no number."""
    text = bytes(raw)
    if text == _NULL:
        return None
    wrong = faults.wrong(
        "spend_cap_usd", f"must be a number from 0 to {MOST_USD} of at most 9 decimals, or null for no cap"
    )
    if text.startswith(b'"'):
        raise wrong
    try:
        amount = _AMOUNT.decode(text)
    except msgspec.ValidationError:
        raise wrong from None
    if not amount.is_finite() or not 0 <= amount <= MOST_USD:
        raise wrong
    nusd = amount * NANO_USD_PER_USD
    if nusd != int(nusd):
        raise wrong
    return int(nusd)


def _thresholds(raw: msgspec.Raw) -> tuple[int, ...]:
    if bytes(raw) == _NULL:
        return ()
    wrong = faults.wrong(
        "alert_thresholds",
        f"must be an array of up to {MOST_THRESHOLDS} different integers from 1 to 99: percents of the cap",
    )
    try:
        found = msgspec.json.decode(raw, type=list[int])
    except msgspec.ValidationError:
        raise wrong from None
    different = len(set(found)) == len(found) <= MOST_THRESHOLDS
    if not different or not all(1 <= percent <= 99 for percent in found):
        raise wrong
    return tuple(sorted(found))
