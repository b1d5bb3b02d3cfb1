"""The texts of a request that a guard reads, each with the way back to its bytes.

Every string of the body is one, but for what never leaves (governance data). A JSON text inside a
string is read string by string, a URL component by component, a text in Base64 decoded. What stands
under a key that is not the wire's is read with that key before it: ``mrn`` says what a number is.
"""

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Iterator
from enum import Enum
from urllib.parse import unquote_plus

import msgspec

from triptych.engines.phi.vocabulary import is_usual
from triptych.wires.attachments import Contents, EncodedText, encoded_text
from triptych.wires.governed_fields import STRIPPED_FIELDS
from triptych.wires.guarded import GuardedWire
from triptych.wires.json_strings import escaped
from triptych.wires.json_values import long_numbers, value_spans
from triptych.wires.jsontext import members
from triptych.wires.slot_tables import free_slots
from triptych.wires.slots import Kind, Path, Slot
from triptych.wires.source_text import SourceText

_TOOLS = frozenset(("tools", "functions", "mcp_servers"))
# Of these a provider made up what they say, and only it can read them; or they are meant for it.
_SEALED = frozenset((
    "signature", "encrypted_content", "encrypted_stdout", "encrypted_index", "fallback_credit_token",
    "token", "thought_signature",
))  # fmt: skip
_CREDENTIALS = frozenset(("authorization_token", "authorization", "value"))
_TOKEN = re.compile(r"(?:[a-z-]+:)*[A-Za-z0-9+/=_.:%-]*")
_LETTER = re.compile("[A-Za-z]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORDS = re.compile(r"[_.\-/]+")
_MAX_KEY_CHARS = 64
_MAX_BESIDE_CHARS = 400
"""Longer texts speak for themselves: no key is put before them."""
_MAX_NESTING = 4
_LONG_DIGITS = 5
_AGE_DIGITS = 2
_AGE = re.compile(r"(?i)\bages?: ")
"""At the end of what stands before a number that is one's age; those from 90 are two digits and more."""
# A date is one, whatever stands between its numbers.
_COMPONENT = re.compile(
    r"(?<![0-9])(?:[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}|[0-9]{1,2}/[0-9]{1,2}/(?:[0-9]{4}|[0-9]{2}))(?![0-9])"
    r"|[^/?&=#;,\s]+"
)
_ADDRESS_HEAD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_DOMAINS = frozenset(("allowed_domains", "blocked_domains", "domain"))
_DOMAIN = re.compile(r"(?:\*\.)?(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?![A-Za-z0-9@._-])")
_BLANK = re.compile(r"\s")
_HALF_PAIRS = re.compile("[\ud800-\udfff]")


class Place(Enum):
    """What becomes of a finding."""

    TEXT = "text"
    """It can be replaced."""
    TOOL = "tool"
    """Of a definition of a tool: refused whatever the mode."""
    FIXED = "fixed"
    """It must go as it is, or not at all: signed reasoning, a header, the query string."""


class Piece(msgspec.Struct, frozen=True):
    path: Path
    """Of the wire's own members: what a caller called his own is none of it."""
    text: str
    source: SourceText | None
    """None: it cannot be edited."""
    place: Place
    context: str = ""
    """Read before the text; findings in it count for nothing."""
    whole: bool = False
    """It is spelled in a way of its own: where anything is found, all of it is replaced."""
    quotes: bytes = b""
    """It is a number: what replaces it stands between these."""
    usual: bool = False
    """It is a name of usual words only, which says nothing of anybody; an org's own terms may be in it."""
    named: bool = False
    """It is a number that means nothing unless what stands before it says so."""
    encoded: EncodedText | None = None
    """It travels in Base64: it is put back as a whole."""


_UNNAMED: Path = ("body",)
_NONE = (1 << 62, Piece((), "", None, Place.TEXT))
"""Behind the last number."""


def _unknown(path: Path) -> Path:
    """Of a member at the top that no wire knows: its name where it can be nobody's."""
    return path[:1] if isinstance(path[0], str) and is_usual(path[0]) else _UNNAMED


class Reading:
    """Reads one body."""

    def __init__(self, wire: GuardedWire, body: bytes, contents: Contents) -> None:
        self._body = body
        self._slots = wire.text_slots(body)
        self._keys = {slot.path for slot in self._slots if slot.is_key}
        self._texts = {found.data for found in contents.attachments if found.data is not None}
        self._sealed = set(contents.sealed)
        self._outer: Path = ()
        self._inputs = contents.inputs
        self.unreadable = [found.path for found in contents.attachments if found.data is None]
        """What cannot be inspected; complete once all pieces were taken."""
        self._hidden = frozenset(self.unreadable)

    def pieces(self) -> Iterator[Piece]:
        """In the order of the body."""
        numbers = self._body_numbers()
        start, piece = next(numbers, _NONE)
        for slot in self._slots:
            while start < slot.start:
                yield piece
                start, piece = next(numbers, _NONE)
            if slot.path and slot.path[0] not in STRIPPED_FIELDS:
                yield from self._slot(slot)
        while piece is not _NONE[1]:
            yield piece
            start, piece = next(numbers, _NONE)

    def _body_numbers(self) -> Iterator[tuple[int, Piece]]:
        """Those of the body itself, and where they stand: of the arguments of calls; of fields that no
        wire knows and of examples in definitions of tools. Of the latter most are quantities: only what
        the key says that it is counts."""
        if not self._keys and not self._inputs:
            return
        inputs = sorted((*span, path) for path, span in value_spans(self._body, self._inputs).items())
        begins = [start for start, _, _ in inputs]
        for member in members(self._body):
            if member.key in STRIPPED_FIELDS:
                continue
            place = Place.TOOL if member.key in _TOOLS else Place.TEXT
            # With its key: it may say what the number is.
            source = SourceText(self._body, member.key_start, member.value_end)
            text = self._body[member.key_start : member.value_end]
            for piece in _numbers(self.public((member.key,)), source, text, b'"', place):
                assert piece.source is not None
                start = piece.source.start
                before = bisect_right(begins, start) - 1
                if before >= 0 and start < inputs[before][1]:
                    yield start, msgspec.structs.replace(piece, path=inputs[before][2])
                else:
                    yield start, msgspec.structs.replace(piece, named=True)

    def public(self, path: Path) -> Path:
        """Up to the first member that a caller named himself."""
        for length in range(1, len(path) + 1):
            if path[:length] in self._keys:
                return path[: length - 1] or _unknown(path)
        return path

    def name_of(self, path: Path) -> str | None:
        """The name of the tool that a path leads into."""
        for slot in self._slots:
            own = slot.path
            if own[:2] == path[:2] and own[-1] == "name" and len(own) <= 4 and not slot.is_key:
                return slot.text(self._body)
        return None

    def _slot(self, slot: Slot) -> Iterator[Piece]:
        path, kind = slot.path, slot.kind
        source = SourceText(self._body, slot.start, slot.end)
        if kind is Kind.OPAQUE:
            yield from self._opaque(path, source)
            return
        place = Place.TOOL if path[0] in _TOOLS else Place.TEXT
        if kind is Kind.REASONING:
            place = Place.FIXED
        context = "" if slot.is_key else self._context(path)
        yield from self._text(self._wire_path(path, slot.is_key), source, kind, place, context)

    def _wire_path(self, path: Path, is_key: bool) -> Path:
        """Up to the first member that a caller named himself. Slots come in the order of the body: what
        stands under such a member follows its key."""
        outer = self._outer
        if outer and path[: len(outer)] == outer:
            return outer[:-1] or _unknown(outer)
        if is_key:
            self._outer = path
            return path[:-1] or _unknown(path)
        return path

    def _text(
        self, path: Path, source: SourceText, kind: Kind, place: Place, context: str, depth: int = 0
    ) -> Iterator[Piece]:
        text = source.text
        if kind is Kind.URL and _is_address(path, text):
            yield from _components(path, source, text, place)
        elif place is not Place.FIXED and (kind is Kind.JSON_STRING or "\\" in text):
            inner = _inner(text) if depth < _MAX_NESTING else None
            if inner is None:
                yield Piece(path, text, source, place, context)
            else:
                yield from self._nested(path, source, inner, text.encode("utf-8", "replace"), place, depth)
        else:
            usual = (kind is Kind.NAME or place is Place.TOOL) and is_usual(text)
            yield Piece(path, text, source, place, context, usual=usual)

    def _nested(
        self, path: Path, source: SourceText, slots: list[Slot], text: bytes, place: Place, depth: int
    ) -> Iterator[Piece]:
        for slot in slots:
            inner = SourceText(text, slot.start, slot.end, source)
            context = "" if slot.is_key else _context_of(slot.path)
            kind = Kind.NAME if slot.is_key else Kind.TEXT
            yield from self._text(path, inner, kind, place, context, depth + 1)
        quotes = b'"'
        for _ in range(depth + 1):
            quotes = escaped(quotes.decode())
        yield from _numbers(path, SourceText(text, 0, len(text), source), text, quotes, place)

    def _opaque(self, path: Path, source: SourceText) -> Iterator[Piece]:
        name = next((step for step in reversed(path) if isinstance(step, str)), "")
        if path in self._texts:
            encoded = encoded_text(source.text)
            if encoded is None:
                self.unreadable.append(path)
            else:
                yield Piece(path, encoded.text, source, Place.TEXT, encoded=encoded)
        elif name in _CREDENTIALS or self._is_hidden(path):
            return  # of another server, which the provider is to call; or known to be unreadable
        elif (name in _SEALED or path in self._sealed) and "source" not in path[-2:]:
            readable = _readable(source.text)
            if readable:
                yield Piece(path, readable, None, Place.FIXED)
        else:
            self.unreadable.append(path)

    def _is_hidden(self, path: Path) -> bool:
        return bool(self._hidden) and any(path[:length] in self._hidden for length in range(1, len(path) + 1))

    def _context(self, path: Path) -> str:
        at = len(path)
        while at and not isinstance(path[at - 1], str):
            at -= 1
        return _context_of(path[:at]) if path[:at] in self._keys else ""


def query_piece(query: bytes) -> Iterator[Piece]:
    """The query string goes with the request, and cannot be changed."""
    text = query.decode("latin-1")
    source = SourceText(b"", 0, 0)
    for piece in _components(("query",), source, text, Place.FIXED):
        yield msgspec.structs.replace(piece, source=None)


def _numbers(
    path: Path, source: SourceText, text: bytes, quotes: bytes, place: Place = Place.TEXT
) -> Iterator[Piece]:
    """Numbers that may identify somebody, of a JSON text that stands where ``source`` does."""
    for key, start, end in long_numbers(text, _AGE_DIGITS):
        number, context = text[start:end].decode(), _context_of((key,))
        if sum(digit.isdigit() for digit in number) < _LONG_DIGITS and not _AGE.search(context):
            continue
        inner = msgspec.structs.replace(source, start=source.start + start, end=source.start + end)
        yield Piece(path, number, inner, place, context, quotes=quotes)


def _context_of(path: Path) -> str:
    key = next((step for step in reversed(path) if isinstance(step, str)), "")
    if not 0 < len(key) <= _MAX_KEY_CHARS:
        return ""
    return _WORDS.sub(" ", _CAMEL.sub(" ", key)).strip() + ": "


def _inner(text: str) -> list[Slot] | None:
    """The strings of a JSON text that is an object or an array; None when it is not one."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return free_slots(text.encode("utf-8", "replace"))
    except ValueError:
        return None


def _is_address(path: Path, text: str) -> bool:
    """What a field for addresses holds may be a title or a note: a search result's source is what its author
    calls it."""
    if _BLANK.search(text):
        return False
    if _ADDRESS_HEAD.match(text):
        return True
    return not _DOMAINS.isdisjoint(path[-2:]) and _DOMAIN.match(text) is not None


def _components(path: Path, source: SourceText, text: str, place: Place) -> Iterator[Piece]:
    """That a field of the wire holds an address identifies nobody; what the address says may. The name
    of the server is none of that, a user's name before it is."""
    head = _ADDRESS_HEAD.match(text)
    if head is None and not _DOMAINS.isdisjoint(path[-2:]):
        head = _DOMAIN.match(text)
    start = 0
    if head is not None:
        at = head[0].rfind("@")
        start = head.end() if at < 0 else 0
    key = ""
    parent = SourceText(text.encode("utf-8", "replace"), 0, 0, source)
    begin = read = 0
    for component in _COMPONENT.finditer(text, start):
        spelled = component[0]
        begin += len(text[read : component.start()].encode("utf-8", "replace"))
        read = component.start()
        length = len(spelled.encode("utf-8", "replace"))
        inner = msgspec.structs.replace(parent, start=begin, end=begin + length)
        plain = unquote_plus(spelled)
        yield Piece(path, plain, inner, place, key, whole=plain != spelled or "\\" in spelled)
        key = ""
        if text[component.end() : component.end() + 1] == "=":
            key = _context_of((plain,))


def _readable(text: str) -> str:
    """What anybody could read of what only its maker should: empty for what is sealed indeed.

    Reasoning of another vendor that this gateway wrapped (see the wires) holds readable text.
    """
    if not _TOKEN.fullmatch(text) or not _LETTER.search(text):
        return text  # a number, be it of a card or a phone, is no seal
    _, _, payload = text.rpartition(":")
    try:
        plain = base64.urlsafe_b64decode(
            payload.replace("+", "-").replace("/", "_") + "=" * (-len(payload) % 4)
        ).decode()
    except (binascii.Error, ValueError):
        return ""
    if not plain.isprintable() and not plain.strip().replace("\n", "").replace("\t", "").isprintable():
        return ""
    try:
        wrapped = msgspec.json.decode(plain.encode(), type=_Wrapped)
    except msgspec.DecodeError:
        return plain
    return wrapped.text


class _Wrapped(msgspec.Struct):
    data: str
    text: str = ""


def scannable(text: str) -> str:
    """Half of a surrogate pair cannot be written down; positions stay."""
    return text if text.isascii() else _HALF_PAIRS.sub("\ufffd", text)
