"""One request read by the guard: what was found, where, and the body as it may leave. Sans-IO."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import msgspec

from triptych.core.finding import Finding
from triptych.engines.phi.pieces import Piece, Place, Reading, query_piece, scannable
from triptych.engines.phi.placeholder import LOOKALIKE, Placeholders, label
from triptych.engines.phi.restore import Replaced
from triptych.engines.phi.vocabulary import is_usual
from triptych.wires.attachments import contents
from triptych.wires.guarded import GUARDED
from triptych.wires.json_strings import escaped
from triptych.wires.slots import Path, shown
from triptych.wires.splice import Edit, splice

_FILTER = "filter"
_GUESSED = ("tagger", "consistency")
"""What finds names by the words around them, and what finds them again."""
_NAMED_TYPES = frozenset((
    "AGE", "US_SSN", "MRN", "HEALTH_PLAN_ID", "ACCOUNT_NUMBER", "US_PASSPORT", "US_DRIVER_LICENSE", "MEDICAL_LICENSE",
))  # fmt: skip
"""What no number of a few digits is, unless its key says so."""
_JOINED_CHARS = 2_000
_SHORT_CHARS = 200
_MAX_TYPE_CHARS = 64


class Recogniser(Protocol):
    def scan(self, texts: Sequence[str], filters: Any = None) -> list[list[Finding]]:
        """One list per text: sorted, not overlapping, offsets in code points."""
        ...


class Asked(msgspec.Struct, frozen=True):
    """A request that may not leave unread."""

    wire: str
    body: bytes
    query: bytes = b""
    mode: str = "redact"
    known: dict[str, str] = {}
    """Values by placeholder, of earlier turns of a stored conversation."""


class Tool(msgspec.Struct, frozen=True):
    name: str | None
    path: str
    entity_types: list[str]


class Inspected(msgspec.Struct, frozen=True):
    """``Failure`` apart, everything a policy is decided by; values only in ``body`` and ``values``."""

    body: bytes
    """As it may leave; the very same when nothing of it is to be replaced."""
    counts: dict[str, int] = {}
    """Findings by type."""
    first: str | None = None
    """Path of the first finding."""
    redactions: int = 0
    values: dict[str, str] = {}
    """By placeholder."""
    documents: dict[int, list[Replaced]] = {}
    """See ``Redacted.documents``."""
    tool: Tool | None = None
    """The first definition of a tool in which something was found."""
    fixed: str | None = None
    """Path of the first finding that cannot be replaced where it stands."""
    unreadable: list[str] = []
    """Paths of what cannot be inspected."""
    logprobs: str | None = None
    """The field by which probabilities of tokens are asked for."""
    says_json: bool = False
    """See ``Redacted.says_json``."""


class Garbage(Exception):
    """The recogniser's answer is none."""


_Span = tuple[int, int, str, bool]
"""Start, end, type, whether the caller wrote a placeholder himself."""


def inspect(recogniser: Recogniser, asked: Asked, filters: Any = None) -> Inspected:
    """Raises Failure INVALID_BODY for what :func:`contents` refuses, Garbage, and what the recogniser
    raises."""
    held = contents(asked.body)
    wire = GUARDED[asked.wire]
    reading = Reading(wire, asked.body, held)
    pieces = [*reading.pieces(), *query_piece(asked.query)]
    found = _found(recogniser, pieces, filters)
    labels = {label(finding.type) for findings in found for finding in findings}
    placeholders = Placeholders(asked.known)
    placeholders.labels |= labels
    report = _Report(asked.mode, placeholders, {path: number for number, path in enumerate(held.documents)})
    for piece, findings in zip(pieces, found, strict=True):
        report.add(piece, findings, reading)
    return Inspected(
        body=splice(asked.body, report.edits),
        counts=dict(sorted(report.counts.items())),
        first=report.first,
        redactions=report.redactions,
        values=placeholders.values,
        documents=report.documents,
        tool=report.tool,
        fixed=report.fixed,
        unreadable=[shown(reading.public(path)) for path in reading.unreadable],
        logprobs=wire.logprobs(asked.body),
        says_json=wire.says_json(asked.body),
    )


