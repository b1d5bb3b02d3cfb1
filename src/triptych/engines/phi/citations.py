"""Citations point into texts by code points; once values are back, they point at the same words again."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from triptych.engines.phi.restore import Shifts
from triptych.wires.estimate import UNREADABLE
from triptych.wires.json_values import value_span
from triptych.wires.slots import Path
from triptych.wires.splice import Edit

ShiftsOf = Callable[[Path, Any], Shifts | None]
"""Of the text that a citation at this path of this whole JSON value points into; None: as it was."""

_TEXTS = ("text", "content")
_MAX_LOOKED_AT_BYTES = 32 << 20
"""A text is looked through once per citation: a provider that sends thousands in megabytes has the rest
passed on as they came."""


def points(data: bytes) -> bool:
    """Whether anything in it may be a citation by code points."""
    return b'"start_index"' in data or b'"start_char_index"' in data


def citation_edits(data: bytes, answer: ShiftsOf, documents: Mapping[int, Shifts]) -> list[Edit]:
    """Edits of the offsets of every citation in a whole JSON text."""
    try:
        whole = msgspec.json.decode(data)
    except UNREADABLE:
        return []
    edits: list[Edit] = []
    looked_at = 0
    for path, citation in _objects(whole):
        names = ("start_index", "end_index")
        shifts: Shifts | None = None
        if _counts(citation, names):
            shifts = answer(path, whole)
        elif _counts(citation, names := ("start_char_index", "end_char_index")):
            number = citation.get("document_index")
            shifts = documents.get(number) if isinstance(number, int) else None
        if shifts is None:
            continue
        looked_at += len(data)
        if looked_at > _MAX_LOOKED_AT_BYTES:
            break
        for name, moved in zip(names, (shifts.start, shifts.end), strict=True):
            place = value_span(data, (*path, name))
            if place is not None:
                edits.append(Edit(*place, b"%d" % moved(citation[name])))
    return edits


def text_beside(path: Path) -> list[Path]:
    """Where the text may stand that an annotation in an array belongs to."""
    if "annotations" not in path:
        return []
    owner = path[: path.index("annotations")]
    return [(*owner, name) for name in _TEXTS]


def _counts(citation: Mapping[str, Any], names: tuple[str, str]) -> bool:
    return all(type(citation.get(name)) is int and citation[name] >= 0 for name in names)


def _objects(whole: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    waiting: list[tuple[Path, Any]] = [((), whole)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            yield path, value
            waiting.extend(((*path, name), inner) for name, inner in value.items())
        elif isinstance(value, list):
            waiting.extend(((*path, place), inner) for place, inner in enumerate(value))
