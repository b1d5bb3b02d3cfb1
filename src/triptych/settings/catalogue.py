"""``[[providers]]`` and ``[[models]]``."""

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from triptych.core.usage import Price, nano_usd
from triptych.settings.secret import Secret, without_password
from triptych.settings.table import Table
from triptych.settings.tree import (
    BASE_URLS,
    KNOWN_KINDS,
    PHI_MODES,
    WIRE_KINDS,
    DatedPrice,
    ModelSettings,
    ProviderSettings,
    TargetSettings,
)

NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,63})\Z")
NAME_EXPECTED: Final = "up to 64 letters, digits, dots, hyphens and underscores"
MODEL_ID: Final = re.compile(r"[\x21-\x7e]{1,200}\Z")
MODEL_ID_EXPECTED: Final = "up to 200 visible ASCII characters, without spaces"

MOST_CREDIT_RATIO: Final = Decimal(1000)
MOST_USD_PER_MILLION: Final = Decimal(1_000_000)
MOST_WEIGHT: Final = 1_000_000
_WIRE_KINDS: Final = " or ".join(f'"{kind}"' for kind in KNOWN_KINDS if kind in WIRE_KINDS)
BEDROCK_HOST: Final = re.compile(
    r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)\Z"
)
"""The hosts of Amazon Bedrock's runtime, with the region in group 1."""
REGION: Final = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+\Z")
_REGION_EXPECTED: Final = 'an AWS region such as "us-east-1"'
AWS_KEYS: Final = re.compile(r"\w+:[^:]+(?::[^:]+)?\Z", re.ASCII)
_AWS_KEY: Final = 'a Bedrock API key, or "ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]" to sign with'
_PROVIDER: Final = "the name of a provider"
_PRICE_KEYS: Final = ("input", "output", "cache_read", "cache_write", "reasoning")


def read_provider(table: Table) -> ProviderSettings:
    name = table.required_text("name", NAME, NAME_EXPECTED)
    table.label = f'provider "{name}"' if name else ""
    table.required("kind", 'the kind of provider, such as "anthropic"')
    kind = table.optional_choice("kind", KNOWN_KINDS)
    base_url = None
    region = None
    api_key = table.secret("api_key")
    if kind == "sandbox":
        for key in ("base_url", "api_key"):
            if table.has(key):
                table.note(key, "not known to a provider of kind sandbox: it calls nobody; remove it")
    else:
        base_url = _base_url(table, kind)
        if kind == "bedrock":
            table.required("api_key", _AWS_KEY)
            base_url, region = _bedrock(table, base_url, api_key)
        elif kind is not None:
            table.required("api_key", 'the provider\'s key: "env:NAME" or the key itself')
    if table.has("region") and kind not in {None, "bedrock"}:
        table.note("region", f'only known to a provider of kind "bedrock"; this one is "{kind}"')
    if table.has("wire") and kind is not None and kind not in WIRE_KINDS:
        table.note("wire", f'only known to a provider of kind {_WIRE_KINDS}; this one is "{kind}"')
    return ProviderSettings(
        name=name,
        kind=kind or "",
        base_url=base_url,
        api_key=api_key,
        baa=table.text("baa", None),
        wire=table.choice("wire", "auto", ("auto", "chat", "responses")),
        region=region,
    )


def _bedrock(table: Table, base_url: str | None, api_key: Secret | None) -> tuple[str | None, str | None]:
    """Base URL and region: each follows from the other. A region is needed for the one or to sign."""
    signing = api_key is not None and ":" in api_key.reveal()
    if api_key is not None and signing and not AWS_KEYS.match(api_key.reveal()):
        table.note("api_key", f"expected {_AWS_KEY}")
    region = table.text("region", None, REGION, _REGION_EXPECTED)
    match = BEDROCK_HOST.search(_host_of(base_url))
    if match and region and match[1] != region:
        table.note_found("region", region, f'"{match[1]}", the region base_url is in')
    if match:
        region = match[1]
    if region and base_url is None and not table.has("base_url"):
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        base_url = f"https://bedrock-runtime.{region}.{suffix}"
    elif region is None and not table.has("region") and (signing or not table.has("base_url")):
        table.note("region", f"missing, expected {_REGION_EXPECTED}")
    return base_url, region


def _base_url(table: Table, kind: str | None) -> str | None:
    expected = 'a URL such as "https://api.example.com", without user, query and fragment'
    if not table.has("base_url"):
        if kind == "azure-openai":
            table.note("base_url", f"missing, expected {expected}")
        return BASE_URLS.get(kind or "")
    url = table.text("base_url", None, expected=expected)
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_right = urlsplit(""), False
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or not port_is_right
        or not url.isascii()
        or set(url) & set('@?# "<>\\^`{|}')
    ):
        table.note_found("base_url", without_password(url), expected)
    return url.rstrip("/")


