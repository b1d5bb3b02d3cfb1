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
        self._learnt: set[tuple[str, str]] = set()
        self._lower: set[str] = set()
        self._heads: set[str] = set()
        """Of these the first words."""
        self._first: dict[str, list[tuple[int, int]]] | None = None

    def learn(self, text: str, candidates: Iterable[Candidate]) -> None:
        for found in candidates:
            value = text[found.start : found.end]
            if (found.type, value) in self._learnt:
                continue
            self._learnt.add((found.type, value))
            if found.type == "PERSON":
                for word in _WORD.findall(value):
                    lower = word.lower()
                    if not 3 <= len(word) <= _LONGEST or lower in _TITLES:
                        continue
                    bits = self._lists[lower]
                    if not bits & (_NO_NAME | _USUAL):
                        for form in (word, lower, word.capitalize(), word.upper()):
                            self._values.setdefault(form, "PERSON")
                    elif word[0].isupper() and bits & _NAME and not bits & _NO_NAME:
                        # A usual word that is a name too, as Mark and Grace: only with its capital.
                        self._values.setdefault(word, "PERSON")
                    else:
                        continue
                    self._add(lower)
            elif found.type in _VALUE_TYPES and 5 <= len(value) <= _LONGEST and any(map(str.isdigit, value)):
                self._values.setdefault(value, found.type)
                self._add(value.lower())

    def _add(self, lower: str) -> None:
        if lower not in self._lower:
            self._lower.add(lower)
            head = None if lower.isalnum() else _WORDS.search(lower)
            self._heads.add(lower if head is None else head[0])

    def find(self, text: str, found: Sequence[Candidate]) -> list[Candidate]:
        """Where the names and values stand as whole words, beside what was found in the text anyway.

        Time is linear in the text.
        """
        if not self._values or not self._is_more_in(text, found):
            return []
        return self._standing_in(text)

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

    def _standing_in(self, text: str) -> list[Candidate]:
        composed = self._composed()
        known = {word for word in set(_WORDS.findall(text)) if word in self._values or word in composed}
        found: list[Candidate] = []
        last = 0
        for place, word in _placed(text, known):
            if place < last:
                continue
            for before, size in (*composed.get(word, ()), (0, len(word))):
                start = place - before
                end = start + size
                if start < last or (start and text[start - 1].isalnum()) or text[end : end + 1].isalnum():
                    continue
                kind = self._values.get(text[start:end])
                if kind is not None:
                    rank = RANK_NAME - 1 if kind == "PERSON" else RANK_RULE
                    found.append(Candidate(start, end, kind, _SCORE, RECOGNISER, rank))
                    last = end
                    break
        return found

    def _composed(self) -> dict[str, list[tuple[int, int]]]:
        """Values of several words, by the first: the characters before it, and all; the longest first."""
        if self._first is None:
            sizes: dict[str, set[tuple[int, int]]] = {}
            for value in self._values:
                if not value.isalnum() and (word := _WORDS.search(value)) is not None:
                    sizes.setdefault(word[0], set()).add((word.start(), len(value)))
            self._first = {word: sorted(pairs, key=_by_size) for word, pairs in sizes.items()}
        return self._first


def _placed(text: str, words: Set[str]) -> list[tuple[int, str]]:
    """Where these words stand, also within others."""
    if len(words) > _FEW_WORDS:
        return [(match.start(), match[0]) for match in _WORDS.finditer(text) if match[0] in words]
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
