"""Pieces of a streamed text of this wire: which chunk ends one, and how one more is written."""

from collections.abc import Collection
from typing import Any

import msgspec

from triptych.wires.estimate import UNREADABLE
from triptych.wires.slots import Path
from triptych.wires.sse import Event

_DONE = b"[DONE]"


class _Choice(msgspec.Struct):
    index: int | None = None
    finish_reason: object = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    error: object = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_ANY = msgspec.json.Decoder(dict[str, Any])
_OF_ONE_CHUNK = ("choices", "usage", "obfuscation")


def ended(event: Event, parts: Collection[Path]) -> list[Path]:
    """The parts whose last piece comes before this chunk, or with it."""
    if event.type == "error" or event.data.strip() == _DONE:
        return list(parts)
    try:
        chunk = _CHUNK.decode(event.data)
    except UNREADABLE:
        return []
    if chunk.error:
        return list(parts)
    finished = {
        place if choice.index is None else choice.index
        for place, choice in enumerate(chunk.choices or ())
        if choice.finish_reason is not None
    }
    return [part for part in parts if part[0] in finished]


def fragment(event: Event, part: Path, text: str) -> bytes:
    """The data of a chunk that brings the text alone: of the last one only what all chunks say."""
    chunk = _ANY.decode(event.data)
    for name in _OF_ONE_CHUNK:
        chunk.pop(name, None)
    delta: object = text
    index: object = None
    for step in reversed(part[1:]):
        if isinstance(step, int):
            # The place of a call in its array is its index.
            index = step
        elif index is None:
            delta = {step: delta}
        else:
            delta = {step: [{"index": index, **_members(delta)}]}
            index = None
    chunk["choices"] = [{"index": part[0], "delta": delta, "finish_reason": None}]
    return msgspec.json.encode(chunk)


def _members(delta: object) -> dict[str, object]:
    return delta if isinstance(delta, dict) else {}