class _Report:
    """What is known of a request so far, piece by piece in the order of its body."""

    def __init__(self, mode: str, placeholders: Placeholders, documents: Mapping[Path, int]) -> None:
        self._mode = mode
        self._placeholders = placeholders
        self._numbers = documents
        self.edits: list[Edit] = []
        self.counts: dict[str, int] = {}
        self.first: str | None = None
        self.redactions = 0
        self.documents: dict[int, list[Replaced]] = {}
        self.tool: Tool | None = None
        self.fixed: str | None = None

    def add(self, piece: Piece, findings: Sequence[Finding], reading: Reading) -> None:
        lookalikes = self._lookalikes(piece.text)
        if not findings and not lookalikes:
            return
        if lookalikes:
            findings = _outside(findings, lookalikes)
        for finding in findings:
            self.counts[finding.type] = self.counts.get(finding.type, 0) + 1
        if findings and self.first is None:
            self.first = shown(piece.path)
        if findings and piece.place is Place.TOOL and self.tool is None:
            types = sorted({finding.type for finding in findings})
            # A name in which something was found is not repeated.
            name = None if piece.path[-1] == "name" else reading.name_of(piece.path)
            self.tool = Tool(name, shown(piece.path), types)
        replaced = [finding for finding in findings if self._mode != "allow" or _is_filter(finding)]
        if piece.place is Place.FIXED or piece.source is None:
            if replaced and self.fixed is None:
                self.fixed = shown(piece.path)
            return
        spans = _joined(replaced, lookalikes)
        if spans:
            self._replace(piece, spans)

    def _lookalikes(self, text: str) -> list[tuple[int, int, str]]:
        if "[" not in text:
            return []
        return [
            (match.start(), match.end(), match[1].upper())
            for match in LOOKALIKE.finditer(text)
            if match[1].upper() in self._placeholders.labels
        ]

    def _replace(self, piece: Piece, spans: list[_Span]) -> None:
        text, source = piece.text, piece.source
        assert source is not None
        self.redactions += sum(not own for _, _, _, own in spans)
        if piece.whole or piece.quotes:
            # Spelled in a way of its own: what stands there is what the placeholder stands for.
            start, end = source.span()
            spelled = source.source[source.start : source.end].decode("utf-8", "replace")
            stands = self._placeholders.of(spelled, spans[0][2]).encode()
            self.edits.append(Edit(start, end, piece.quotes + stands + piece.quotes))
            return
        # What holds half of a surrogate pair can be kept nowhere.
        values = [scannable(text[start:end]) for start, end, _, _ in spans]
        written = [
            self._placeholders.of(value, type_) for value, (_, _, type_, _) in zip(values, spans, strict=True)
        ]
        number = self._numbers.get(piece.path[:-2]) if piece.path[-2:] == ("source", "data") else None
        if number is not None:
            self.documents.setdefault(number, []).extend(_moved(spans, written))
        if piece.encoded is not None:
            whole = piece.encoded.encoded(_with(text, spans, written))
            start, end = source.span()
            self.edits.append(Edit(start, end, escaped(whole)))
            return
        places = source.places([place for start, end, _, _ in spans for place in (start, end)])
        for i, (value, placeholder) in enumerate(zip(values, written, strict=True)):
            if value != placeholder:
                self.edits.append(Edit(places[2 * i], places[2 * i + 1], placeholder.encode()))


def _found(recogniser: Recogniser, pieces: Sequence[Piece], filters: Any) -> list[list[Finding]]:
    """What was found in each piece; in names of usual words, an org's own terms only."""
    read = iter(_scan(recogniser, [piece for piece in pieces if not piece.usual], filters))
    usual = [piece for piece in pieces if piece.usual] if filters else []
    terms = iter(_scan(recogniser, usual, filters) if usual else ())
    found: list[list[Finding]] = []
    for piece in pieces:
        findings = next(terms, []) if piece.usual else next(read)
        if piece.usual:
            findings = [finding for finding in findings if _is_filter(finding)]
        elif piece.named:
            findings = [one for one in findings if one.type in _NAMED_TYPES or _is_filter(one)]
        elif piece.place is Place.TOOL:
            findings = [finding for finding in findings if not _is_usual(piece.text, finding)]
        found.append(findings)
    return found


def _is_usual(text: str, finding: Finding) -> bool:
    """Whether words that a definition of a tool is made of were taken for a name: it is a list of single
    words, with no sentence around them that would tell."""
    return finding.recogniser in _GUESSED and all(
        is_usual(word) for word in text[finding.start : finding.end].split()
    )


