"""Placeholders: what stands for a value while a text is away, such as ``[PERSON_1]``.

The same value has the same placeholder, numbers are given in the order of first appearance. What a
caller writes that looks like one of ours gets a placeholder itself (often the very same): of what a
provider sees, whatever looks like a placeholder is one, and belongs to this request alone.
"""

import re
from collections.abc import Mapping

_MAX_LABEL_CHARS = 40
_MAX_DIGITS = 6
_NOT_LABEL = re.compile(r"[^A-Z0-9]+")

ENTITY_TYPES = frozenset((
    "PERSON", "LOCATION", "ORGANIZATION", "NRP", "DATE_TIME", "AGE", "PHONE_NUMBER", "FAX_NUMBER",
    "EMAIL_ADDRESS", "US_SSN", "US_ITIN", "MRN", "HEALTH_PLAN_ID", "US_MBI", "ACCOUNT_NUMBER",
    "US_BANK_NUMBER", "IBAN_CODE", "CREDIT_CARD", "MEDICAL_LICENSE", "NPI", "DEA_NUMBER",
    "US_DRIVER_LICENSE", "US_PASSPORT", "US_ZIP", "VEHICLE_ID", "DEVICE_ID", "URL", "IP_ADDRESS",
    "MAC_ADDRESS", "BIOMETRIC_ID", "PHOTO", "UNIQUE_ID", "USERNAME", "CRYPTO", "UK_NHS", "CREDENTIAL",
    "API_KEY", "PASSWORD", "ACCESS_TOKEN", "JWT", "PRIVATE_KEY", "CONNECTION_STRING", "CUSTOM", "FACILITY",
    "NATIONAL_ID", "US_EIN", "BIOMETRIC",
))  # fmt: skip
"""Labels that a caller's own text is searched for; further ones are learned from what is found."""

LOOKALIKE = re.compile(rf"\[([A-Za-z][A-Za-z0-9_]{{0,{_MAX_LABEL_CHARS - 1}}})_([0-9]{{1,{_MAX_DIGITS}}})\]")
"""What could be taken for a placeholder, in any case of letters."""


def label(entity_type: str) -> str:
    """The type as a placeholder spells it."""
    return _NOT_LABEL.sub("_", entity_type.upper()).strip("_")[:_MAX_LABEL_CHARS].rstrip("_") or "REDACTED"


class Placeholders:
    """Values and what stands for them, of one request or of a conversation so far."""

    __slots__ = ("_by_value", "_last", "labels", "values")

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        """``known``: values by placeholder, of earlier turns."""
        self.values: dict[str, str] = {}
        """By placeholder, in the order in which they were given."""
        self._by_value: dict[str, str] = {}
        self._last: dict[str, int] = {}
        self.labels = set(ENTITY_TYPES)
        for placeholder, value in (known or {}).items():
            match = LOOKALIKE.fullmatch(placeholder)
            if match is not None and value not in self._by_value:
                self._add(match[1], int(match[2]), value)

    def of(self, value: str, entity_type: str) -> str:
        """What stands for the value: given anew when it has none yet."""
        placeholder = self._by_value.get(value)
        if placeholder is None:
            named = label(entity_type)
            placeholder = self._add(named, self._last.get(named, 0) + 1, value)
        return placeholder

    def _add(self, named: str, number: int, value: str) -> str:
        placeholder = f"[{named}_{number}]"
        self.labels.add(named)
        self._last[named] = max(number, self._last.get(named, 0))
        self.values[placeholder] = value
        self._by_value[value] = placeholder
        return placeholder
