"""Once a name in a call, always one: what was found in one text is found wherever it stands again."""

import re
from collections.abc import Iterable, Sequence, Set

from triptych.engines.phi.rules import RANK_NAME, RANK_RULE, Candidate
from triptych.engines.phi.tokens import Lexicon, Lists

RECOGNISER = "consistency"
_SCORE = 0.6
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*[A-Za-z]")
_WORDS = re.compile(r"[A-Za-z0-9]+")
_FEW_WORDS = 64
"""So many are quicker found one by one."""
_NO_NAME = Lexicon.mask("medical", "calendar", "title")
_USUAL = Lexicon.mask("usual_word")
_NAME = Lexicon.mask("first_name", "surname")
_LONGEST = 100
"""Longer ones are noise."""
_PLACED = frozenset(("PERSON", "LOCATION"))
"""A name in one of these is covered, and no name of a kind says more."""
_TITLES = frozenset(
    "mr mrs ms miss mx dr doctor prof professor sir nurse father sister rev pastor herr frau mme md rn np do phd jr sr "
    "van von de der den del la le di da bin al el the and of".split()
)
# Values that a form or their context gave away, and that mean the same where they stand alone.
_VALUE_TYPES = frozenset(
    "MRN HEALTH_PLAN_ID ACCOUNT_NUMBER US_SSN US_DRIVER_LICENSE MEDICAL_LICENSE US_PASSPORT VEHICLE_ID DEVICE_ID "
    "BIOMETRIC_ID UNIQUE_ID NPI DEA_NUMBER PASSWORD API_KEY SECRET ACCESS_TOKEN PHONE_NUMBER FAX_NUMBER".split()
)


class Known:
    """Names and values found in the texts of a call."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._values: dict[str, str] = {}
        self._names: set[str] = set()
        self._words: set[str] = set()
        """Those that were looked at: names, and the words of names."""
        self._lower: set[str] = set()
        self._heads: set[str] = set()
        """Of these the first words."""
        self._composed: dict[str, set[tuple[int, int]]] = {}
        """Values of several words, by the first: the characters before it, and all."""

    def learn(self, text: str, candidates: Iterable[Candidate]) -> None:
        for found in candidates:
            if found.type == "PERSON":
                value = text[found.start : found.end]
                if value not in self._names:
                    self._names.add(value)
                    self._learn_words(_WORD.findall(value))
            elif found.type in _VALUE_TYPES and 5 <= found.end - found.start <= _LONGEST:
                value = text[found.start : found.end]
                if value not in self._values and any(map(str.isdigit, value)):
                    self._add(value, found.type)

    def _learn_words(self, words: Iterable[str]) -> None:
        """Of a name."""
        for word in words:
            if word in self._words:
                continue
            self._words.add(word)
            lower = word.lower()
            if not 3 <= len(word) <= _LONGEST or lower in _TITLES:
                continue
            bits = self._lists[lower]
            if not bits & (_NO_NAME | _USUAL):
                for form in (word, lower, word.capitalize(), word.upper()):
                    self._add(form, "PERSON")
            elif word[0].isupper() and bits & _NAME and not bits & _NO_NAME:
                # A usual word that is a name too, as Mark and Grace: only with its capital.
                self._add(word, "PERSON")

    def _add(self, value: str, kind: str) -> None:
        if value in self._values:
            return
        self._values[value] = kind
        self._lower.add(value.lower())
        if value.isalnum():
            self._heads.add(value.lower())
        elif (head := _WORDS.search(value)) is not None:
            self._heads.add(head[0].lower())
            self._composed.setdefault(head[0], set()).add((head.start(), len(value)))

    def find(self, text: str, found: Sequence[Candidate]) -> list[Candidate]:
        """Where the names and values stand as whole words, beside what was found in the text anyway: ``found`` is
        sorted and does not overlap, and so is what is returned.

        Time is linear in the text.
        """
        if not self._values or not self._is_more_in(text, found):
            return []
        return self._standing_in(text, found)

    def _is_more_in(self, text: str, found: Sequence[Candidate]) -> bool:
        """False for most texts: their names and values stand where they were found."""
        last = 0
        left: list[str] = []
        for one in found:
            if one.rank >= RANK_RULE or one.type in _PLACED:
                left.append(text[last : one.start])
                last = one.end
        left.append(text[last:])
        rest = "\n".join(left).lower()
        if len(self._lower) <= _FEW_WORDS:
            return any(word in rest for word in self._lower)
        return not self._heads.isdisjoint(_WORDS.findall(rest))

    def _standing_in(self, text: str, found: Sequence[Candidate]) -> list[Candidate]:
        values = self._values
        words = set(_WORDS.findall(text))
        tried = {word: [(0, len(word))] for word in words & values.keys()}
        """By word what may stand there: the characters before it, and all; the longest first."""
        for word in words & self._composed.keys():
            tried[word] = sorted(self._composed[word], key=_by_size) + tried.get(word, [])
        more: list[Candidate] = []
        last = over = 0
        """Where the last of them ends; which of ``found`` is the first that does not end before the next."""
        for place, word in _placed(text, tried.keys()):
            if place < last:
                continue
            for before, size in tried[word]:
                start = place - before
                end = start + size
                if not last <= start < end <= len(text):
                    continue
                if (start and text[start - 1].isalnum()) or text[end : end + 1].isalnum():
                    continue
                kind = values.get(text[start:end])
                if kind is None:
                    continue
                rank = RANK_NAME - 1 if kind == "PERSON" else RANK_RULE
                while over < len(found) and found[over].end <= start:
                    over += 1
                if over == len(found) or not _decides(found[over], start, end, rank):
                    more.append(Candidate(start, end, kind, _SCORE, RECOGNISER, rank))
                last = end
                break
        return more


def _decides(found: Candidate, start: int, end: int, rank: int) -> bool:
    """Whether what stands there lies in a finding that is at least as strong."""
    return found.start <= start and end <= found.end and found.rank >= rank


def _placed(text: str, words: Set[str]) -> Iterable[tuple[int, str]]:
    """Where these words stand, also within others."""
    if len(words) > _FEW_WORDS:
        return ((match.start(), word) for match in _WORDS.finditer(text) if (word := match[0]) in words)
    placed: list[tuple[int, str]] = []
    for word in words:
        place = text.find(word)
        while place >= 0:
            placed.append((place, word))
            place = text.find(word, place + len(word))
    placed.sort()
    return placed


def _by_size(pair: tuple[int, int]) -> int:
    return -pair[1]
