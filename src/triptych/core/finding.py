"""What a guard found in a text: identifiers, credentials, terms an org does not let out."""

import msgspec


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One span of one text. Findings of a text never overlap and come in the order of the text."""

    type: str
    """Presidio's name of the entity where it has one (``PERSON``, ``US_SSN``), else ours (``MRN``)."""
    start: int
    """In Unicode code points."""
    end: int
    score: float
    """0..1: how sure the recogniser is."""
    recogniser: str
    """Which rule or model found it: ``pattern:us_ssn``, ``tagger``, ``filter``."""


class Screening(msgspec.Struct, frozen=True):
    """What the guard did to a request: words of ours and counts, never a value."""

    mode: str
    """``redact`` | ``block`` | ``allow``."""
    counts: dict[str, int]
    """Findings by type, types in the order of the alphabet."""
    redactions: int = 0
    """Spans that were replaced before anything left."""

    @property
    def entity_types(self) -> list[str]:
        return list(self.counts)
