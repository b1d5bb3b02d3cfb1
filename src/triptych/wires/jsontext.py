"""Strict JSON text (RFC 8259) as bytes: what is refused, and where each top-level member stands.

msgspec reads the grammar at C speed without building objects, NaN, bad escapes, lone surrogates,
control characters and trailing bytes included; what it leaves open when it skips (UTF-8, depth,
duplicate keys) is checked here. Everything runs in linear time, on 50 MB bodies too.
"""

import codecs
import re
from collections.abc import Iterator, KeysView, Mapping, Sequence
from functools import lru_cache
from typing import overload

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires.jsonshape import check_depth, check_shape, is_dense, is_shallow, too_deep

_UTF8_BOM = b"\xef\xbb\xbf"
MAX_MEMBERS = 10_000
"""Members of the top-level object."""

# Text is validated in slices, so that 50 MB with one emoji in them never become 200 MB of str.
_SLICE_BYTES = 1 << 20
_SHOWN_KEY_CHARS = 64
_CACHED_KEY_CHARS = 32
_SPACE, _COLON = ord(" "), ord(":")

_RAW = msgspec.json.Decoder(msgspec.Raw)
_RAW_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEY_TEXT = msgspec.json.Decoder(str)
_KEY = re.compile(rb'[ \t\n\r]*+[{,][ \t\n\r]*+("(?:[^"\\]++|\\.)*+")[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
_END = re.compile(rb"[ \t\n\r]*+\}")
_EMPTY_OBJECT = re.compile(rb"[ \t\n\r]*+\{[ \t\n\r]*+\}")
_BYTE = re.compile(r" \(byte (\d+)\)$")
# Everything up to the first escape that is half a surrogate pair.
_PAIRED = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?!u[dD][89a-fA-F]).)*+",
    re.DOTALL,
)
_WORDS_NOT_IN_JSON = (b"NaN", b"Infinity", b"-Infinity")


class Member(msgspec.Struct, frozen=True, gc=False):
    """One member of the top-level object. Offsets are bytes into the body; ends are exclusive."""

    key: str
    """Decoded: ``"\\u006dodel"`` is ``model``."""
    key_start: int
    """Of the key's opening quote."""
    value_start: int
    value_end: int


class Members(Sequence[Member]):
    """The top-level object's members in the order of the text. Most requests ask only which there are: where
    they stand is found out when somebody asks."""

    __slots__ = ("_found", "_values")

    def __init__(self, values: Mapping[str, msgspec.Raw], found: tuple[Member, ...] | None = None) -> None:
        """``found`` None: they are written in the shortest way, which tells where each stands."""
        self._values = values
        self._found = found

    @property
    def keys(self) -> KeysView[str]:
        return self._values.keys()

    def named(self, key: str) -> Member:
        """Raises KeyError."""
        for member in self._found or _shortest(self._values):
            if member.key == key:
                return member
        raise KeyError(key)

    def _members(self) -> tuple[Member, ...]:
        if self._found is None:
            self._found = tuple(_shortest(self._values))
        return self._found

    def __reduce__(self) -> tuple[object, ...]:
        """For another process: without the values, which may be large."""
        return Members, (dict.fromkeys(self._values, msgspec.Raw()), self._members())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Members) and self._members() == other._members()

    def __hash__(self) -> int:
        return hash(self._members())

    @overload
    def __getitem__(self, place: int) -> Member: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Member, ...]: ...
    def __getitem__(self, place: int | slice) -> Member | tuple[Member, ...]:
        return self._members()[place]

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members())

    def __len__(self) -> int:
        return len(self._values)


def check(body: bytes) -> None:
    """Refuse what is not strict JSON text.

    Raises Failure INVALID_BODY: empty, BOM, invalid UTF-8, NaN and Infinity, lone surrogate
    escapes, trailing bytes, deeper than MAX_DEPTH, more than MAX_VALUES values in a large text,
    malformed in any other way. The bounds are those of :mod:`triptych.wires.jsonshape`.
    """
    _check_utf8(body)
    try:
        _RAW.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _explained(body, error) from None
    check_shape(body)


def members(body: bytes) -> Members:
    """The top-level object's members; checks the body as :func:`check` does.

    Raises Failure INVALID_BODY as :func:`check`, and when the text is not an object or a
    top-level key occurs twice, or there are more than MAX_MEMBERS.
    """
    # Before a single object is made of it: 50 MB of members would be a gigabyte.
    dense = is_dense(body)
    if dense:
        check(body)
    else:
        _check_utf8(body)
    try:
        values = _RAW_MEMBERS.decode(body)
    except (msgspec.DecodeError, RecursionError):
        # The grammar was read only up to a wrong type: malformed text is to be called malformed.
        check(body)
        raise Failure(FailureKind.INVALID_BODY, "The request body must be a JSON object.") from None
    if len(values) > MAX_MEMBERS:
        raise Failure(
            FailureKind.INVALID_BODY, f"The request body has more than {MAX_MEMBERS} members at top level."
        )
    shallow = dense or is_shallow(body)
    # The shortest text that holds these members. One that is no longer has no key twice, for that would be
    # another member, and nothing between them.
    shortest = sum(map(len, values)) + sum(map(len, values.values())) + len('"":,') * len(values) + 1
    if shallow and len(body) == shortest:
        return Members(values)
    found = _walk(body, values)
    if not shallow:
        for member in found:
            check_depth(body, member.value_start, member.value_end, 1)
    return Members(values, found)


