"""Once a name in a call, always one: what was found in one text is found wherever it stands again."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import re2

from triptych.engines.phi.rules import RANK_NAME, RANK_RULE, Candidate
from triptych.engines.phi.tokens import Lexicon

RECOGNISER = "consistency"
_SCORE = 0.6
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*[A-Za-z]")
_VALUES_PER_PATTERN = 200
_MOST_IN_PATTERNS = 1_000
"""Of more, whole words are looked up one by one: time stays linear in the text."""
_WHOLE_WORD = re2.compile(rb"[A-Za-z0-9]+(?:[/-][A-Za-z0-9]+)*")
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

    def __init__(self, words: "NameWords") -> None:
        self._words = words
        self._values: dict[str, str] = {}

    def learn(self, text: str, candidates: Iterable[Candidate]) -> None:
        for found in candidates:
            value = text[found.start : found.end]
            if found.type == "PERSON":
                for word in _WORD.findall(value):
                    lower = word.lower()
                    if len(word) < 3 or lower in _TITLES:
                        continue
                    if self._words.alone(lower):
                        self._values.setdefault(word, "PERSON")
                        self._values.setdefault(word.capitalize(), "PERSON")
                    elif word[0].isupper() and self._words.capitalised(lower):
                        self._values.setdefault(word, "PERSON")
            elif found.type in _VALUE_TYPES and len(value) >= 5 and any(map(str.isdigit, value)):
                self._values.setdefault(value, found.type)

    def patterns(self) -> list[Any]:
        """What to look for, for ``find``; empty when nothing was learned."""
        values = sorted(self._values, key=lambda value: (-len(value), value))
        if len(values) > _MOST_IN_PATTERNS:
            return [_WHOLE_WORD]
        options = re2.Options()
        options.log_errors = False
        return [
            re2.compile(
                "|".join(map(re2.escape, values[start : start + _VALUES_PER_PATTERN])).encode(), options
            )
            for start in range(0, len(values), _VALUES_PER_PATTERN)
        ]

    def find(self, patterns: Sequence[Any], text: str) -> list[Candidate]:
        found: list[Candidate] = []
        encoded = text.encode("ascii")
        for pattern in patterns:
            for match in pattern.finditer(encoded):
                start, end = match.span()
                kind = self._values.get(text[start:end])
                if kind is None or (start and text[start - 1].isalnum()) or text[end : end + 1].isalnum():
                    continue
                rank = RANK_NAME - 1 if kind == "PERSON" else RANK_RULE
                found.append(Candidate(start, end, kind, _SCORE, RECOGNISER, rank))
        return found


class NameWords:
    """Which words of a name are names where they stand alone."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._find = lexicon.find
        self._no_name = lexicon.mask("medical", "calendar", "title")
        self._usual = lexicon.mask("usual_word")
        self._name = lexicon.mask("first_name", "surname")

    def alone(self, word: str) -> bool:
        """In any case of letters."""
        return not self._find(word)[1] & (self._no_name | self._usual)

    def capitalised(self, word: str) -> bool:
        """A usual word that is a name too, as Mark and Grace: only with its capital."""
        bits = self._find(word)[1]
        return bool(bits & self._name) and not bits & self._no_name
