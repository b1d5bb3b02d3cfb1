"""How deep and how dense a JSON text is, measured without building a single object of it."""

from itertools import accumulate

from triptych.core.failure import Failure, FailureKind

MAX_DEPTH = 128
"""Arrays and objects inside each other; a scalar at top level has depth 0."""

MAX_VALUES = 1_000_000
"""Values in one large text: decoded, 50 MB of ``{},`` would be a gigabyte of objects."""

LARGE_BYTES = 1 << 20
_SLICE_BYTES = 1 << 20

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{},'))
# The letters of escapes stay until escapes are gone: without its n, \n" would read as \".
_NOT_STRUCTURE_OR_ESCAPE = bytes(set(_NOT_STRUCTURE) - set(b"\\/bfnrtu"))
_BRACES_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_BRACKETS_AS_STEPS = bytes.maketrans(b"[]", b"\x01\xff")
_COLLAPSES = 8


def check_shape(body: bytes) -> None:
    """Refuse text nested too deep, and large text of too many values. It must be valid JSON."""
    if len(body) <= 2 * MAX_DEPTH:
        return
    opened = body.count(b"[") + body.count(b"{")
    # Every value is the first of its array or object, or follows a comma.
    dense = len(body) > LARGE_BYTES and opened + body.count(b",") > MAX_VALUES
    if opened <= MAX_DEPTH and not dense:
        return
    structure = _structure(body)
    if dense and len(structure) - structure.count(b"]") > MAX_VALUES:
        raise Failure(
            FailureKind.INVALID_BODY,
            f"The request body holds more than {MAX_VALUES} arrays, objects and values.",
        )
    brackets = structure.replace(b",", b"")
    # Each pass takes away the innermost pairs, and so one level everywhere.
    passes = 0
    while passes < _COLLAPSES and len(brackets) > 2 * (MAX_DEPTH - passes):
        brackets = brackets.replace(b"[]", b"")
        passes += 1
    if len(brackets) <= 2 * (MAX_DEPTH - passes):
        return
    steps = memoryview(brackets.translate(_BRACKETS_AS_STEPS)).cast("b")
    if passes + max(accumulate(steps)) > MAX_DEPTH:
        raise too_deep()


def _structure(body: bytes) -> bytes:
    """The brackets, braces (written as brackets) and commas of valid JSON, none of any string."""
    text = body
    if b"\\" in text:
        text = text.translate(None, _NOT_STRUCTURE_OR_ESCAPE).replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes side by side open and close (or close and open): without them the others keep
    # their sides.
    text = text.translate(_BRACES_AS_BRACKETS, _NOT_STRUCTURE).replace(b'""', b"")
    if b'"' not in text:
        return text
    outside: list[bytes] = []
    inside = 0
    for start in range(0, len(text), _SLICE_BYTES):
        parts = text[start : start + _SLICE_BYTES].split(b'"')
        outside.append(b"".join(parts[inside::2]))
        inside ^= (len(parts) - 1) & 1
    return b"".join(outside)


def too_deep() -> Failure:
    return Failure(
        FailureKind.INVALID_BODY, f"The request body nests arrays and objects deeper than {MAX_DEPTH} levels."
    )
