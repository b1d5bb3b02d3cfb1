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
        ("dob_1975_03_14.pdf", ["1975_03_14"]),
        ("scan_03_14_1975 or 3_14_75_x1234", ["03_14_1975", "3_14_75"]),
        ("SSN 123&ndash;45&#8209;6789 or", ["123&ndash;45&#8209;6789"]),
        (r"SSN 123\-45\-6789 or", [r"123\-45\-6789"]),
        ("\x1b[1m123-45-6789\x1b[0m or", ["123-45-6789"]),
        ("415·555·0142 or", ["415·555·0142"]),
        ("a\n\tssn=123%2D45%2D6789&x=%20", ["123%2D45%2D6789"]),
        (
            "GET /p?a=1&dob=03%2F14%2F1975&m=j.roe%40example.org HTTP",
            ["03%2F14%2F1975", "j.roe%40example.org"],
        ),
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


DISGUISED = [
    "Patient Margaret&nbsp;Thornton was admitted",
    "Patient Jos&eacute; Garc&iacute;a was admitted",
    "Patient \x1b[1mMargaret\x1b[0m \x1b[1mThornton\x1b[0m was admitted",
    "GET /patients?id=7&name=Margaret%20Thornton HTTP/1.1",
    "GET /patients?name=Jos%C3%A9+Garc%C3%ADa&id=7 HTTP/1.1",
]


@pytest.mark.parametrize("text", DISGUISED)
def test_a_name_is_found_whole_whatever_its_letters_are_written_as(recogniser: Recogniser, text: str) -> None:
    (found,) = recogniser.scan([text])
    left = list(text)
    for one in found:
        left[one.start : one.end] = "." * (one.end - one.start)
    rest = "".join(left)
    assert not any(name in rest for name in ("Margaret", "Thornton", "Jos", "Garc", "eacute", "%C3"))
    assert "GET /patients" in rest or "was admitted" in rest


def test_what_percent_encoding_says_takes_nothing_from_an_address(recogniser: Recogniser) -> None:
    text = "open https://x.example.org/q?name=Xiv%20Qzw&id=1 now"
    (found,) = recogniser.scan([text])
    assert [text[one.start : one.end] for one in found] == ["https://x.example.org/q?name=Xiv%20Qzw&id=1"]
    assert recogniser.scan(["up by 10%20mg, 50%25 of it, 5%10"]) == [[]]


def test_a_number_may_go_on_over_any_number_of_texts(recogniser: Recogniser) -> None:
    texts = ["SSN 123-", "45-", "6789 of", "call 415-", "555", "-0142"]
    found = recogniser.scan(texts)
    told = [[text[one.start : one.end] for one in ones] for text, ones in zip(texts, found, strict=True)]
    assert told == [["123-"], ["45-"], ["6789"], ["415-"], ["555"], ["-0142"]]


@pytest.mark.parametrize("text", ["limit = 1_000_000", "def f(x_1, utf_8, int_64): return b_22"])
def test_names_and_numbers_of_code_are_left(recogniser: Recogniser, text: str) -> None:
    assert recogniser.scan([text]) == [[]]
