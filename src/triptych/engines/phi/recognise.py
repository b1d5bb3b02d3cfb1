"""Recognise identifiers, credentials and an org's own terms in texts."""

from collections.abc import Sequence

from triptych.core.finding import Finding
from triptych.engines.phi.filters import CompiledFilters
from triptych.engines.phi.normalise import Plain, plain
from triptych.engines.phi.rules import Candidate, Rules, resolve


class Recogniser:
    """Stateless and safe to call from several threads."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @classmethod
    def load(cls) -> "Recogniser":
        """Compile the patterns and read the tagger's weights."""
        return cls(Rules())

    def scan(self, texts: Sequence[str], filters: CompiledFilters | None = None) -> list[list[Finding]]:
        """One list per text: sorted, not overlapping, offsets in code points of the text as given."""
        found: list[list[Finding]] = []
        for text in texts:
            spelled = plain(text)
            candidates = self._rules.find(spelled.text)
            if filters is not None:
                candidates.extend(filters.find(text, spelled))
            found.append(_findings(spelled, resolve(candidates, spelled.text)))
        return found


def _findings(spelled: Plain, candidates: Sequence[Candidate]) -> list[Finding]:
    found: list[Finding] = []
    last = 0
    for candidate in candidates:
        start, end = spelled.span(candidate.start, candidate.end)
        start = max(start, last)  # one character of the original may be spelled as several
        if start < end:
            found.append(Finding(candidate.type, start, end, candidate.score, candidate.recogniser))
            last = end
    return found
