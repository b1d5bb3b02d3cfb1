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


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("ssn_123-45-6789.pdf", ["123-45-6789"]),
        ("_123-45-6789_ or 123_45_6789", ["123-45-6789", "123_45_6789"]),
        ("dob_1962-03-14_x, ip_10.12.13.14", ["1962-03-14", "10.12.13.14"]),
        ("_IBAN GB29NWBK60161331926819_", ["GB29NWBK60161331926819"]),
        ("SSN 123-45-\n6789", ["123-45-\n6789"]),
        (
            "SSN 1\ufe0f\u20e32\ufe0f\u20e33\ufe0f\u20e3-45-6789",
            ["1\ufe0f\u20e32\ufe0f\u20e33\ufe0f\u20e3-45-6789"],
        ),
    ],
)
def test_a_number_is_found_whole_whatever_joins_it_to_its_neighbours(
    recogniser: Recogniser, text: str, values: list[str]
) -> None:
    (found,) = recogniser.scan([text])
    assert [text[one.start : one.end] for one in found] == values


@pytest.mark.parametrize("text", ["limit = 1_000_000", "def f(x_1, utf_8, int_64): return b_22"])
def test_names_and_numbers_of_code_are_left(recogniser: Recogniser, text: str) -> None:
    assert recogniser.scan([text]) == [[]]