def _shortest(values: Mapping[str, msgspec.Raw]) -> Iterator[Member]:
    """Of a text without white space around members, escapes in keys, and anything in them but ASCII."""
    position = len("{")
    for key, raw in values.items():
        start = position + len(key) + len('"":')
        end = start + len(raw)
        yield Member(key, position, start, end)
        position = end + len(",")


def _walk(body: bytes, values: Mapping[str, msgspec.Raw]) -> tuple[Member, ...]:
    """Lay the values along the text. ``values`` is in order of first occurrence with the last
    value of each key: a walk that matches every key and every value byte for byte, up to the
    closing brace, has read the text as JSON, and JSON reads one way only. Where it first fails
    to match stands a key that occurs twice."""
    found: list[Member] = []
    position = 0
    for key, raw in values.items():
        # The usual spelling first: at most one space before the key and one before the value.
        key_start = position + 2 if body[position + 1] == _SPACE else position + 1
        name = _spelled(key) if len(key) <= _CACHED_KEY_CHARS else b""
        start = key_start + len(name)
        if name and body.startswith(name, key_start) and body[position] in b"{," and body[start] == _COLON:
            start += 2 if body[start + 1] == _SPACE else 1
        else:
            start = key_start
        if start == key_start or not body.startswith(raw, start):
            match = _KEY.match(body, position)
            if match is None:
                break
            key_start, start = match.start(1), match.end()
            actual = _KEY_TEXT.decode(match[1])
            if actual != key or not body.startswith(raw, start):
                raise _duplicate(actual, key_start)
        position = start + len(raw)
        found.append(Member(key, key_start, start, position))
    if _END.match(body, position) or (not found and _EMPTY_OBJECT.match(body)):
        return tuple(found)
    match = _KEY.match(body, position)
    if match is not None:
        raise _duplicate(_KEY_TEXT.decode(match[1]), match.start(1))
    # Half a number: the key's other value is the beginning of this one.
    raise _duplicate(found[-1].key, found[-1].key_start)


@lru_cache(maxsize=1024)
def _spelled(key: str) -> bytes:
    """The key as it is written without escapes; empty when it cannot be."""
    return b"" if '"' in key or "\\" in key else b'"%b"' % key.encode()


def _duplicate(key: str, position: int) -> Failure:
    shown = key if len(key) <= _SHOWN_KEY_CHARS else key[:_SHOWN_KEY_CHARS] + "…"
    quoted = msgspec.json.encode(shown).decode()
    return Failure(
        FailureKind.INVALID_BODY,
        f"The request body has the key {quoted} more than once at top level (see byte {position}).",
        param=shown,
    )


def _check_utf8(body: bytes) -> None:
    if body.isascii():
        return
    view = memoryview(body)
    position = 0
    while position < len(body):
        end = position + _SLICE_BYTES
        try:
            _, taken = codecs.utf_8_decode(view[position:end], "strict", end >= len(body))
        except UnicodeDecodeError as error:
            raise _invalid(f"it is not UTF-8 (byte {position + error.start})") from None
        position += taken


def _invalid(reason: str) -> Failure:
    return Failure(FailureKind.INVALID_BODY, f"The request body is not valid JSON: {reason}.")


def _explained(body: bytes, error: Exception) -> Failure:
    """The sentence for a body that did not decode; linear, like everything here."""
    if isinstance(error, RecursionError):
        return too_deep()
    if not body.strip(b" \t\n\r"):
        return _invalid("it is empty")
    if body.startswith(_UTF8_BOM):
        return _invalid("it starts with a byte order mark")
    text = str(error)
    where = _BYTE.search(text)
    paired = _PAIRED.match(body)
    lone = paired.end() if paired else len(body)
    # Only an escape before the place of the error can be its cause.
    if body.startswith(b"\\u", lone) and (where is None or lone <= int(where[1])):
        return _invalid(f"lone surrogate escape (byte {lone})")
    if where is None:
        return _invalid(f"it ends too early (byte {len(body)})")
    at = int(where[1])
    if any(body.startswith(word, at) or body.startswith(word, at - 1) for word in _WORDS_NOT_IN_JSON):
        return _invalid(f"NaN and Infinity are not JSON (byte {at})")
    if "trailing characters" in text:
        # msgspec names the place after the first of them.
        return _invalid(f"trailing characters (byte {at - 1})")
    return _invalid(text.removeprefix("JSON is malformed: "))
