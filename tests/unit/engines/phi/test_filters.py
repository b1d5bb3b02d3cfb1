"""Terms that an org does not let out."""

from types import SimpleNamespace

import pytest

from triptych.engines.phi.filters import CompiledFilters
from triptych.engines.phi.normalise import plain


def found(text: str, kind: str, pattern: str) -> list[str]:
    filters = CompiledFilters.compile([{"name": "f", "kind": kind, "pattern": pattern}])
    spelled = plain(text)
    spans = {spelled.span(one.start, one.end) for one in filters.find(text, spelled)}
    return sorted(text[start:end] for start, end in spans)


@pytest.mark.parametrize(
    ("kind", "pattern", "text", "values"),
    [
        ("literal", "Project X (v2)", "on Project X (v2).", ["Project X (v2)"]),
        ("literal", "Falcon", "falcon Falcons", ["Falcon"]),
        ("literal", "Falcon", "Fal\u200bcon", ["Fal\u200bcon"]),
        ("literal", "Müller GmbH", "an Müller GmbH", ["Müller GmbH"]),
        ("literal", "東京計画", "see 東京計画 now", ["東京計画"]),
        ("literal", "東京計画", "see 大阪計画 now", []),
        ("phrase", "blue falcon", "BLUE \n Falcon, bluefalcon", ["BLUE \n Falcon"]),
        ("phrase", "art", "smart art", ["art"]),
        ("regex", r"ACME-\d{4}", "ACME-1234 ACME-12", ["ACME-1234"]),
        ("regex", r"(?i)straße \d+", "Straße 12", ["Straße 12"]),
    ],
)
def test_a_filter_finds_its_terms(kind: str, pattern: str, text: str, values: list[str]) -> None:
    assert found(text, kind, pattern) == values


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(a)\1", "invalid escape sequence"),
        (r"(?=a)", "invalid perl operator"),
        ("a*", "matches the empty text"),
        ("", "is empty"),
        ("(", "missing )"),
        ("x{1001}", "invalid repetition size"),
        ("a" * 5000, "more than 4096 characters"),
    ],
)
def test_a_pattern_that_cannot_be_linear_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match="codename") as error:
        CompiledFilters.compile([SimpleNamespace(name="codename", kind="regex", pattern=pattern)])
    assert reason in str(error.value)


def test_something_else_than_a_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="name, kind, pattern"):
        CompiledFilters.compile([{"name": "a", "kind": "glob", "pattern": "*"}])


def test_the_same_filters_have_the_same_fingerprint() -> None:
    one = CompiledFilters.compile([{"name": "a", "kind": "literal", "pattern": "b"}])
    same = CompiledFilters.compile([{"name": "a", "kind": "literal", "pattern": "b"}])
    other = CompiledFilters.compile([{"name": "a", "kind": "phrase", "pattern": "b"}])
    assert one.fingerprint == same.fingerprint != other.fingerprint
