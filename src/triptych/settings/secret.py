"""Text that must not be printed by accident."""

import hmac
from typing import Final, final
from urllib.parse import urlsplit

MASK: Final = "********"


class Secret:
    """A secret whose ``str`` and ``repr`` are masked; :meth:`reveal` gives the text.

    ``source`` says where it came from (``env:NAME``), or is empty for one that stood in the file.
    """

    __slots__ = ("_text", "source")

    def __init__(self, text: str, source: str = "") -> None:
        self._text = text
        self.source = source

    def reveal(self) -> str:
        return self._text

    def shown(self) -> str:
        """What may be printed: the name of the variable it came from, else a mask."""
        return self.source or MASK

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown()!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


@final
class SecretUrl(Secret):
    """A URL that may carry a password: shown whole but for the password."""

    __slots__ = ()

    def shown(self) -> str:
        return self.source or str(self)

    def __str__(self) -> str:
        return without_password(self.reveal())


def without_password(url: str) -> str:
    """The URL with its password, and the values of its query, masked."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    if "@" in url and "://" not in url:
        return MASK
    netloc = parts.netloc
    before, _, behind = url.rpartition("@")
    if ":" in netloc and any(mark in before.partition("://")[2] for mark in "/?#"):
        # A password with one of these marks unescaped: where it ends, only the last "@" can tell.
        name = netloc.partition(":")[0]
        return f"{parts.scheme}://{name}:{MASK}@{behind.partition('?')[0]}"
    if "@" in netloc:
        user, _, host = netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        netloc = f"{name}{':' + MASK if colon else ''}@{host}"
    if parts.query:
        names = (pair.partition("=")[0] for pair in parts.query.split("&"))
        query = "?" + "&".join(f"{name}={MASK}" for name in names)
    else:
        query = ""
    # An empty host is part of the spelling (sqlite:////var/file). What urlunsplit makes of one depends
    # on the scheme, and on Python's version.
    return f"{parts.scheme}://{netloc}{parts.path}{query}"