def _scan(recogniser: Recogniser, pieces: Sequence[Piece], filters: Any) -> list[list[Finding]]:
    """What was found in each piece, in terms of its own text."""
    texts: list[str] = []
    parts: list[list[tuple[int, int]]] = []
    """Per text: where the text of which piece begins in it."""
    for places in _grouped(pieces):
        text = ""
        own: list[tuple[int, int]] = []
        for place in places:
            piece = pieces[place]
            text += "\n" if text else ""
            own.append((place, len(text) + len(piece.context)))
            text += piece.context + piece.text
        texts.append(scannable(text))
        parts.append(own)
    found = recogniser.scan(texts, filters)
    _check(texts, found)
    per_piece: list[list[Finding]] = [[] for _ in pieces]
    for own, findings in zip(parts, found, strict=True):
        for place, begin in own:
            length = len(pieces[place].text)
            for finding in findings:
                start, end = max(finding.start - begin, 0), min(finding.end - begin, length)
                if start < end:
                    own_finding = msgspec.structs.replace(finding, start=start, end=end)
                    per_piece[place].append(own_finding)
    return per_piece


def _grouped(pieces: Sequence[Piece]) -> Iterator[list[int]]:
    """Short texts of tools' definitions are read together, a line each: there are hundreds of them, and
    they say nothing of each other."""

    def alone(place: int) -> int:
        piece = pieces[place]
        return -1 if piece.place is Place.TOOL and len(piece.text) <= _SHORT_CHARS else place

    for _, places in groupby(range(len(pieces)), alone):
        together: list[int] = []
        size = 0
        for place in places:
            if together and size > _JOINED_CHARS:
                yield together
                together, size = [], 0
            together.append(place)
            size += len(pieces[place].text)
        yield together


def _check(texts: Sequence[str], found: object) -> None:
    """Raises Garbage. A guard that is wrong must not look like one that found nothing."""
    if not isinstance(found, list) or len(found) != len(texts):
        raise Garbage("not one list per text")
    for text, findings in zip(texts, found, strict=True):
        if not isinstance(findings, list):
            raise Garbage("not a list of findings")
        last = 0
        for finding in findings:
            if not isinstance(finding, Finding) or not isinstance(finding.type, str):
                raise Garbage("not a finding")
            if type(finding.start) is not int or type(finding.end) is not int:
                raise Garbage("not a span")
            if not last <= finding.start < finding.end <= len(text):
                raise Garbage("a span that is none of the text, or overlaps another")
            if not 0 < len(finding.type) <= _MAX_TYPE_CHARS:
                raise Garbage("not a type")
            last = finding.end


def _is_filter(finding: Finding) -> bool:
    return finding.recogniser.startswith(_FILTER)


def _outside(findings: Iterable[Finding], lookalikes: Sequence[tuple[int, int, str]]) -> list[Finding]:
    """Without those that are (in) what looks like a placeholder."""
    starts = [start for start, _, _ in lookalikes]
    kept: list[Finding] = []
    for finding in findings:
        before = bisect_right(starts, finding.start) - 1
        if before < 0 or finding.end > lookalikes[before][1]:
            kept.append(finding)
    return kept


def _joined(findings: Sequence[Finding], lookalikes: Sequence[tuple[int, int, str]]) -> list[_Span]:
    """One ascending list: where the two overlap, both are one finding."""
    spans: list[_Span] = sorted(
        [(one.start, one.end, one.type, False) for one in findings]
        + [(start, end, type_, True) for start, end, type_ in lookalikes]
    )
    joined: list[_Span] = []
    for start, end, type_, own in spans:
        if joined and start < joined[-1][1]:
            before = joined[-1]
            named = type_ if before[3] else before[2]
            joined[-1] = (before[0], max(before[1], end), named, own and before[3])
        else:
            joined.append((start, end, type_, own))
    return joined


def _with(text: str, spans: Sequence[_Span], written: Sequence[str]) -> str:
    told: list[str] = []
    position = 0
    for (start, end, _, _), placeholder in zip(spans, written, strict=True):
        told += (text[position:start], placeholder)
        position = end
    return "".join((*told, text[position:]))


def _moved(spans: Sequence[_Span], written: Sequence[str]) -> Iterator[Replaced]:
    """The same the other way round: from the text as it leaves to the caller's own."""
    shift = 0
    for (start, end, _, _), placeholder in zip(spans, written, strict=True):
        yield start + shift, len(placeholder), end - start
        shift += len(placeholder) - (end - start)
