"""Values of a JSON text that is no wire's, as bytes where they stand. For what is looked up seldom."""

import re
from collections.abc import Iterator

import msgspec

from triptych.core.failure import Failure
from triptych.wires.estimate import UNREADABLE
from triptych.wires.json_strings import unescaped
from triptych.wires.jsontext import members
from triptych.wires.slots import Path

_TOKEN = re.compile(rb'"((?:[^"\\]++|\\.)*+)"(\s*+:)?|(-?[0-9][0-9.eE+-]*+)', re.DOTALL)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def value_span(text: bytes, path: Path) -> tuple[int, int] | None:
    """Start and end of the value; None when there is none, or the text is not JSON."""
    start, end = 0, len(text)
    for step in path:
        value = text[start:end]
        try:
            place = _member(value, step) if isinstance(step, str) else _item(value, step)
        except (*UNREADABLE, Failure):
            return None
        if place is None:
            return None
        start, end = start + place[0], start + place[1]
    return start, end


def _member(value: bytes, name: str) -> tuple[int, int] | None:
    for member in members(value):
        if member.key == name:
            return member.value_start, member.value_end
    return None


def _item(value: bytes, index: int) -> tuple[int, int] | None:
    position = value.index(b"[") + 1
    for place, item in enumerate(_ITEMS.decode(value)):
        raw = bytes(item)
        start = value.index(raw, position)
        if place == index:
            return start, start + len(raw)
        # Between two items stand white space and a comma, which no item begins with.
        position = start + len(raw)
    return None


def long_numbers(text: bytes, least_digits: int) -> Iterator[tuple[str, int, int]]:
    """Numbers of so many digits in a JSON text: the key before each, start, end."""
    key = ""
    for token in _TOKEN.finditer(text):
        if token[3] is None:
            if token[2] is not None:
                key = unescaped(token[1])
        elif sum(48 <= byte <= 57 for byte in token[3]) >= least_digits:
            yield key, token.start(3), token.end(3)
