"""Labelled texts to measure the guard with: clinical queries, CoNLL posts, JSON lines."""

from pathlib import Path

import msgspec

QUERY, TAGS = "===QUERY===", "===PHI_TAGS==="
KINDS = {
    "name": "PERSON", "person": "PERSON", "geographic_location": "LOCATION", "location": "LOCATION", "gpe": "LOCATION",
    "street_address": "LOCATION", "address": "LOCATION", "date": "DATE_TIME", "geo-loc": "LOCATION", "facility": "LOCATION",
    "medical_record_number": "MRN", "health_plan_beneficiary_number": "HEALTH_PLAN_ID",
    "social_security_number": "US_SSN", "unique_identifier": "UNIQUE_ID", "certificate_license_number": "MEDICAL_LICENSE",
}  # fmt: skip
"""Other projects' labels for our types; labels that are not here are taken as they are, in capitals."""
CONLL_KINDS = frozenset({"person", "location", "facility", "geo-loc", "per", "loc"})
"""Of CoNLL files the labels that are identifiers; companies, products and works are not."""


class Example(msgspec.Struct, frozen=True):
    text: str
    spans: tuple[tuple[int, int, str], ...]


class _Entity(msgspec.Struct):
    start: int
    end: int
    type: str | None = None
    label: str | None = None


class _Line(msgspec.Struct):
    text: str
    entities: list[_Entity] = []


class _Tag(msgspec.Struct):
    value: str
    identifier_type: str


def read(path: Path) -> list[Example]:
    """The format follows from the content. Raises ``ValueError`` saying the line where it is none of the three."""
    try:
        content = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    if content.lstrip().startswith(QUERY):
        examples = _queries(content)
    elif content.lstrip().startswith("{"):
        # Not splitlines: JSON's strings may hold what Unicode calls the end of a line.
        examples = [_json(line, number) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    else:
        examples = _conll(content)
    if not examples:
        raise ValueError("no texts in it")
    return examples


def kind(label: str) -> str:
    return KINDS.get(label.lower(), label.upper())


def _queries(content: str) -> list[Example]:
    examples: list[Example] = []
    head, *blocks = content.split(QUERY)
    before = head.count("\n")
    for block in blocks:
        text, _, tags = block.partition(TAGS)
        spans: list[tuple[int, int, str]] = []
        taken: set[int] = set()
        first = before + text.count("\n") + 1
        text = text.strip("\n")
        for number, line in enumerate(tags.split("\n"), first):
            if line.strip():
                tag = _tag(line, number)
                place = text.find(tag.value)
                while place in taken:
                    place = text.find(tag.value, place + 1)
                if place >= 0:
                    taken.add(place)
                    spans.append((place, place + len(tag.value), kind(tag.identifier_type)))
        examples.append(Example(text, tuple(sorted(spans))))
        before += block.count("\n")
    return examples


def _tag(line: str, number: int) -> _Tag:
    try:
        return msgspec.json.decode(line, type=_Tag)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: expected {{identifier_type, value}}: {error}") from None


def _json(line: str, number: int) -> Example:
    expected = f"line {number}: expected {{text, entities: [{{type, start, end}}]}}"
    try:
        given = msgspec.json.decode(line, type=_Line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{expected}: {error}") from None
    for entity in given.entities:
        if not 0 <= entity.start < entity.end <= len(given.text):
            raise ValueError(f"{expected}: {entity.start} to {entity.end} is no part of the text")
        if not (entity.type or entity.label):
            raise ValueError(f"{expected}: an entity has no type")
    spans = [(entity.start, entity.end, kind(entity.type or entity.label or "")) for entity in given.entities]
    return Example(given.text, tuple(sorted(spans)))


def _conll(content: str) -> list[Example]:
    examples: list[Example] = []
    text = ""
    spans: list[tuple[int, int, str]] = []
    for number, line in enumerate([*content.splitlines(), ""], 1):
        token, _, tag = line.strip().partition("\t")
        if not token:
            if text:
                examples.append(Example(text, tuple(spans)))
            text, spans = "", []
            continue
        if not tag:
            raise ValueError(f"line {number}: expected a token, a tab and a BIO tag")
        text += " " if text else ""
        start = len(text)
        text += token
        prefix, _, label = tag.partition("-")
        if label not in CONLL_KINDS:
            continue
        if prefix == "I" and spans and spans[-1][1] == start - 1 and spans[-1][2] == kind(label):
            spans[-1] = (spans[-1][0], len(text), spans[-1][2])
        else:
            spans.append((start, len(text), kind(label)))
    return examples
