"""The effective configuration as TOML, for people: defaults filled in, secrets masked.

A secret that came from ``env:NAME`` is shown as that, so such a file can be loaded again.
"""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from triptych.core.usage import NANO_USD_PER_USD, Price
from triptych.settings.moment import spelled
from triptych.settings.secret import Secret
from triptych.settings.tree import WIRE_KINDS, ModelSettings, Settings, SurfaceSettings

_SECTIONS: Final = (
    "server",
    "surfaces",
    "storage",
    "limits",
    "secrets",
    "keys",
    "breaker",
    "retries",
    "ledger",
    "retention",
    "emotion",
    "compliance",
)


def effective_toml(settings: Settings) -> str:
    """Valid TOML with every key that has a value, in the order of the documentation."""
    lines = [f"# Effective configuration of {settings.source}"]
    for name in _SECTIONS:
        lines += _table(f"[{name}]", _plain(getattr(settings, name)))
    for provider in settings.providers:
        fields = _plain(provider)
        if provider.kind not in WIRE_KINDS:
            del fields["wire"]
        lines += _table("[[providers]]", fields)
    for model in settings.models:
        lines += _table("[[models]]", _model(model))
    for org in settings.orgs:
        fields = _plain(org)
        for name in ("groups", "users", "keys"):
            del fields[name]
        lines += _table("[[orgs]]", fields)
        for name, members in (("groups", org.groups), ("users", org.users), ("keys", org.keys)):
            for member in members:
                lines += _table(f"[[orgs.{name}]]", _plain(member))
    return "\n".join(lines) + "\n"


def _plain(value: msgspec.Struct) -> dict[str, object]:
    """A struct under the names of the file, without keys that have no value."""
    fields: dict[str, object] = {}
    for name, item in msgspec.structs.asdict(value).items():
        if item is None:
            continue
        if name.endswith("_nusd"):
            fields[name.removesuffix("_nusd") + "_usd"] = _usd(item)
        elif isinstance(item, SurfaceSettings):
            fields[name] = _plain(item) if item.hosts else item.prefix
        else:
            fields[name] = _value(item)
    return fields


def _value(item: object) -> object:
    if isinstance(item, Secret):
        return item.shown()
    if isinstance(item, msgspec.Struct):
        return _plain(item)
    if isinstance(item, tuple):
        return [_value(one) for one in item]
    if isinstance(item, frozenset):
        return sorted(item)
    return item


def _model(model: ModelSettings) -> dict[str, object]:
    fields = _plain(model)
    targets = fields.pop("targets")
    only = model.targets[0]
    if len(model.targets) == 1 and (only.weight, only.priority) == (1, 0):
        fields = {"id": model.id, "provider": only.provider, "upstream_id": only.upstream_id, **fields}
    else:
        fields["targets"] = targets
    if model.price is not None:
        fields["price"] = _price(model.price)
    fields["prices"] = [{"from": spelled(dated.from_us), **_price(dated.price)} for dated in model.prices]
    if model.retires_at_us is not None:
        del fields["retires_at_us"]
        fields["retires_at"] = spelled(model.retires_at_us)
    return fields


def _price(price: Price) -> dict[str, object]:
    kinds = msgspec.structs.asdict(price)
    return {name: _usd(value) for name, value in kinds.items() if value is not None}


def _usd(nusd: int) -> Decimal:
    return Decimal(nusd) / NANO_USD_PER_USD


def _table(header: str, fields: Mapping[str, object]) -> Iterator[str]:
    yield ""
    yield header
    for name, value in fields.items():
        yield f"{name} = {_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(item)}' for name, item in value.items())} }}"
    if isinstance(value, str):
        # JSON's string escapes are a subset of TOML's basic strings, but for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
