"""Recognise identifiers, credentials and an org's own terms in texts."""

import re
from collections.abc import Iterator, Sequence

import msgspec

from triptych.core.finding import Finding
from triptych.engines.phi.consistency import Known
from triptych.engines.phi.disguise import decoded, percent_encoded, straddling, underlined
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
_MAX_APART = 5
"""Characters between two that are one."""
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
            every = self._said(text.text, lists)
            every += percent_encoded(text.text, lambda word: self._said(word, lists))
            every.extend(decoded(text.text, self._rules))
            if filters:
                every.extend(filters.find(original, text))
            found.append(joined(resolve(every, text.text), text.text))
        return found

    def _said(self, text: str, lists: Lists) -> list[Candidate]:
        every = self._rules.find(text)
        every += underlined(text, self._rules)
        every += list(self._names(text, every, lists))
        return every

    def _names(self, text: str, ruled: Sequence[Candidate], lists: Lists) -> Iterator[Candidate]:
        """What the tagger marked, identifies somebody and does not lie under what rules found: these decide."""
        under = bytearray(len(text))
        for one in ruled:
            under[one.start : one.end] = b"\1" * (one.end - one.start)
        for name in self._tagger.find(text, tokens(text)):
            if under.find(0, name.start, name.end) < 0 and with_surname(text, name, lists) == name.end:
                continue
            if not is_safe(text, name, lists):
                name.end = with_surname(text, name, lists)
                yield name

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
            more = known.find(text.text, found)
            more.extend(split.get(number, ()))
            every = joined(resolve([*found, *more], text.text), text.text) if more else found
            findings.append(_findings(text, every))
        return findings


def joined(candidates: Sequence[Candidate], text: str) -> list[Candidate]:
    """Neighbours that are one place or one name become one finding."""
    kept: list[Candidate] = []
    last: Candidate | None = None
    for found in candidates:
        candidate = found
        placed = candidate.type == "LOCATION"
        if placed and (tail := _FACILITY_TAIL.match(text, candidate.end)):
            candidate = msgspec.structs.replace(candidate, end=tail.end())
        if last is not None:
            if candidate.start < last.end:
                candidate = msgspec.structs.replace(candidate, start=last.end)
                if candidate.start >= candidate.end:
                    continue
            apart = candidate.start - last.end
            if candidate.type == last.type and (placed or candidate.type == "PERSON") and apart <= _MAX_APART:
                between = _BETWEEN_PLACES if placed else _BETWEEN_NAMES
                if not apart or between.fullmatch(text, last.end, candidate.start):
                    score = max(last.score, candidate.score)
                    last = kept[-1] = msgspec.structs.replace(last, end=candidate.end, score=score)
                    continue
        kept.append(candidate)
        last = candidate
    return kept


def _findings(spelled: Plain, candidates: Sequence[Candidate]) -> list[Finding]:
    if spelled.at is None:  # the candidates' places are the original's
        return [
            Finding(found.type, found.start, found.end, round(found.score, 3), found.recogniser)
            for found in candidates
        ]
    found: list[Finding] = []
    last = 0
    for candidate in candidates:
        start, end = spelled.span(candidate.start, candidate.end)
        start = max(start, last)  # one character of the original may be spelled as several
        if start < end:
            found.append(Finding(candidate.type, start, end, round(candidate.score, 3), candidate.recogniser))
            last = end
    return found
