"""How a message shows what was found and what was expected."""

import json
from collections.abc import Iterable, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Final

_SHOWN_CHARACTERS: Final = 60


def found(value: object) -> str:
    """A short rendering of a TOML value. Not for secrets: see :func:`kind`."""
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
        return json.dumps(short, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | Decimal):
        return str(value)[:_SHOWN_CHARACTERS]
    if isinstance(value, date | time):
        return value.isoformat()
    return kind(value)


def kind(value: object) -> str:
    """What kind of TOML value it is, without the value."""
    if isinstance(value, bool):
        return "a boolean"
    names: tuple[tuple[type, str], ...] = (
        (str, "a string"),
        (int, "an integer"),
        (Decimal, "a number"),
        (dict, "a table"),
        (list, "an array"),
    )
    return next((name for type_, name in names if isinstance(value, type_)), "a date or time")


def listed(choices: Sequence[str]) -> str:
    """``one of "a", "b"``, or just ``"a"`` when there is but one."""
    quoted = ", ".join(f'"{choice}"' for choice in choices)
    return quoted if len(choices) == 1 else f"one of {quoted}"


def suggestion(word: object, known: Iterable[str]) -> str:
    """``; did you mean "..."?`` when a known word is close to ``word``, else nothing."""
    if not isinstance(word, str):
        return ""
    import difflib

    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion, else in brackets the names there are."""
    names = sorted(name for name in known if name)
    return suggestion(name, names) or (f" ({', '.join(names[:8])})" if names else " (there is none)")
