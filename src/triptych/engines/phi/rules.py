"""All patterns over one text, in its plain spelling."""

import re
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import re2

from triptych.engines.phi.credentials import CREDENTIALS, looks_secret
from triptych.engines.phi.patterns import (
    AGES,
    DATES,
    LONG_RUN,
    MONTH_ALONE,
    NETWORK,
    NUMBERS,
    PHONES,
    WEEKDAY_BEFORE,
)
from triptych.engines.phi.patterns_context import ADDRESSES, CONTEXT, PERSONS

VALID_SCORE = 0.99
_MAX_MEMORY_BYTES = 2 << 20
_MAX_SHAPES_MEMORY_BYTES = 4 << 20
_LETTERS = re.compile("[a-z]+")
_LONG_TEXT = 32_768
"""Characters: a longer text has most of the shapes, and one that is made for it can have the automaton of all
of them build a new state at each character."""
_END = r"\z"
"""A shape that every text has; as the first one."""
_EDGES = " \t\r\n,;:.!?()[]{}<>\"'`*_|"
_CREDENTIAL_NAMES = frozenset(pattern.name for pattern in CREDENTIALS)
# What stands in front says that a number identifies no person: registries, code systems, quantities.
_PUBLIC = frozenset((
    "nct", "pmid", "pmc", "doi", "isbn", "issn", "icd", "icd-10", "icd-9", "cpt", "snomed", "loinc", "rxnorm",
    "rxcui", "ndc", "hcpcs", "rfc", "cve", "iso", "version", "v", "drg", "hs-", "cas", "ec", "atc", "omim",
    "covid", "sars-cov", "sars", "h1n1", "il", "cd", "hba", "dsm", "gcs",
))  # fmt: skip


