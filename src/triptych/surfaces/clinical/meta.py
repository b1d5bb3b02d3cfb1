"""What this surface says beside an answer: usage in its own units, and what the guard found."""

from typing import Any

from triptych.core.exchange import Exchange
from triptych.core.usage import NANO_USD_PER_USD, Usage


def usage_meta(exchange: Exchange, usage: Usage) -> dict[str, Any]:
    """All input counts as input, cached or not; a Sonnet-equivalent token is a credit."""
    cost_nusd, credits, _ = exchange.price(usage)
    return {
        "model": exchange.model.id if exchange.model is not None else None,
        "input_tokens": usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "sonnet_equivalent_tokens": credits,
        "cost_usd": cost_nusd / NANO_USD_PER_USD,
    }


def phi_meta(exchange: Exchange) -> dict[str, Any] | None:
    """None where nothing was found."""
    screening = exchange.screening
    if screening is None or not screening.counts:
        return None
    return {
        "mode": screening.mode,
        "entity_types": screening.entity_types,
        "redaction_count": screening.redactions,
    }


def answer_meta(exchange: Exchange) -> dict[str, Any]:
    """``meta`` of an answer on Anthropic's wire, which has a usage of its own."""
    meta: dict[str, Any] = {"request_id": exchange.request_id}
    phi = phi_meta(exchange)
    if phi is not None:
        meta["phi"] = phi
    return meta
