"""ULIDs (https://github.com/ulid/spec): 48 bits of Unix milliseconds, 80 random bits, written as
26 upper-case Crockford base32 characters, so that ids sort by time of creation."""

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
# 32 divides 256: each character is as likely as any other.
_CHARACTER_OF_BYTE = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))

# One urandom call serves many ids: the system call costs more than the rest.
_POOL_IDS = 256
_RANDOM_CHARACTERS = 16


class UlidSource:
    """Makes ULIDs. Not thread-safe: each event loop or thread has its own."""

    def __init__(self) -> None:
        self._pool = ""
        self._offset = 0
        self._span = -1
        """1,024 milliseconds, whose ids share all but the last two characters of the time."""
        self._prefix = ""

    def new(self) -> str:
        """A fresh ULID of the current millisecond."""
        millisecond = time.time_ns() // 1_000_000
        span = millisecond >> 10
        if span != self._span:
            self._span = span
            self._prefix = _encode(span, 8)
        offset = self._offset
        if offset >= len(self._pool):
            random = os.urandom(_RANDOM_CHARACTERS * _POOL_IDS)
            self._pool = random.translate(_CHARACTER_OF_BYTE).decode()
            offset = 0
        self._offset = end = offset + _RANDOM_CHARACTERS
        return self._prefix + _PAIRS[millisecond & 1023] + self._pool[offset:end]


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
