"""One value of a JSON text by its path, as bytes where it stands. For what is looked up seldom."""

import msgspec

from triptych.core.failure import Failure
from triptych.wires.estimate import UNREADABLE
from triptych.wires.jsontext import members
from triptych.wires.slots import Path

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