_PUBLIC_BEGINNINGS = (
    "nct0", "pmid", "pmc", "icd", "cve-", "rfc", "iso", "covid", "sars", "cpt", "il-", "cd-",
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


_START = attrgetter("start")
_NUMERIC = frozenset({"PHONE_NUMBER", "FAX_NUMBER", "AGE", "UNIQUE_ID"})
_USED = (str.isalnum, str.isdigit)
"""What a left-over needs to tell anything; that of a number, a digit: not the words between two numbers."""

RANK_FILTER = 4
RANK_CREDENTIAL = 3
RANK_RULE = 2
RANK_NAME = 1


class Rules:
    """The patterns; safe to share between threads.

    One look for all shapes and one for all words tell which patterns can match; only these are tried, and
    compiled when they are tried first.
    """

    def __init__(self) -> None:
        self.patterns = (
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
        self._compiled: list[tuple[Any, int] | None] = [None] * len(self.patterns)
        self._options = _options(_MAX_MEMORY_BYTES)
        # Sets of patterns are numbers, of which each pattern is a bit.
        self._every = (1 << len(self.patterns)) - 1
        self._need_shape = self._need_words = 0
        of_words: dict[str, int] = {}
        of_shapes: dict[str, int] = {_END: 0}
        for number, pattern in enumerate(self.patterns):
            bit = 1 << number
            for word in pattern.words:
                of_words[word] = of_words.get(word, 0) | bit
            if pattern.words:
                self._need_words |= bit
            if pattern.shape or not pattern.words:
                self._need_shape |= bit
                shape = pattern.shape or pattern.regex
                of_shapes[shape] = of_shapes.get(shape, 0) | bit
        # It counts characters, and would double the states of all others.
        self._long_run, self._of_long_runs = (
            re2.compile(LONG_RUN.encode(), self._options),
            of_shapes.pop(LONG_RUN),
        )
        self._of_words, self._words = of_words, frozenset(of_words)
        self._of_shapes = list(of_shapes.values())
        self._shapes = re2.Set.SearchSet(_options(_MAX_SHAPES_MEMORY_BYTES))
        for shape in of_shapes:
            self._shapes.Add(shape.encode())
        self._shapes.Compile()

    def find(self, text: str) -> list[Candidate]:
        """Raw candidates, overlapping, in no order. ``text`` is ASCII."""
        encoded = text.encode("ascii")
        found: list[Candidate] = []
        left = self.possible(text)
        while left:
            bit = left & -left
            left ^= bit
            number = bit.bit_length() - 1
            pattern = self.patterns[number]
            compiled, value = self._compiled[number] or self._compile(number)
            secret, score, recogniser = (
                pattern.name in _CREDENTIAL_NAMES,
                pattern.score,
                f"pattern:{pattern.name}",
            )
            rank = RANK_CREDENTIAL if secret else RANK_RULE
            check, validator = _CHECKS.get(pattern.name), pattern.validator
            for match in compiled.finditer(encoded):
                start, end = match.span(value)
                if start < 0:  # another alternative of the pattern, without the group
                    start, end = match.span()
                valid = False
                if secret:
                    start, end = _secret(pattern.name, text, match.start(), start, end)
                elif not (text[start].isalnum() and text[end - 1].isalnum()):
                    start, end = trimmed(text, start, end)
                if start >= end:
                    continue
                if validator is not None:
                    valid = validator(text[start:end])
                if not valid and check is not None and not check(text, start, text[start:end]):
                    continue
                found.append(
                    Candidate(start, end, pattern.type, VALID_SCORE if valid else score, recogniser, rank)
                )
        return found

    def possible(self, text: str) -> int:
        """The patterns that may match, as bits."""
        shaped = worded = 0
        if len(text) > _LONG_TEXT:
            shaped = self._every
        else:
            encoded = text.encode("ascii")
            shapes = self._shapes.Match(encoded)
            if not shapes or 0 not in shapes:  # the automaton gave up before the end
                return self._every
            for number in shapes:
                shaped |= self._of_shapes[number]
            if self._long_run.search(encoded) is not None:
                shaped |= self._of_long_runs
        for word in self._words.intersection(_LETTERS.findall(text.lower())):
            worded |= self._of_words[word]
        return self._every & (shaped | ~self._need_shape) & (worded | ~self._need_words)

    def _compile(self, number: int) -> tuple[Any, int]:
        regex = re2.compile(self.patterns[number].regex.encode(), self._options)
        made = self._compiled[number] = regex, regex.groupindex.get(b"value", 0)
        return made


def _options(max_bytes: int) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = max_bytes
    # Texts are ASCII: a program that knows of no other letters, as the Kelvin sign for a k, is smaller.
    options.encoding = re2.Options.Encoding.LATIN1
    return options


def _secret(name: str, text: str, before: int, start: int, end: int) -> tuple[int, int]:
    """Where the secret stands in what a pattern of credentials found; of no length where it cannot be one.

    ``before``: where the words begin that stand in front of it.
    """
    if name == "password":
        start, end = trimmed(text, start, end, whole=True)
    elif name == "secret_in_context":
        while end > start and text[end - 1] in ".,;:":
            end -= 1
    if start >= end or not looks_secret(name, text[before:start], text[start:end]):
        return start, start
    return start, end


def trimmed(text: str, start: int, end: int, whole: bool = False) -> tuple[int, int]:
    """Without white space and punctuation at its edges, but with the brackets that belong to it."""
    if start < end and text[start].isalnum() and text[end - 1].isalnum():
        return start, end
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


def _not_public(text: str, start: int, value: str) -> bool:
    head = text[max(0, start - 12) : start].rstrip(" :#=-([.").rsplit(maxsplit=1)
    if head:
        word = head[-1].lower()
        if word in _PUBLIC or (word[:-1] in _PUBLIC and word.endswith("s")):
            return False
    return value[0].isdigit() or not value.lower().startswith(_PUBLIC_BEGINNINGS)


def _has_digits(least: int) -> Callable[[str, int, str], bool]:
    def check(text: str, start: int, value: str) -> bool:
        return sum(map(str.isdigit, value)) >= least

    return check


def _context_value(text: str, start: int, value: str) -> bool:
    if start and text[start].isalpha() and text[start - 1].isalpha():
        return False  # in the middle of a word: SIN in "since 2009"
    if len(value) < 3 or not any(map(str.isdigit, value)):
        return False
    if len(value) == 4 and value.isdigit() and value.startswith(("19", "20")):
        return False  # a year
    return not value.lower().endswith(("mg", "ml", "kg", "mcg", "mm", "cm")) and _not_public(
        text, start, value
    )


def _vin(text: str, start: int, value: str) -> bool:
    return any(letter.isalpha() for letter in value)


def _grouped(text: str, start: int, value: str) -> bool:
    return 7 <= sum(map(str.isdigit, value)) <= 15 and _not_public(text, start, value)


def _iban(text: str, start: int, value: str) -> bool:
    return value[:2].isupper() and sum(map(str.isdigit, value)) >= 10


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
    kept: list[Candidate] = []
    cluster: list[Candidate] = []
    """Candidates each of which overlaps another: only these are weighed against each other."""
    end = 0
    for candidate in sorted(candidates, key=_START):
        if candidate.start >= end and cluster:
            kept.extend(cluster if len(cluster) == 1 else _weighed(cluster, end, text))
            cluster = []
        cluster.append(candidate)
        if candidate.end > end:
            end = candidate.end
    kept.extend(cluster if len(cluster) < 2 else _weighed(cluster, end, text))
    return kept


def _weakness(found: Candidate) -> tuple[int, int, float, int]:
    return -found.rank, found.start - found.end, -found.score, found.start


def _weighed(cluster: Sequence[Candidate], end: int, text: str) -> list[Candidate]:
    """``cluster``: sorted by start; ``end``: where the last of them ends."""
    begin = cluster[0].start
    strongest = min(cluster, key=_weakness)
    if strongest.start == begin and strongest.end == end:
        return [strongest]
    kept: list[Candidate] = []
    taken = bytearray(end - begin)
    for candidate in sorted(cluster, key=_weakness):
        first, last = candidate.start - begin, candidate.end - begin
        if taken.find(1, first, last) < 0:
            kept.append(candidate)
        elif taken.find(0, first, last) < 0:
            continue
        else:
            kept.extend(_left_over(candidate, taken, begin, text))
        taken[first:last] = b"\1" * (last - first)
    kept.sort(key=_START)
    return kept


def _left_over(candidate: Candidate, taken: bytearray, begin: int, text: str) -> Iterator[Candidate]:
    """``taken``: of the text from ``begin`` on."""
    place, last = candidate.start - begin, candidate.end - begin
    while place < last:
        free = taken.find(0, place, last)
        if free < 0:
            return
        stop = taken.find(1, free, last)
        stop = last if stop < 0 else stop
        start, end = trimmed(text, begin + free, begin + stop)
        if start < end and any(map(_USED[candidate.type in _NUMERIC], text[start:end])):
            yield Candidate(start, end, candidate.type, candidate.score, candidate.recogniser, candidate.rank)
        place = stop
