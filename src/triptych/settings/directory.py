"""``[[orgs]]`` with their groups, users and keys."""

import re
from typing import Final, TypedDict

from triptych.core.plans import PLANS
from triptych.core.principal import SCOPES
from triptych.settings.catalogue import NAME, NAME_EXPECTED
from triptych.settings.secret import Secret
from triptych.settings.table import LONGEST_S, Table
from triptych.settings.tree import (
    FEATURES,
    PHI_MODES,
    Compliance,
    DlpFilter,
    GroupSettings,
    KeySettings,
    OrgSettings,
    PhiMode,
    UserSettings,
)

LABEL: Final = re.compile(r"\S(?:.{0,98}\S)?\Z")
LABEL_EXPECTED: Final = "1 to 100 characters, without spaces at either end"
MOST_THRESHOLDS: Final = 3
_FILTER_EXPECTED: Final = "a text, or a table with name, kind and pattern"


def read_org(table: Table) -> OrgSettings:
    slug = table.required_text("slug", NAME, NAME_EXPECTED)
    table.label = f'org "{slug}"' if slug else ""
    compliance: Compliance = table.choice("compliance", "none", ("none", "hipaa"))
    return OrgSettings(
        slug=slug,
        plan=table.choice("plan", "developer", tuple(PLANS)),
        compliance=compliance,
        baa=table.choice("baa", "none", ("none", "active", "expired", "superseded")),
        opus_enabled=table.boolean("opus_enabled", False),
        features=table.texts("features", (), FEATURES),
        dlp_filters=_filters(table),
        alert_thresholds=_thresholds(table),
        demo=table.boolean("demo", False),
        context_ttl_s=table.integer("context_ttl_s", None, 1, LONGEST_S),
        store_text=table.boolean("store_text", False) if table.has("store_text") else None,
        groups=tuple(_group(inner) for inner in table.tables("groups")),
        users=tuple(_user(inner) for inner in table.tables("users")),
        keys=tuple(_key(inner) for inner in table.tables("keys")),
        **_allowances(table, "redact" if compliance == "hipaa" else None),
    )


def _thresholds(table: Table) -> tuple[int, ...]:
    expected = "up to three different integers from 1 to 99: percents of a spend cap"
    found: list[int] = []
    for place, item in table.array("alert_thresholds", expected):
        if type(item) is not int or not 1 <= item <= 99 or item in found or len(found) == MOST_THRESHOLDS:
            table.note_found(place, item, expected)
        else:
            found.append(item)
    return tuple(sorted(found))


class _Allowances(TypedDict):
    rpm: int | None
    rpd: int | None
    tpm: int | None
    concurrency: int | None
    spend_cap_nusd: int | None
    credits: int | None
    phi_mode: PhiMode | None


def _allowances(table: Table, phi_mode: PhiMode | None = None) -> _Allowances:
    return _Allowances(
        rpm=table.integer("rpm", None, 1),
        rpd=table.integer("rpd", None, 1),
        tpm=table.integer("tpm", None, 1),
        concurrency=table.integer("concurrency", None, 1),
        spend_cap_nusd=table.nano_usd("spend_cap_usd", None),
        credits=table.integer("credits", None, 0),
        phi_mode=table.optional_choice("phi_mode", PHI_MODES) or phi_mode,
    )


def _group(table: Table) -> GroupSettings:
    name = table.required_text("name", LABEL, LABEL_EXPECTED)
    table.label = f'group "{name}"' if name else ""
    return GroupSettings(
        name=name,
        models=table.texts("models", ()),
        api_key_access=table.boolean("api_key_access", False),
        **_allowances(table),
    )


def _user(table: Table) -> UserSettings:
    name = table.required_text("name", LABEL, LABEL_EXPECTED)
    table.label = f'user "{name}"' if name else ""
    return UserSettings(
        name=name,
        groups=table.texts("groups", ()),
        admin=table.boolean("admin", False),
        **_allowances(table),
    )


def _key(table: Table) -> KeySettings:
    name = table.required_text("name", LABEL, LABEL_EXPECTED)
    table.label = f'key "{name}"' if name else ""
    table.required(
        "secret", 'the key\'s text, or "env:NAME"; "triptych keys create" issues keys without a file'
    )
    return KeySettings(
        name=name,
        user=table.required_text("user", expected="the name of a user of this org"),
        secret=table.secret("secret") or Secret(""),
        scopes=table.texts("scopes", None, tuple(sorted(SCOPES))),
        environment=table.choice("environment", "live", ("live", "test")),
        **_allowances(table),
    )


def _filters(table: Table) -> tuple[DlpFilter, ...]:
    filters: list[DlpFilter] = []
    for place, item in table.array("dlp_filters", f"an array; each item {_FILTER_EXPECTED}"):
        if isinstance(item, str) and item:
            filters.append(DlpFilter(name=f"filter-{len(filters) + 1}", kind="literal", pattern=item))
        elif isinstance(item, dict):
            inner = table.open(place, item)
            inner.label = table.label
            filter_ = DlpFilter(
                name=inner.required_text("name", LABEL, LABEL_EXPECTED),
                kind=inner.choice("kind", "literal", ("literal", "phrase", "regex")),
                pattern=inner.required_text("pattern", expected="the text or pattern to look for"),
            )
            if filter_.pattern and (reason := _fault(filter_)):
                inner.note("pattern", reason)
            filters.append(filter_)
        else:
            table.note_found(place, item, _FILTER_EXPECTED)
    return tuple(filters)


def _fault(filter_: DlpFilter) -> str | None:
    """Why the guard would not take the filter; imported by those who have one."""
    from triptych.engines.phi.filters import CompiledFilters

    try:
        CompiledFilters.compile([filter_])
    except ValueError as error:
        return str(error)
    return None
