"""What a stored conversation knows of the guard's placeholders."""

from collections.abc import Iterable, Mapping


def newest_first(turns: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """What the newest turn knows, and of those before it what it does not contradict: two answers to one
    conversation may have given a number twice. ``turns``: placeholder to value, the newest turn first."""
    known: dict[str, str] = {}
    values: set[str] = set()
    for turn in turns:
        for placeholder, value in turn.items():
            if placeholder not in known and value not in values:
                known[placeholder] = value
                values.add(value)
    return known
