"""All patterns over one text, in its plain spelling."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import re2

from triptych.engines.phi.credentials import CREDENTIALS, looks_secret
from triptych.engines.phi.patterns import (
    AGES,
    DATES,
    MONTH_ALONE,
    NETWORK,
    NUMBERS,
    PHONES,
    WEEKDAY_BEFORE,
    Pattern,
)
from triptych.engines.phi.patterns_context import ADDRESSES, CONTEXT, PERSONS

VALID_SCORE = 0.99
_MAX_MEMORY_BYTES = 2 << 20
_GROUP_SIZE = 4
_DIGIT = re.compile(r"\d", re.ASCII)
_WITHOUT_DIGITS = frozenset(
    "private_key vendor_key jwt connection_string connection_fields bearer password secret_in_context email email_local "
    "email_spelled url domain ipv6 mac month weekday_relative age_90_words street_unnumbered facility title named unit".split()
)
_EDGES = " \t\r\n,;:.!?()[]{}<>\"'`*_|"
_CREDENTIAL_NAMES = frozenset(pattern.name for pattern in CREDENTIALS)
# What stands in front says that a number identifies no person: registries, code systems, quantities.
_PUBLIC = (
    "nct", "pmid", "pmc", "doi", "isbn", "issn", "icd", "icd-10", "icd-9", "cpt", "snomed", "loinc", "rxnorm",
    "rxcui", "ndc", "hcpcs", "rfc", "cve", "iso", "version", "v", "drg", "hs-", "cas", "ec", "atc", "omim",
    "covid", "sars-cov", "sars", "h1n1", "il", "cd", "hba", "dsm", "gcs",
)  # fmt: skip


class Candidate(msgspec.Struct, gc=False):
    """A span of a plain text that may be something to redact."""

    start: int
    end: int
    type: str
    score: float
    recogniser: str
    rank: int
    """Who decides where two overlap: the higher."""


_NUMERIC = frozenset({"PHONE_NUMBER", "FAX_NUMBER", "AGE"})
_USED = (str.isalnum, str.isdigit)
"""What a left-over needs to tell anything; that of a number, a digit: not the words between two numbers."""

RANK_FILTER = 4
RANK_CREDENTIAL = 3
RANK_RULE = 2
RANK_NAME = 1


class Rules:
    """The compiled patterns; safe to share between threads.

    Patterns are tried in small groups: one look for the alternation of all of a group, and most texts need no more.
    """

    def __init__(self) -> None:
        every = (
            *CREDENTIALS,
            *CONTEXT,
            *NETWORK,
            *NUMBERS,
            *DATES,
            *AGES,
            *PHONES,
            MONTH_ALONE,
            WEEKDAY_BEFORE,
            *ADDRESSES,
            *PERSONS,
        )
        self._groups = _groups([pattern for pattern in every if pattern.name in _WITHOUT_DIGITS])
        self._digit_groups = _groups([pattern for pattern in every if pattern.name not in _WITHOUT_DIGITS])

    def find(self, text: str) -> list[Candidate]:
        """Raw candidates, overlapping, in no order. ``text`` is ASCII."""
        encoded = text.encode("ascii")
        found: list[Candidate] = []
        groups = self._groups
        if _DIGIT.search(text) is not None:
            groups = groups + self._digit_groups
        for group in groups:
            if group.any.search(encoded) is None:
                continue
            for pattern, compiled, value in group.patterns:
                for match in compiled.finditer(encoded):
                    start, end = match.span(value)
                    if start < 0:  # another alternative of the pattern, without the group
                        start, end = match.span()
                    candidate = _candidate(pattern, text, match.start(), start, end)
                    if candidate is not None:
                        found.append(candidate)
        return found


class _Group(msgspec.Struct):
    any: Any
    patterns: list[tuple[Pattern, Any, int]]
    """With the compiled one and its group that is the value."""


def _groups(patterns: Sequence[Pattern]) -> list[_Group]:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY_BYTES
    either = re2.Options()
    either.log_errors = False
    either.never_capture = True
    groups: list[_Group] = []
    for start in range(0, len(patterns), _GROUP_SIZE):
        part = patterns[start : start + _GROUP_SIZE]
        any_of = "|".join(f"(?:{pattern.regex})" for pattern in part).replace("(?P<value>", "(?:")
        compiled = [(pattern, re2.compile(pattern.regex.encode(), options)) for pattern in part]
        groups.append(
            _Group(
                re2.compile(any_of.encode(), either),
                [(pattern, regex, regex.groupindex.get(b"value", 0)) for pattern, regex in compiled],
            )
        )
    return groups


def _candidate(pattern: Pattern, text: str, before: int, start: int, end: int) -> Candidate | None:
    name = pattern.name
    secret = name in _CREDENTIAL_NAMES
    if not secret or name == "password":
        start, end = trimmed(text, start, end, whole=secret)
    elif name == "secret_in_context":
        while end > start and text[end - 1] in ".,;:":
            end -= 1
    if start >= end:
        return None
    value = text[start:end]
    if secret and not looks_secret(name, text[before:start], value):
        return None
    score = pattern.score
    if pattern.validator is not None and pattern.validator(value):
        score = VALID_SCORE
    elif not secret and not _plausible(name, text, start, value):
        return None
    return Candidate(
        start, end, pattern.type, score, f"pattern:{name}", RANK_CREDENTIAL if secret else RANK_RULE
    )


def trimmed(text: str, start: int, end: int, whole: bool = False) -> tuple[int, int]:
    """Without white space and punctuation at its edges, but with the brackets that belong to it."""
    edges = ".,;" if whole else _EDGES
    while start < end and text[start] in edges and not (text[start] in "([" and _closed(text, start, end)):
        start += 1
    while (
        start < end and text[end - 1] in edges and not (text[end - 1] == "." and _initial(text, start, end))
    ):
        end -= 1
    return start, end


def _closed(text: str, start: int, end: int) -> bool:
    return (")" if text[start] == "(" else "]") in text[start:end]


def _initial(text: str, start: int, end: int) -> bool:
    """A dot after a single capital belongs to the name: ``James T.``"""
    return end - start >= 2 and text[end - 2].isupper() and (end - start == 2 or not text[end - 3].isalnum())


def _plausible(name: str, text: str, start: int, value: str) -> bool:
    check = _CHECKS.get(name)
    return check is None or check(text, start, value)


def _not_public(text: str, start: int, value: str) -> bool:
    letters = value.lower()
    head = text[max(0, start - 12) : start].lower().rstrip(" :#=-([.")
    word = head.rsplit(maxsplit=1)[-1] if head.split() else ""
    if word in _PUBLIC or (word[:-1] in _PUBLIC and word.endswith("s")):
        return False
    return not letters.startswith(
        ("nct0", "pmid", "pmc", "icd", "cve-", "rfc", "iso", "covid", "sars", "cpt", "il-", "cd-")
    )


def _has_digits(least: int) -> Callable[[str, int, str], bool]:
    def check(text: str, start: int, value: str) -> bool:
        return sum(letter.isdigit() for letter in value) >= least

    return check


def _context_value(text: str, start: int, value: str) -> bool:
    digits = sum(letter.isdigit() for letter in value)
    if digits == 0 or len(value) < 3:
        return False
    if digits == len(value) == 4 and value.startswith(("19", "20")):
        return False  # a year
    return not value.lower().endswith(("mg", "ml", "kg", "mcg", "mm", "cm")) and _not_public(
        text, start, value
    )


def _vin(text: str, start: int, value: str) -> bool:
    return any(letter.isalpha() for letter in value)


def _grouped(text: str, start: int, value: str) -> bool:
    return 7 <= sum(letter.isdigit() for letter in value) <= 15 and _not_public(text, start, value)


def _iban(text: str, start: int, value: str) -> bool:
    return value[:2].isupper() and sum(letter.isdigit() for letter in value) >= 10


_CHECKS: dict[str, Callable[[str, int, str], bool]] = {
    **{pattern.name: _context_value for pattern in CONTEXT if pattern.type not in {"US_ZIP", "LOCATION"}},
    "letters_digits": _not_public,
    "long_number": _not_public,
    "phone_groups": _grouped,
    "phone_trunk": _has_digits(8),
    "phone_international": _has_digits(8),
    "phone_context": _has_digits(7),
    "fax": _has_digits(6),
    "spaced_digits": _has_digits(7),
    "vin": _vin,
    "iban": _iban,
}


def resolve(candidates: Sequence[Candidate], text: str) -> list[Candidate]:
    """No two overlap any more, and all that was under some candidate still is: what a stronger one leaves
    of a weaker one stays as a piece of its own. Sorted by start."""
    order = sorted(
        candidates, key=lambda found: (-found.rank, found.start - found.end, -found.score, found.start)
    )
    if len(order) < 2:
        return order
    kept: list[Candidate] = []
    taken = bytearray(len(text))
    for candidate in order:
        if not any(taken[candidate.start : candidate.end]):
            kept.append(candidate)
        else:
            kept.extend(_left_over(candidate, taken, text))
        taken[candidate.start : candidate.end] = b"\1" * (candidate.end - candidate.start)
    kept.sort(key=lambda found: found.start)
    return kept


def _left_over(candidate: Candidate, taken: bytearray, text: str) -> Iterator[Candidate]:
    place = candidate.start
    while place < candidate.end:
        free = taken.find(0, place, candidate.end)
        if free < 0:
            return
        stop = taken.find(1, free, candidate.end)
        stop = candidate.end if stop < 0 else stop
        start, end = trimmed(text, free, stop)
        if start < end and any(map(_USED[candidate.type in _NUMERIC], text[start:end])):
            yield Candidate(start, end, candidate.type, candidate.score, candidate.recogniser, candidate.rank)
        place = stop
