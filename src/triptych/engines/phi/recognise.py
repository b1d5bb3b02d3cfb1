"""Recognise identifiers, credentials and an org's own terms in texts."""

import re
from collections.abc import Sequence

import msgspec

from triptych.core.finding import Finding
from triptych.engines.phi.consistency import Known
from triptych.engines.phi.disguise import decoded, straddling
from triptych.engines.phi.filters import CompiledFilters
from triptych.engines.phi.normalise import Plain, plain
from triptych.engines.phi.rules import Candidate, Rules, resolve
from triptych.engines.phi.safe import is_safe, with_surname
from triptych.engines.phi.tagger import Tagger
from triptych.engines.phi.tokens import Lists, tokens

_BETWEEN_PLACES = re.compile(r",?\s(?:(?:in|at|of|near|-)\s)?|,\s?|,\s?\n|\n|\s?-\s?|/")
_FACILITY_TAIL = re.compile(
    r"(?i)\s(?:(?:med(?:ical)?\.?\s)?(?:ctr|cntr|center|centre|hosp|hospital|clinic|univ|university|infirmary)|med(?:ical)?|campus)\b"
)
_BETWEEN_NAMES = re.compile(r"\s|\.\s|,\s|-")


class Recogniser:
    """Stateless and safe to call from several threads."""

    def __init__(self, rules: Rules, tagger: Tagger) -> None:
        self._rules, self._tagger = rules, tagger

    @classmethod
    def load(cls) -> "Recogniser":
        """Read the lists and the weights of the tagger (about 0.1 s of CPU); patterns are compiled when first tried."""
        return cls(Rules(), Tagger.load())

    def scan(self, texts: Sequence[str], filters: CompiledFilters | None = None) -> list[list[Finding]]:
        """One list per text: sorted, not overlapping, offsets in code points of the text as given.

        A name or number that is found in one text is found in all texts of the call.
        """
        spelled = [plain(text) for text in texts]
        return self.consistent(spelled, self.candidates(texts, spelled, filters))

    def candidates(
        self, texts: Sequence[str], spelled: Sequence[Plain], filters: CompiledFilters | None
    ) -> list[list[Candidate]]:
        """What each text holds, seen alone: resolved, in terms of its plain spelling."""
        found: list[list[Candidate]] = []
        lists = Lists(self._tagger.lexicon)
        for original, text in zip(texts, spelled, strict=True):
            every = self._rules.find(text.text)
            names = self._tagger.find(text.text, tokens(text.text))
            for name in names:
                if not is_safe(text.text, name, lists):
                    name.end = with_surname(text.text, name, lists)
                    every.append(name)
            every.extend(decoded(text.text, self._rules))
            if filters:
                every.extend(filters.find(original, text))
            found.append(joined(resolve(every, text.text), text.text))
        return found

    def consistent(
        self, spelled: Sequence[Plain], candidates: Sequence[Sequence[Candidate]]
    ) -> list[list[Finding]]:
        """The findings of all texts, with what one of them tells about the others."""
        known = Known(Lists(self._tagger.lexicon))
        for text, found in zip(spelled, candidates, strict=True):
            known.learn(text.text, found)
        split = straddling([text.text for text in spelled], self._rules) if len(spelled) > 1 else {}
        findings: list[list[Finding]] = []
        for number, (text, found) in enumerate(zip(spelled, candidates, strict=True)):
            more = _uncovered(known.find(text.text, found), found)
            more.extend(split.get(number, ()))
            every = joined(resolve([*found, *more], text.text), text.text) if more else found
            findings.append(_findings(text, every))
        return findings


def joined(candidates: Sequence[Candidate], text: str) -> list[Candidate]:
    """Neighbours that are one place or one name become one finding."""
    kept: list[Candidate] = []
    for found in candidates:
        candidate = found
        if candidate.type == "LOCATION" and (tail := _FACILITY_TAIL.match(text, candidate.end)):
            candidate = msgspec.structs.replace(candidate, end=tail.end())
        if kept and candidate.start < kept[-1].end:
            candidate = msgspec.structs.replace(candidate, start=kept[-1].end)
            if candidate.start >= candidate.end:
                continue
        if kept and candidate.type == kept[-1].type and candidate.type in {"LOCATION", "PERSON"}:
            between = text[kept[-1].end : candidate.start]
            pattern = _BETWEEN_PLACES if candidate.type == "LOCATION" else _BETWEEN_NAMES
            if len(between) <= 5 and (not between or pattern.fullmatch(between)):
                last = kept[-1]
                kept[-1] = Candidate(
                    last.start,
                    candidate.end,
                    last.type,
                    max(last.score, candidate.score),
                    last.recogniser,
                    last.rank,
                )
                continue
        kept.append(candidate)
    return kept


def _uncovered(more: Sequence[Candidate], found: Sequence[Candidate]) -> list[Candidate]:
    """Those that do not lie in a finding that decides anyway. Both are sorted, and do not overlap."""
    left: list[Candidate] = []
    place = 0
    for candidate in more:
        while place < len(found) and found[place].end <= candidate.start:
            place += 1
        over = found[place] if place < len(found) else None
        if (
            over is None
            or over.start > candidate.start
            or over.end < candidate.end
            or over.rank < candidate.rank
        ):
            left.append(candidate)
    return left


def _findings(spelled: Plain, candidates: Sequence[Candidate]) -> list[Finding]:
    found: list[Finding] = []
    last = 0
    for candidate in candidates:
        start, end = spelled.span(candidate.start, candidate.end)
        start = max(start, last)  # one character of the original may be spelled as several
        if start < end:
            found.append(Finding(candidate.type, start, end, round(candidate.score, 3), candidate.recogniser))
            last = end
    return found
