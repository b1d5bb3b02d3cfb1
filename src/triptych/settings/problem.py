"""What is wrong with a configuration: every problem at once, each with its place."""

from collections.abc import Iterable
from typing import Final

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One mistake. ``text`` names what was found and what was expected, and never a secret."""

    where: str
    """Dotted key path such as ``models[2].provider`` (indexes count from 0), or ``""``: the file."""
    text: str


class SettingsError(Exception):
    """A configuration that cannot be used.

    ``str()`` is one line per problem, ``file: key path: what is wrong``, made to be shown as it is.
    """

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source: Final = source
        self.problems: Final = tuple(problems)
        super().__init__("\n".join(_line(source, problem) for problem in self.problems))


def _line(source: str, problem: Problem) -> str:
    return ": ".join(part for part in (source, problem.where, problem.text) if part)
