"""Identifiers in disguise, by technique: for each the texts of one call and where the values stand."""

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

VALUES = (
    ("My SSN is {}", "123-45-6789"),
    ("SSN {} on file", "536-22-8741"),
    ("card {}", "4111 1111 1111 1111"),
    ("call me at {}", "(415) 555-0142"),
    ("phone: {}", "+44 20 7946 0958"),
    ("MRN {}", "00482913"),
    ("write to {}", "maria.lopez@example.org"),
    ("email {}", "jsmith77@clinic.example.com"),
    ("DOB {}", "03/14/1962"),
    ("patient {} has a cough", "Margaret Thornton"),
    ("seen by Dr. {} today", "Adeyemi"),
    ("lives at {}", "12 Oak Street, Springfield"),
)
HOMOGLYPHS = str.maketrans("aeopcxyiABEHKMOPTX", "аеорсхуіАВЕНКМОРТХ")
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


@dataclass(frozen=True)
class Case:
    technique: str
    texts: tuple[str, ...]
    spans: tuple[tuple[int, int, int], ...]
    """Text, start, end."""


def cases(seed: int = 5) -> Iterator[Case]:
    rng = random.Random(seed)
    for sentence, value in VALUES:
        for technique, disguise in DISGUISES.items():
            hidden = disguise(value, rng)
            if hidden is not None:
                yield _placed(technique, sentence, hidden)
        before, after = sentence.split("{}")
        middle = len(value) // 2
        left, right = before + value[:middle], value[middle:] + after
        yield Case(
            "split over two messages",
            (left, right),
            ((0, len(before), len(left)), (1, 0, len(value) - middle)),
        )
        row = f"| field | value |\n|---|---|\n| {before.strip() or 'x'} | {value} | {after.strip()} |"
        yield _spanned("Markdown table", row, value)
        arguments = json.dumps({"note": f"line\n{sentence.format(value)}", "n": 1})
        yield _spanned("JSON in tool arguments", arguments, value)


def _placed(technique: str, sentence: str, hidden: str) -> Case:
    return _spanned(technique, sentence.format(hidden), hidden)


def _spanned(technique: str, text: str, value: str) -> Case:
    start = text.index(value)
    return Case(technique, (text,), ((0, start, start + len(value)),))


def _between(mark: str) -> Callable[[str, random.Random], str | None]:
    return lambda value, rng: (
        value[0] + "".join((mark if rng.random() < 0.5 else "") + letter for letter in value[1:])
    )


def _spaced(value: str, rng: random.Random) -> str | None:
    return (
        " ".join(letter for letter in value if letter.isdigit()) if sum(map(str.isdigit, value)) > 6 else None
    )


def _spelled(value: str, rng: random.Random) -> str | None:
    if "@" not in value:
        return None
    at, dot = rng.choice(((" at ", " dot "), (" (at) ", " (dot) "), ("[at]", "[dot]")))
    return value.replace("@", at).replace(".", dot)


DISGUISES: dict[str, Callable[[str, random.Random], str | None]] = {
    "none": lambda value, rng: value,
    "zero-width characters": _between("\u200b"),
    "zero-width joiners": _between("\u200d"),
    "soft hyphens": _between("\u00ad"),
    "BiDi marks": lambda value, rng: f"\u202d{value}\u202c",
    "full-width letters and digits": lambda value, rng: value.translate(FULL_WIDTH),
    "Arabic-Indic digits": lambda value, rng: (
        value.translate({0x30 + n: 0x660 + n for n in range(10)}) if any(map(str.isdigit, value)) else None
    ),
    "homoglyphs": lambda value, rng: value.translate(HOMOGLYPHS) if any(map(str.isalpha, value)) else None,
    "spaced digits": _spaced,
    "base64": lambda value, rng: base64.b64encode(f"value {value}".encode()).decode(),
    "JSON escapes": lambda value, rng: "".join(f"\\u{ord(letter):04x}" for letter in value),
    "e-mail with at and dot": _spelled,
    "lower case": lambda value, rng: value.lower() if any(map(str.isupper, value)) else None,
    "upper case": lambda value, rng: value.upper() if any(map(str.islower, value)) else None,
}
