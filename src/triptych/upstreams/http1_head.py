"""The head of an outgoing HTTP/1.1 request: where it goes and its lines, injection made impossible.

Grammar: RFC 9110 section 5 (fields) and RFC 9112 section 3 (request line).
"""

import re
from urllib.parse import quote_from_bytes, urlsplit

import msgspec

_DEFAULT_PORTS = {"http": 80, "https": 443}
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Everything a field value may not hold: controls except the tab (RFC 9110 section 5.5).
_FORBIDDEN_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Visible ASCII without "#", which begins a fragment, and in a path without "?".
_PATH = re.compile(rb"[!-\"$->@-~]+")
_QUERY = re.compile(rb"[!-\"$-~]+")
_VISIBLE_ASCII = bytes(range(0x21, 0x7F)).decode("ascii")


class Origin(msgspec.Struct, frozen=True):
    """What connections are shared by: same scheme, host and port."""

    scheme: str
    """``http`` | ``https``."""
    host: str
    """Lower case, IDNA-encoded, an IPv6 address without brackets."""
    port: int

    @property
    def authority(self) -> bytes:
        """The value of the ``host`` header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = self.port == _DEFAULT_PORTS[self.scheme]
        return (host if default else f"{host}:{self.port}").encode("ascii")


def split_base_url(base_url: str) -> tuple[Origin, str]:
    """The origin of a base URL and its path, without a slash at the end.

    Raises ValueError for anything but ``http[s]://host[:port][/path]``; the text of the error
    never repeats user information, which could be a password.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("base_url must look like https://host[:port][/path]")
    if parts.username is not None or parts.password is not None:
        raise ValueError("base_url must not hold a user name or password; use api_key")
    if parts.query or parts.fragment:
        raise ValueError("base_url must not hold a query or a fragment")
    if parts.hostname.isascii():
        host = parts.hostname
    else:
        host = parts.hostname.encode("idna").decode("ascii")
    path = parts.path.rstrip("/")
    if not set(path) <= set(_VISIBLE_ASCII) or not set(host) <= set(_VISIBLE_ASCII):
        raise ValueError("base_url must be visible ASCII: percent-encode everything else")
    return Origin(parts.scheme, host, parts.port or _DEFAULT_PORTS[parts.scheme]), path


def request_target(path: str, query: bytes) -> bytes:
    """``path?query`` for the request line; a byte that may not stand there is percent-encoded, so
    that neither can end the line."""
    target = path.encode()
    if _PATH.fullmatch(target) is None:
        target = quote_from_bytes(target, safe=_VISIBLE_ASCII.translate({0x23: None, 0x3F: None})).encode()
    if not query:
        return target
    if _QUERY.fullmatch(query) is None:
        query = quote_from_bytes(query, safe=_VISIBLE_ASCII.translate({0x23: None})).encode()
    return b"%b?%b" % (target, query)


def header_line(name: bytes, value: bytes) -> bytes:
    """One field line with its CRLF.

    Raises ValueError when the name is no token or the value holds CR, LF, NUL or another
    control character. The error names the field, never its value.
    """
    if _TOKEN.fullmatch(name) is None:
        raise ValueError("a header name is not an HTTP token")
    if _FORBIDDEN_IN_VALUE.search(value) is not None:
        raise ValueError(f"the value of header {name.decode('ascii')} holds a control character")
    return b"%b: %b\r\n" % (name, value)
