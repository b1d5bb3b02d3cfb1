"""Surgical edits of JSON text: what an edit does not name survives byte for byte."""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from triptych.wires.jsontext import Member


class Edit(msgspec.Struct, frozen=True, gc=False, order=True):
    """Bytes ``start`` up to, not including, ``end`` become ``replacement``."""

    start: int
    end: int
    replacement: bytes


def splice(body: bytes, edits: Iterable[Edit]) -> bytes:
    """The body with the edits made; the very same object when there are none.

    Raises ValueError when an edit lies outside the body or two overlap.
    """
    ordered = sorted(edits)
    if not ordered:
        return body
    # Views, not slices: the bytes that stay are copied once, by the join.
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    position = 0
    for edit in ordered:
        if not position <= edit.start <= edit.end <= len(body):
            raise ValueError(f"edit {edit.start}..{edit.end} overlaps another or lies outside the body")
        pieces.append(view[position : edit.start])
        pieces.append(edit.replacement)
        position = edit.end
    pieces.append(view[position:])
    return b"".join(pieces)


def replace_value(member: Member, new_json: bytes) -> Edit:
    """Put ``new_json`` (one JSON value) where the member's value stands."""
    return Edit(member.value_start, member.value_end, new_json)


def remove_members(members: Sequence[Member], names: Collection[str]) -> list[Edit]:
    """Edits that take the named members out of the top-level object, each with exactly one comma.

    A member goes with the comma and the white space before it; members at the front of the
    object go up to the key of the first one that stays. ``members`` are all of the body's.
    """
    edits: list[Edit] = []
    kept = False
    front: Member | None = None
    previous_end = 0
    for member in members:
        if member.key not in names:
            if front is not None:
                edits.append(Edit(front.key_start, member.key_start, b""))
                front = None
            kept = True
        elif kept:
            # From the end of the value before it: that is the comma and the white space around.
            edits.append(Edit(previous_end, member.value_end, b""))
        else:
            front = front or member
        previous_end = member.value_end
    if front is not None:
        edits.append(Edit(front.key_start, previous_end, b""))
    return edits
