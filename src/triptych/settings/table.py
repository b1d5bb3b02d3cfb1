"""One TOML table being read: typed access that collects problems instead of stopping at the first.

A value that is wrong is noted and replaced by its default, so that reading goes on; nothing read
is used while a problem is noted.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Final, TypeVar

from triptych.core.usage import nano_usd
from triptych.settings.moment import moment_us
from triptych.settings.problem import Problem
from triptych.settings.secret import Secret
from triptych.settings.shown import found, kind, listed, nearest, suggestion

D = TypeVar("D")
S = TypeVar("S", bound=str)

_ABSENT: Final = object()
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+\Z")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# What a header field can carry without quoting: all visible ASCII characters.
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+\Z")
ENV: Final = "env:"

LARGEST_INT: Final = 2**53
"""Counts up to here are exact in every JSON reader and fit every database's 64 bits."""
MOST_USD: Final = Decimal(1_000_000_000)
"""A billion dollars: in nano-USD it still fits 64 bits."""
LONGEST_S: Final = 366 * 86_400


class Reading:
    """What the tables of one file share: the problems found so far, and the environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[Problem] = []
        self._tables: list[Table] = []

    def open(self, content: Mapping[str, object], where: str) -> "Table":
        table = Table(self, content, where)
        self._tables.append(table)
        return table

    def note(self, where: str, text: str) -> None:
        self.problems.append(Problem(where, text))

    def note_unknown_keys(self) -> None:
        """Call once, when everything known has been asked for."""
        for table in self._tables:
            table.note_unknown_keys()


class Table:
    """Typed access to one table. A method takes the key and what holds when it is absent."""

    def __init__(self, reading: Reading, content: Mapping[str, object], where: str) -> None:
        self._reading = reading
        self._content = content
        self._asked: set[str] = set()
        self.where = where
        self.label = ""
        """What the person calls it, such as ``model "x"``: said beside the path."""

    def at(self, key: str) -> str:
        """The dotted path of a key (or ``key[index]``) of this table."""
        spelled = key if _BARE_KEY.match(key.partition("[")[0]) else json.dumps(key)
        return f"{self.where}.{spelled}" if self.where else spelled

    def note(self, key: str, text: str) -> None:
        self._reading.note(self.at(key), f"{text} (in {self.label})" if self.label else text)

    def note_found(self, key: str, value: object, expected: str) -> None:
        self.note(key, f"found {found(value)}, expected {expected}")

    def note_unknown_name(self, key: str, name: str, expected: str, known: Collection[str]) -> None:
        self.note_found(key, name, expected + nearest(name, known))

    def note_unknown_keys(self) -> None:
        for key in self._content:
            if key not in self._asked:
                hint = suggestion(key, self._asked) or f"; known here: {', '.join(sorted(self._asked))}"
                self.note(key, f"unknown key{hint}")

    def has(self, key: str) -> bool:
        return self.peek(key) is not None

    def peek(self, key: str) -> object | None:
        """The raw value, or None (TOML has no null)."""
        self._asked.add(key)
        return self._content.get(key)

    def required(self, key: str, expected: str) -> bool:
        """Whether the key is there; noted when it is not."""
        if not self.has(key):
            self.note(key, f"missing, expected {expected}")
            return False
        return True

    # Scalars

    def text(
        self, key: str, default: D, pattern: re.Pattern[str] | None = None, expected: str = "a string"
    ) -> str | D:
        """A string, not empty, without control characters, that matches ``pattern``."""
        value = self.peek(key)
        if value is None:
            return default
        if isinstance(value, str) and value and value.isprintable():
            if pattern is None or pattern.match(value):
                return value
        elif isinstance(value, str) and pattern is None:
            expected += " that is not empty and has no control characters"
        return self._wrong(key, value, expected, default)

    def required_text(
        self, key: str, pattern: re.Pattern[str] | None = None, expected: str = "a string"
    ) -> str:
        return self.text(key, "", pattern, expected) if self.required(key, expected) else ""

    def choice(self, key: str, default: S, choices: Sequence[S]) -> S:
        return self.optional_choice(key, choices) or default

    def optional_choice(self, key: str, choices: Sequence[S]) -> S | None:
        value = self.peek(key)
        if value is None:
            return None
        for choice in choices:
            if choice == value:
                return choice
        return self._wrong(key, value, listed(choices) + suggestion(value, choices), None)

    def boolean(self, key: str, default: bool) -> bool:
        value = self.peek(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        return self._wrong(key, value, "true or false", default)

    def integer(self, key: str, default: D, minimum: int, maximum: int = LARGEST_INT) -> int | D:
        value = self.peek(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
            return value
        bounds = f"of at least {minimum}" if maximum == LARGEST_INT else f"from {minimum} to {maximum}"
        return self._wrong(key, value, f"an integer {bounds}", default)

    def number(self, key: str, default: D, maximum: Decimal, expected: str, *, zero: bool) -> Decimal | D:
        """A number from 0 (itself only if ``zero``) to ``maximum``."""
        value = self.peek(key)
        if value is None:
            return default
        number = Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(number, Decimal) and number.is_finite() and 0 <= number <= maximum and (number or zero):
            return number
        return self._wrong(key, value, expected, default)

    def seconds(self, key: str, default: float, *, zero: bool = False) -> float:
        least = "0 or more" if zero else "more than 0"
        expected = f"a number of seconds, {least}, at most a year"
        number = self.number(key, default, Decimal(LONGEST_S), expected, zero=zero)
        # Smaller than any float is 0 as one.
        return float(number) if zero or float(number) else self._wrong(key, number, expected, default)

    def nano_usd(self, key: str, default: D) -> int | D:
        """A price or a cap in USD, as nano-USD."""
        usd = self.number(key, None, MOST_USD, f"an amount in USD from 0 to {MOST_USD}", zero=True)
        return default if usd is None else nano_usd(usd)

    def moment_us(self, key: str) -> int | None:
        """A date (midnight UTC) or an RFC 3339 time, in microseconds since the epoch."""
        value = self.peek(key)
        if value is None:
            return None
        moment = moment_us(value)
        expected = 'a date ("2027-06-01") or a time with its offset from UTC ("2027-06-01T12:00:00Z")'
        return self._wrong(key, value, expected, None) if moment is None else moment

    def secret(self, key: str) -> Secret | None:
        """Text, or ``env:NAME``. Messages never repeat the value."""
        value = self.peek(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.note(key, f"found {kind(value)}, expected a string: the secret, or env:NAME")
            return None
        text = self.resolved(key, value)
        if text is None:
            return None
        source = value if value.startswith(ENV) else ""
        if not _VISIBLE.match(text):
            holder = f"the variable {source.removeprefix(ENV)}" if source else "the value"
            self.note(key, f"{holder} is empty, or has spaces or characters that no header can carry")
            return None
        return Secret(text, source)

    def resolved(self, key: str, value: str) -> str | None:
        """``value``, or what the variable holds that it names as ``env:NAME``."""
        if not value.startswith(ENV):
            return value
        name = value.removeprefix(ENV)
        if not _VARIABLE.match(name):
            self.note(key, 'expected the name of an environment variable after "env:"')
            return None
        text = self._reading.environ.get(name)
        if text is None:
            self.note(key, f"the environment variable {name} is not set; set it, or change this key")
        return text

    # Collections

    def texts(self, key: str, default: D, choices: Sequence[str] | None = None) -> tuple[str, ...] | D:
        """An array of different strings, not empty, each one of ``choices`` if given."""
        value = self.peek(key)
        if value is None:
            return default
        if not isinstance(value, list):
            return self._wrong(key, value, "an array of strings", default)
        seen: list[str] = []
        for index, item in enumerate(value):
            place = f"{key}[{index}]"
            if not isinstance(item, str) or not item or not item.isprintable():
                self.note_found(place, item, "a string that is not empty")
            elif choices is not None and item not in choices:
                self.note_found(place, item, listed(choices) + suggestion(item, choices))
            elif item in seen:
                self.note_found(place, item, "each name once")
            else:
                seen.append(item)
        return tuple(seen)

    def table(self, key: str) -> "Table":
        """A sub-table; an empty one when it is absent, so that its defaults apply."""
        value = self.peek(key)
        if value is not None and not isinstance(value, dict):
            value = self._wrong(key, value, f"a table, [{self.at(key)}]", {})
        return self._reading.open(value or {}, self.at(key))

    def tables(self, key: str) -> list["Table"]:
        """An array of tables."""
        opened = []
        for place, item in self.array(key, f"an array of tables, [[{self.at(key)}]]"):
            if isinstance(item, dict):
                opened.append(self.open(place, item))
            else:
                self.note_found(place, item, "a table")
        return opened

    def array(self, key: str, expected: str) -> list[tuple[str, object]]:
        """An array of anything: each item with its place, ``key[index]``."""
        value = self.peek(key)
        if value is None:
            return []
        if not isinstance(value, list):
            return self._wrong(key, value, expected, [])
        return [(f"{key}[{index}]", item) for index, item in enumerate(value)]

    def open(self, place: str, content: Mapping[str, object]) -> "Table":
        """Read a table found inside this one."""
        return self._reading.open(content, self.at(place))

    def _wrong(self, key: str, value: object, expected: str, default: D) -> D:
        self.note_found(key, value, expected)
        return default