def _host_of(base_url: str | None) -> str:
    try:
        return urlsplit(base_url or "").hostname or ""
    except ValueError:
        return ""


def read_model(table: Table, providers: Collection[str]) -> ModelSettings:
    id = table.required_text("id", MODEL_ID, MODEL_ID_EXPECTED)
    table.label = f'model "{id}"' if id else ""
    groups = table.texts("groups", None)
    ratio = table.number(
        "credit_ratio", Decimal(1), MOST_CREDIT_RATIO, f"a number from 0 to {MOST_CREDIT_RATIO}", zero=True
    )
    return ModelSettings(
        id=id,
        targets=_targets(table, id, providers),
        tier=table.choice("tier", "standard", ("standard", "premium")),
        credit_ratio=ratio,
        price=_price(table),
        prices=_prices(table),
        fallback=table.texts("fallback", ()),
        phi_mode=table.optional_choice("phi_mode", PHI_MODES),
        groups=None if groups is None else frozenset(groups),
        retires_at_us=table.moment_us("retires_at"),
        replacement=table.text("replacement", None, MODEL_ID, MODEL_ID_EXPECTED),
        max_output_tokens=table.integer("max_output_tokens", None, 1),
        context_window=table.integer("context_window", None, 1),
    )


def _targets(table: Table, id: str, providers: Collection[str]) -> tuple[TargetSettings, ...]:
    if not table.has("targets"):
        if not table.has("provider"):
            table.note("provider", "missing, expected the name of a provider (or targets)")
        provider = _provider(table, table.text("provider", ""), providers)
        upstream_id = table.text("upstream_id", id, MODEL_ID, MODEL_ID_EXPECTED)
        return (TargetSettings(provider=provider, upstream_id=upstream_id),)
    for key in ("provider", "upstream_id"):
        if table.has(key):
            table.note(key, "cannot stand beside targets; say it inside them")
    targets: list[TargetSettings] = []
    for inner in table.tables("targets"):
        inner.label = table.label
        target = TargetSettings(
            provider=_provider(inner, inner.required_text("provider", None, _PROVIDER), providers),
            upstream_id=inner.text("upstream_id", id, MODEL_ID, MODEL_ID_EXPECTED),
            weight=inner.integer("weight", 1, 1, MOST_WEIGHT),
            priority=inner.integer("priority", 0, 0),
        )
        if any((t.provider, t.upstream_id) == (target.provider, target.upstream_id) for t in targets):
            inner.note_found("provider", target.provider, "each provider and upstream_id once per model")
        targets.append(target)
    if table.peek("targets") == []:
        table.note_found("targets", [], "at least one target")
    return tuple(sorted(targets, key=lambda target: target.priority))


def _provider(table: Table, name: str, known: Collection[str]) -> str:
    if name and name not in known:
        table.note_unknown_name("provider", name, _PROVIDER, known)
    return name


def _price(table: Table) -> Price | None:
    if not table.has("price"):
        return None
    inner = table.table("price")
    inner.label = table.label
    if not any(inner.has(key) for key in _PRICE_KEYS):
        table.note("price", "found no price in it, expected input and output; leave it out for unpriced")
    return _read_price(inner)


def _prices(table: Table) -> tuple[DatedPrice, ...]:
    """Prices that hold from a day on, oldest first."""
    dated: list[DatedPrice] = []
    for inner in table.tables("prices"):
        inner.label = table.label
        inner.required("from", "the day from which the price holds")
        since_us = inner.moment_us("from")
        price = _read_price(inner)
        if not any(inner.has(key) for key in _PRICE_KEYS):
            inner.note("input", "missing, expected at least input and output")
        if since_us is None:
            continue
        if any(other.from_us == since_us for other in dated):
            inner.note("from", "two prices begin at the same moment")
        dated.append(DatedPrice(from_us=since_us, price=price))
    return tuple(sorted(dated, key=lambda one: one.from_us))


def _read_price(inner: Table) -> Price:
    expected = f"USD per million tokens, from 0 to {MOST_USD_PER_MILLION}"
    usd = {key: inner.number(key, None, MOST_USD_PER_MILLION, expected, zero=True) for key in _PRICE_KEYS}
    zero = Decimal(0)
    input_usd = usd["input"] if usd["input"] is not None else zero
    reasoning_usd = usd["reasoning"]
    return Price(
        input=nano_usd(input_usd),
        output=nano_usd(_or(usd["output"], zero)),
        cache_read=nano_usd(_or(usd["cache_read"], input_usd)),
        cache_write=nano_usd(_or(usd["cache_write"], input_usd)),
        reasoning=None if reasoning_usd is None else nano_usd(reasoning_usd),
    )


def _or(value: Decimal | None, default: Decimal) -> Decimal:
    return default if value is None else value
