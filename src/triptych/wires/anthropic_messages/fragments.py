"""Pieces of a streamed text of this wire: which event ends one, and how one more is written."""

from collections.abc import Collection

import msgspec

from triptych.wires.anthropic_messages.slots import text_deltas
from triptych.wires.estimate import UNREADABLE
from triptych.wires.json_strings import escaped
from triptych.wires.slots import Path
from triptych.wires.splice import Edit, splice
from triptych.wires.sse import Event

_ENDS_ALL = frozenset({"message_delta", "message_stop", "error"})


class _Block(msgspec.Struct):
    type: str = ""
    index: int = -1


_BLOCK = msgspec.json.Decoder(_Block)


def ended(event: Event, parts: Collection[Path]) -> list[Path]:
    """The parts after whose last piece this event stands."""
    try:
        block = _BLOCK.decode(event.data)
    except UNREADABLE:
        return []
    type_ = event.type or block.type
    if type_ == "content_block_stop":
        return [part for part in parts if part[0] == block.index]
    return list(parts) if type_ in _ENDS_ALL else []


def fragment(event: Event, part: Path, text: str) -> bytes:
    """The data of the event, which brought a piece of the part, with that text instead."""
    edits = [
        Edit(delta.start, delta.end, escaped(text)) for delta in text_deltas(event) if delta.part == part
    ]
    return splice(event.data, edits)
