"""Terms that an org does not let out: literal texts, phrases, RE2 patterns."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Literal

import msgspec
import re2

from triptych.engines.phi.normalise import Plain, plain
from triptych.engines.phi.rules import RANK_FILTER, Candidate

TYPE = "CUSTOM"
MAX_PATTERN_CHARS = 4096
MAX_MEMORY_BYTES = 4 << 20


class FilterSpec(msgspec.Struct, frozen=True):
    """One filter as an org writes it."""

    name: str
    kind: Literal["literal", "phrase", "regex"]
    """A literal is found anywhere, as it is spelled; a phrase as whole words, in any case and spacing."""
    pattern: str


class CompiledFilters:
    """Filters of one org, compiled; safe to share between threads."""

    def __init__(self, compiled: list[tuple[str, Any, bool]], fingerprint: bytes = b"") -> None:
        self._compiled = compiled
        self.fingerprint = fingerprint
        """The same for the same filters."""

    @classmethod
    def compile(cls, specs: Iterable[Any]) -> "CompiledFilters":
        """``specs``: mappings or objects with ``name``, ``kind`` and ``pattern``.

        Raises ``ValueError`` naming the filter and what is wrong with it.
        """
        compiled: list[tuple[str, Any, bool]] = []
        told = blake2b(digest_size=16)
        for given in specs:
            try:
                spec = msgspec.convert(given, FilterSpec, from_attributes=True)
            except msgspec.ValidationError as error:
                raise ValueError(f"a filter is not {{name, kind, pattern}}: {error}") from None
            told.update(msgspec.json.encode(spec))
            compiled.extend((spec.name, regex, folded) for regex, folded in _regexes(spec))
        return cls(compiled, told.digest())

    def __bool__(self) -> bool:
        return bool(self._compiled)

    def find(self, original: str, spelled: Plain) -> list[Candidate]:
        """Candidates in terms of the plain spelling."""
        found: list[Candidate] = []
        for name, regex, folded in self._compiled:
            text = spelled.text if folded else original
            for match in regex.finditer(text):
                start, end = match.span()
                if start == end:
                    continue
                if not folded:
                    start, end = spelled.spelled(start, end)
                    if start == end:
                        continue
                found.append(Candidate(start, end, TYPE, 1.0, f"filter:{name}", RANK_FILTER))
        return found


def _regexes(spec: FilterSpec) -> list[tuple[Any, bool]]:
    """A filter looks at the plain spelling, so that no disguise helps; if not ASCII, also at the original."""
    if not spec.pattern.strip():
        raise ValueError(f'filter "{spec.name}": the pattern is empty')
    if len(spec.pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f'filter "{spec.name}": the pattern has more than {MAX_PATTERN_CHARS} characters')
    if spec.kind == "regex":
        pattern = spec.pattern
    elif spec.kind == "literal":
        pattern = re2.escape(spec.pattern)
    else:
        words = r"\s+".join(re2.escape(word) for word in spec.pattern.split())
        left = r"\b" if spec.pattern.split()[0][0].isascii() and spec.pattern.split()[0][0].isalnum() else ""
        right = (
            r"\b" if spec.pattern.split()[-1][-1].isascii() and spec.pattern.split()[-1][-1].isalnum() else ""
        )
        pattern = f"(?i){left}{words}{right}"
    regex = _compiled(spec.name, pattern)
    if spec.pattern.isascii():
        return [(regex, True), (regex, False)] if spec.kind == "regex" else [(regex, True)]
    folded = plain(spec.pattern).text
    regexes = [(regex, False)]
    if (
        spec.kind != "regex"
        and "x" not in folded.lower().replace(spec.pattern.lower(), "")
        and folded.strip()
    ):
        regexes.extend(_regexes(FilterSpec(spec.name, spec.kind, folded)))
    return regexes


def _compiled(name: str, pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY_BYTES
    try:
        regex = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f'filter "{name}": {reason}') from None
    if regex.search("") is not None:
        raise ValueError(f'filter "{name}": the pattern matches the empty text')
    return regex
