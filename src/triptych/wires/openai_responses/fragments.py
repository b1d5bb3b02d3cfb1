"""Pieces of a streamed text of this wire: which event ends one, and how one more is written."""

from collections.abc import Collection

import msgspec

from triptych.core.failure import Failure
from triptych.wires.estimate import UNREADABLE
from triptych.wires.json_strings import escaped
from triptych.wires.openai_responses.slots import text_deltas
from triptych.wires.slots import Path
from triptych.wires.splice import Edit, splice
from triptych.wires.sse import Event

_ENDS_ALL = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


class _Place(msgspec.Struct):
    type: str = ""
    output_index: int = -1
    content_index: int | None = None


_PLACE = msgspec.json.Decoder(_Place)


def ended(event: Event, parts: Collection[Path]) -> list[Path]:
    """The parts after whose last piece this event stands."""
    try:
        place = _PLACE.decode(event.data)
    except UNREADABLE:
        return []
    type_ = event.type or place.type
    if type_ in _ENDS_ALL:
        return list(parts)
    if not type_.endswith(".done"):
        return []
    if type_ == "response.output_item.done":
        return [part for part in parts if part[1] == place.output_index]
    if type_ == "response.content_part.done":
        return [part for part in parts if part[1:3] == (place.output_index, place.content_index)]
    try:
        done = {delta.part for delta in text_deltas(event)}
    except Failure:
        return []
    # A command's pieces may be of two texts (``stdout``, ``stderr``); its end is of both.
    return [part for part in parts if part in done or part[:3] in done]


def fragment(event: Event, part: Path, text: str) -> bytes:
    """The data of the event, which brought a piece of the part, with that text instead."""
    edits = [
        Edit(delta.start, delta.end, escaped(text) if delta.part == part else b"")
        for delta in text_deltas(event)
        if delta.is_fragment
    ]
    return splice(event.data, edits)
