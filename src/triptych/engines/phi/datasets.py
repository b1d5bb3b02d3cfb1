"""Labelled texts to measure the guard with: clinical queries, CoNLL posts, JSON lines."""

import json
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


def read(path: Path) -> list[Example]:
    """The format follows from the content. Raises ``ValueError`` saying the line where it is none of the three."""
    content = path.read_text(encoding="utf-8")
    if content.lstrip().startswith(QUERY):
        return _queries(content)
    if content.lstrip().startswith("{"):
        return [_json(line, number) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    return _conll(content)


def kind(label: str) -> str:
    return KINDS.get(label.lower(), label.upper())


def _queries(content: str) -> list[Example]:
    examples: list[Example] = []
    for block in content.split(QUERY)[1:]:
        text, _, tags = block.partition(TAGS)
        text = text.strip("\n")
        spans: list[tuple[int, int, str]] = []
        taken: set[int] = set()
        for line in tags.strip().splitlines():
            if line.strip():
                tag = json.loads(line)
                place = text.find(tag["value"])
                while place in taken:
                    place = text.find(tag["value"], place + 1)
                if place >= 0:
                    taken.add(place)
                    spans.append((place, place + len(tag["value"]), kind(tag["identifier_type"])))
        examples.append(Example(text, tuple(sorted(spans))))
    return examples


def _json(line: str, number: int) -> Example:
    try:
        given = json.loads(line)
        spans = [
            (entity["start"], entity["end"], kind(str(entity.get("type") or entity.get("label"))))
            for entity in given.get("entities", ())
        ]
        return Example(given["text"], tuple(sorted(spans)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"line {number}: expected {{text, entities: [{{type, start, end}}]}}: {error!r}"
        ) from None


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
