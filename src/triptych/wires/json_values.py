"""Values of a JSON text that is no wire's, as bytes where they stand. For what is looked up seldom."""

import re
from collections.abc import Iterable, Iterator

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
    return value_spans(text, (path,)).get(path)


def value_spans(text: bytes, paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Start and end of each value there is. What holds several of them is read once."""
    found: dict[Path, tuple[int, int]] = {}
    waiting: list[tuple[int, int, int, list[Path]]] = [(0, len(text), 0, list(paths))]
    while waiting:
        start, end, depth, inside = waiting.pop()
        by_step: dict[str | int, list[Path]] = {}
        for path in inside:
            if len(path) == depth:
                found[path] = start, end
            else:
                by_step.setdefault(path[depth], []).append(path)
        if not by_step:
            continue
        value = text[start:end]
        try:
            held = _members(value) if isinstance(next(iter(by_step)), str) else _items(value)
        except (*UNREADABLE, Failure):
            continue
        for step, place, stop in held:
            wanted = by_step.get(step)
            if wanted is not None:
                waiting.append((start + place, start + stop, depth + 1, wanted))
    return found


def _members(value: bytes) -> Iterator[tuple[str, int, int]]:
    return ((member.key, member.value_start, member.value_end) for member in members(value))


def _items(value: bytes) -> Iterator[tuple[int, int, int]]:
    items = _ITEMS.decode(value)
    position = value.index(b"[") + 1

    def placed() -> Iterator[tuple[int, int, int]]:
        nonlocal position
        for place, item in enumerate(items):
            raw = bytes(item)
            start = value.index(raw, position)
            # Between two items stand white space and a comma, which no item begins with.
            position = start + len(raw)
            yield place, start, position

    return placed()


def long_numbers(text: bytes, least_digits: int) -> Iterator[tuple[str, int, int]]:
    """Numbers of so many digits in a JSON text: the key before each, start, end."""
    key = ""
    for token in _TOKEN.finditer(text):
        if token[3] is None:
            if token[2] is not None:
                key = unescaped(token[1])
        elif sum(48 <= byte <= 57 for byte in token[3]) >= least_digits:
            yield key, token.start(3), token.end(3)
