"""Points in time as a configuration spells them."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
# RFC 3339, section 5.6, with the space that its note allows.
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})\Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment_us(value: object) -> int | None:
    """Microseconds since the epoch of a date (midnight UTC) or a time with its offset, given as a
    TOML date or a string; None when it is neither, or in UTC outside of the years 1 to 9999."""
    if isinstance(value, str):
        try:
            if _DATE.match(value):
                value = date.fromisoformat(value)
            elif _TIME.match(value):
                value = datetime.fromisoformat(value.upper())
        except ValueError:
            return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return None
        try:
            return (value.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
        except OverflowError:
            return None
    if isinstance(value, date):
        return moment_us(datetime(value.year, value.month, value.day, tzinfo=UTC))
    return None


def spelled(moment: int) -> str:
    """The RFC 3339 spelling of microseconds since the epoch."""
    return (_EPOCH + timedelta(microseconds=moment)).isoformat().replace("+00:00", "Z")
