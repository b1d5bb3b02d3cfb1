"""What a text holds, remembered: a conversation sends its beginning again with each turn.

Keys are hashes under a key of this process; values are places and types, never a text or a piece of one.
"""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock

from triptych.core.finding import Finding
from triptych.engines.phi.filters import CompiledFilters
from triptych.engines.phi.normalise import plain
from triptych.engines.phi.recognise import Recogniser
from triptych.engines.phi.rules import Candidate

_ENTRY_BYTES = 200
_CANDIDATE_BYTES = 120


class CachedRecogniser:
    """A recogniser that looks at no text twice for the same org and filters. Safe to call from several threads."""

    def __init__(self, recogniser: Recogniser, max_bytes: int = 16 << 20) -> None:
        """``max_bytes`` bounds what is remembered, about; what was not used longest goes first."""
        self._recogniser, self._max_bytes = recogniser, max_bytes
        self._secret = secrets.token_bytes(32)
        self._lock = Lock()
        self._entries: OrderedDict[bytes, tuple[Candidate, ...]] = OrderedDict()
        self._bytes = 0

    def scan(
        self, texts: Sequence[str], filters: CompiledFilters | None = None, org: str = ""
    ) -> list[list[Finding]]:
        """As ``Recogniser.scan``. An org's texts are never answered from another's."""
        owner = blake2b(
            (filters.fingerprint if filters else b"") + org.encode("utf-8", "surrogatepass"),
            key=self._secret,
            digest_size=32,
        ).digest()
        keys = [
            blake2b(text.encode("utf-8", "surrogatepass"), key=owner, digest_size=16).digest()
            for text in texts
        ]
        spelled = [plain(text) for text in texts]
        with self._lock:
            known = {key: self._entries[key] for key in keys if key in self._entries}
            for key in known:
                self._entries.move_to_end(key)
        new = {key: number for number, key in enumerate(keys) if key not in known}
        if new:
            numbers = list(new.values())
            found = self._recogniser.candidates(
                [texts[number] for number in numbers], [spelled[number] for number in numbers], filters
            )
            fresh = {key: tuple(candidates) for key, candidates in zip(new, found, strict=True)}
            known |= fresh
            self._remember(fresh)
        return self._recogniser.consistent(spelled, [known[key] for key in keys])

    def _remember(self, fresh: dict[bytes, tuple[Candidate, ...]]) -> None:
        with self._lock:
            for key, candidates in fresh.items():
                if key not in self._entries:
                    self._entries[key] = candidates
                    self._bytes += _cost(candidates)
            while self._bytes > self._max_bytes:
                _, candidates = self._entries.popitem(last=False)
                self._bytes -= _cost(candidates)


def _cost(candidates: Sequence[Candidate]) -> int:
    return _ENTRY_BYTES + _CANDIDATE_BYTES * len(candidates)
