"""The query string of this surface's reads: few fields, each validated, unknown ones ignored."""

from urllib.parse import parse_qsl

from triptych.core.failure import Failure, FailureKind

_SHOWN_CHOICES = ", "


class Query:
    """The fields of one query string. Every method raises Failure INVALID_BODY, naming the field."""

    def __init__(self, query: bytes) -> None:
        self._fields: dict[str, list[str]] = {}
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace"):
            self._fields.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """The value, or None when it is absent or empty."""
        values = self._fields.get(name, [])
        if len(values) > 1:
            raise _wrong(name, "was sent more than once")
        return values[0] or None if values else None

    def number(self, name: str, least: int, most: int) -> int | None:
        """A whole number between ``least`` and ``most``, or None when it is absent."""
        if name not in self._fields:
            return None
        text = self.text(name) or ""
        # isdecimal alone would take digits of other scripts; int alone would take "1_0" and " 1".
        if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most:
            return int(text)
        raise _wrong(name, f"must be a whole number between {least} and {most}")

    def word(self, name: str, words: tuple[str, ...], default: str) -> str:
        """One of ``words``."""
        text = self.text(name) or default
        if text not in words:
            raise _wrong(name, f"must be one of {_SHOWN_CHOICES.join(words)}")
        return text

    def truth(self, name: str) -> bool:
        """``true`` or ``false``; absent is false."""
        return self.word(name, ("true", "false"), "false") == "true"

    def words(self, name: str, words: tuple[str, ...]) -> frozenset[str]:
        """A list: repeated fields, ``name[]`` as the vendor's clients spell it, or commas."""
        sent = [*self._fields.get(name, []), *self._fields.get(name + "[]", [])]
        found = frozenset(word for value in sent for word in value.split(",") if word)
        if not found <= frozenset(words):
            raise _wrong(name, f"must be of {_SHOWN_CHOICES.join(words)}")
        return found


def _wrong(name: str, what: str) -> Failure:
    return Failure(FailureKind.INVALID_BODY, f"{name} {what}", param=name)
