"""Identifiers in disguise: what must be seen through, by technique."""

from collections import defaultdict

import pytest

from triptych.engines.phi.evaluation import is_covered
from triptych.engines.phi.recognise import Recogniser

evasion = pytest.importorskip("training.phi.evasion")
# Of twelve identifiers at least so many; the model card has the figures.
FLOORS = {
    "none": 12,
    "zero-width characters": 12,
    "zero-width joiners": 12,
    "soft hyphens": 12,
    "BiDi marks": 12,
    "full-width letters and digits": 11,
    "Arabic-Indic digits": 8,
    "homoglyphs": 5,
    "base64": 7,
    "JSON escapes": 11,
    "JSON in tool arguments": 10,
    "Markdown table": 9,
    "e-mail with at and dot": 2,
    "spaced digits": 5,
    "split over two messages": 3,
}


def test_disguises_are_seen_through(recogniser: Recogniser) -> None:
    hits: dict[str, int] = defaultdict(int)
    for case in evasion.cases():
        found = recogniser.scan(case.texts)
        hits[case.technique] += all(
            is_covered(case.texts[text], start, end, found[text]) for text, start, end in case.spans
        )
    assert {name: hits[name] for name, floor in FLOORS.items() if hits[name] < floor} == {}
