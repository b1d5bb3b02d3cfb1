"""What is noted of a change to an org, its users or keys (``admin_actions``): what it was, and what it is."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, RowMapping

from triptych.core.usage import NANO_USD_PER_USD
from triptych.storage.admin_actions import (
    BAA_STATED,
    BUDGET_UPDATED,
    FEATURE_DISABLED,
    FEATURE_ENABLED,
    ORG_UPDATED,
    USER_UPDATED,
    Actor,
    note,
    note_all,
)

OWN_BUDGET: Final = ("spend_cap_nusd", "alert_thresholds", "opus_enabled")
"""Columns of an org that its own people may change, beside whoever runs the installation."""
_NEW_BUDGET: Final[Mapping[str, Any]] = {
    "spend_cap_nusd": None,
    "alert_thresholds": "[]",
    "opus_enabled": False,
}
_TOLD: Final = ("plan", "compliance", "phi_mode", "credits", "rpm", "rpd", "tpm", "concurrency", "demo")
"""Columns whose values may be shown as they are."""


def note_org_changes(
    connection: Connection,
    actor: Actor,
    org_id: str,
    before: RowMapping | None,
    values: Mapping[str, Any],
) -> None:
    """``before``: the org's row, or None for a new one; ``values``: columns that were written."""

    def old(name: str) -> Any:
        return None if before is None else before[name]

    def tell(action: str, metadata: Mapping[str, object]) -> None:
        note(connection, actor, action, org_id=org_id, entity=("org", org_id), metadata=metadata)

    changed: dict[str, object] = {
        name: [old(name), values[name]] for name in _TOLD if name in values and old(name) != values[name]
    }
    if "dlp_filters" in values and (old("dlp_filters") or "[]") != values["dlp_filters"]:
        # Patterns may themselves be what must not be told.
        changed["dlp_filters"] = "changed"
    if before is None:
        changed = {"created": True, "compliance": values["compliance"], "plan": values["plan"]}
    if changed:
        tell(ORG_UPDATED, changed)
    was, now = _texts(old("features")), _texts(values.get("features", old("features")))
    for feature in sorted(now - was):
        tell(FEATURE_ENABLED, {"feature": feature})
    for feature in sorted(was - now):
        tell(FEATURE_DISABLED, {"feature": feature})
    if (old("baa") or "none") != values.get("baa", old("baa")):
        tell(BAA_STATED, {"status": values["baa"]})
    note_budget_change(connection, actor, org_id, before, values)


def note_budget_change(
    connection: Connection,
    actor: Actor,
    org_id: str,
    before: RowMapping | None,
    values: Mapping[str, Any],
) -> None:
    """The same of the columns in OWN_BUDGET."""
    start: Mapping[str, Any] = _NEW_BUDGET
    if before is not None:
        start = {name: before[name] for name in OWN_BUDGET}
    changed = {
        _NAMES[name]: [_shown(name, start[name]), _shown(name, values[name])]
        for name in OWN_BUDGET
        if name in values and start[name] != values[name]
    }
    if changed:
        note(connection, actor, BUDGET_UPDATED, org_id=org_id, entity=("org", org_id), metadata=changed)


def note_user(
    connection: Connection,
    actor: Actor,
    org_id: str,
    user_id: str,
    before: RowMapping | None,
    *,
    name: str,
    admin: bool,
    removed: bool = False,
) -> None:
    """Who becomes an administrator or is one no more, and who is removed, which stops his keys, or is back.
    ``before``: the user's row, or None for a new one; what follows: how it is now."""
    old = {"admin": False, "removed": False}
    if before is not None:
        old = {"admin": before["admin"], "removed": before["removed_us"] is not None}
    new = {"admin": admin, "removed": removed}
    changed = {fact: [old[fact], new[fact]] for fact in old if old[fact] != new[fact]}
    if changed:
        metadata = {"name": name, **changed}
        note(connection, actor, USER_UPDATED, org_id=org_id, entity=("user", user_id), metadata=metadata)


def note_key(
    connection: Connection, actor: Actor, action: str, org_id: str, key_id: str, name: str, **facts: object
) -> None:
    metadata = {"name": name, **facts}
    note(connection, actor, action, org_id=org_id, entity=("api_key", key_id), metadata=metadata)


def note_keys(
    connection: Connection, actor: Actor, action: str, org_id: str, keys: Sequence[tuple[str, str]]
) -> None:
    """The same of several: id and name of each."""
    entities = [(("api_key", key_id), {"name": name}) for key_id, name in keys]
    note_all(connection, actor, action, org_id=org_id, entities=entities)


_NAMES: Final = {
    "spend_cap_nusd": "spend_cap_usd",
    "alert_thresholds": "alert_thresholds",
    "opus_enabled": "opus_enabled",
}


def _shown(name: str, value: Any) -> object:
    if name == "spend_cap_nusd":
        return None if value is None else value / NANO_USD_PER_USD
    return msgspec.json.decode(value) if name == "alert_thresholds" else value


def _texts(text: str | None) -> set[str]:
    return set(msgspec.json.decode(text, type=list[str])) if text else set()
