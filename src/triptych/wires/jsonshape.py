"""How deep and how dense a JSON text is, measured without building a single object of it."""

import re
from itertools import accumulate

import msgspec

from triptych.core.failure import Failure, FailureKind

MAX_DEPTH = 128
"""Arrays and objects inside each other; a scalar at top level has depth 0."""

MAX_VALUES = 1_000_000
"""Values in one large text: decoded, 50 MB of ``{},`` would be a gigabyte of objects."""

LARGE_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16
_SLICE_BYTES = 1 << 20

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{},'))
# The letters of escapes stay until escapes are gone: without its n, \n" would read as \".
_NOT_STRUCTURE_OR_ESCAPE = bytes(set(_NOT_STRUCTURE) - set(b"\\/bfnrtu"))
_BRACES_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_BRACKETS_AS_STEPS = bytes.maketrans(b"[]", b"\x01\xff")
_COLLAPSES = 8

# So many arrays inside each other are taken apart, if they have no more elements than that: messages,
# and the blocks of one. An element that opens few brackets is then not looked at any closer.
_TAKEN_APART = 2
_MOST_ELEMENTS = 100_000
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_TOGETHER = 16
"""Elements looked at together: hardly any message opens more than a few brackets."""
_SPACE, _BRACKET, _BACKSLASH = b" [\\"
_MARKS = (b",", b"[", b"{")
_BETWEEN = re.compile(rb"[ \t\n\r]*+[\[,][ \t\n\r]*+")


def check_shape(body: bytes) -> None:
    """Refuse text nested too deep, and large text of too many values. It must be valid JSON."""
    if is_dense(body):
        structure = _structure(body, 0, len(body))
        if len(structure) - structure.count(b"]") > MAX_VALUES:
            raise Failure(
                FailureKind.INVALID_BODY,
                f"The request body holds more than {MAX_VALUES} arrays, objects and values.",
            )
        _check_brackets(structure, MAX_DEPTH)
    else:
        check_depth(body, 0, len(body), 0)


def is_dense(body: bytes) -> bool:
    """Whether a text is large and may hold too many values: every one is the first of its array or
    object, or follows a comma."""
    size = len(body)
    return size > LARGE_BYTES and sum(_count(body, mark, 0, size) for mark in _MARKS) > MAX_VALUES


def is_shallow(body: bytes) -> bool:
    """Whether a text is small and opens too few brackets to nest too deep, wherever they stand: most
    requests are told by that alone."""
    size = len(body)
    if size > _SMALL_BYTES:
        return False
    # As in ``_count``, without the slices.
    return 2 * size - len(body.replace(b"[", b"")) - len(body.replace(b"{", b"")) <= MAX_DEPTH


def check_depth(body: bytes, start: int, end: int, depth: int) -> None:
    """Refuse a value that nests deeper than MAX_DEPTH, with ``depth`` levels around it. The text must
    be valid JSON."""
    room = MAX_DEPTH - depth
    if end - start <= 2 * room:
        return
    if depth > _TAKEN_APART or body[start] != _BRACKET or _count(body, b",", start, end) > _MOST_ELEMENTS:
        if _opened(body, start, end) > room:
            _check_brackets(_structure(body, start, end), room)
        return
    places = _places(body, start, end)
    together = [places[first : first + _TOGETHER] for first in range(0, len(places), _TOGETHER)]
    while together:
        some = together.pop()
        if len(some) == 1:
            check_depth(body, *some[0], depth + 1)
        elif _opened(body, some[0][0], some[-1][1]) >= room:
            half = len(some) // 2
            together += (some[:half], some[half:])


def _places(body: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Where the elements of the array at ``start`` stand."""
    places = []
    position = start
    for element in _ELEMENTS.decode(memoryview(body)[start:end]):
        position += 1
        if body[position] <= _SPACE or body[position - 1] <= _SPACE:
            between = _BETWEEN.match(body, position - 1)
            assert between is not None
            position = between.end()
        element_start, position = position, position + len(element)
        places.append((element_start, position))
    return places


def _opened(body: bytes, start: int, end: int) -> int:
    return _count(body, b"[", start, end) + _count(body, b"{", start, end)


def _count(body: bytes, mark: bytes, start: int, end: int) -> int:
    """As ``bytes.count``, which looks at every byte by itself: taking them out uses memchr(3)."""
    count = 0
    for position in range(start, end, _SLICE_BYTES):
        piece = body[position : min(position + _SLICE_BYTES, end)]
        count += len(piece) - len(piece.replace(mark, b""))
    return count


def _check_brackets(structure: bytes, room: int) -> None:
    brackets = structure.replace(b",", b"")
    # Each pass takes away the innermost pairs, and so one level everywhere.
    passes = 0
    while passes < _COLLAPSES and len(brackets) > 2 * (room - passes):
        brackets = brackets.replace(b"[]", b"")
        passes += 1
    if len(brackets) <= 2 * (room - passes):
        return
    steps = memoryview(brackets.translate(_BRACKETS_AS_STEPS)).cast("b")
    if passes + max(accumulate(steps)) > room:
        raise too_deep()


def _structure(body: bytes, start: int, end: int) -> bytes:
    """The brackets, braces (written as brackets) and commas of valid JSON, none of any string. In
    slices: nothing as large as the text is made of it."""
    outside: list[bytes] = []
    inside, position = 0, start
    while position < end:
        cut = min(position + _SLICE_BYTES, end)
        # Not within an escape, nor between a backslash and the one it escapes.
        while cut < end and body[cut - 1] == _BACKSLASH:
            cut += 1
        text = body[position:cut]
        position = cut
        if b"\\" in text:
            text = text.translate(None, _NOT_STRUCTURE_OR_ESCAPE).replace(b"\\\\", b"").replace(b'\\"', b"")
        # Two quotes side by side open and close (or close and open): without them the others keep
        # their sides.
        parts = text.translate(_BRACES_AS_BRACKETS, _NOT_STRUCTURE).replace(b'""', b"").split(b'"')
        outside.append(b"".join(parts[inside::2]))
        inside ^= (len(parts) - 1) & 1
    return b"".join(outside)


def too_deep() -> Failure:
    return Failure(
        FailureKind.INVALID_BODY, f"The request body nests arrays and objects deeper than {MAX_DEPTH} levels."
    )
