"""ULIDs (https://github.com/ulid/spec): 48 bits of Unix milliseconds, 80 random bits, written as
26 upper-case Crockford base32 characters, so that ids sort by time of creation."""

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]

# One urandom call serves many ids: the system call costs more than the encoding.
_POOL_IDS = 256


class UlidSource:
    """Makes ULIDs. Not thread-safe: each event loop or thread has its own."""

    def __init__(self) -> None:
        self._pool = b""
        self._offset = 0
        self._millisecond = -1
        self._prefix = ""

    def new(self) -> str:
        """A fresh ULID of the current millisecond."""
        millisecond = time.time_ns() // 1_000_000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._prefix = _encode(millisecond, 10)
        offset = self._offset
        if offset >= len(self._pool):
            self._pool = os.urandom(10 * _POOL_IDS)
            offset = 0
        self._offset = offset + 10
        n = int.from_bytes(self._pool[offset : offset + 10], "big")
        p = _PAIRS
        return (
            f"{self._prefix}{p[n >> 70]}{p[n >> 60 & 1023]}{p[n >> 50 & 1023]}{p[n >> 40 & 1023]}"
            f"{p[n >> 30 & 1023]}{p[n >> 20 & 1023]}{p[n >> 10 & 1023]}{p[n & 1023]}"
        )


def _encode(value: int, length: int) -> str:
    chars = []
    for _ in range(length):
        chars.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(chars))


def new_ulid() -> str:
    """A ULID from a source of its own, for places where speed does not matter."""
    return UlidSource().new()


def ulids_after(last: str | None, moment_us: int, count: int) -> list[str]:
    """Fresh ULIDs, each greater than the one before it and than ``last``: also within a millisecond, and
    of a clock that was set back. Where they allow it, they are of the moment given."""
    # The highest random bit stays free: what is counted up does not run into the next millisecond.
    number = (moment_us // 1000) << 80 | int.from_bytes(os.urandom(10), "big") >> 1
    if last is not None and number <= (before := _decode(last)):
        # Another process may be counting up from the same one.
        number = before + 1 + int.from_bytes(os.urandom(8), "big")
    return [_encode(number + place, 26) for place in range(count)]


def first_ulid(moment_us: int) -> str:
    """The least ULID of the millisecond: all that were made before it are smaller."""
    return _encode(max(0, moment_us // 1000) << 80, 26)


def _decode(ulid: str) -> int:
    number = 0
    for character in ulid:
        number = number << 5 | _ALPHABET.index(character)
    return number


def is_ulid(text: str) -> bool:
    """Whether ``text`` is spelled like a ULID of ours (upper case, first character at most 7)."""
    return len(text) == 26 and text[0] <= "7" and all(c in _ALPHABET for c in text)
