"""What a request's head says of path, query and framing (RFC 9112): read in one way, or refused."""

import urllib.parse

import httptools

from triptych.core.failure import Failure, FailureKind
from triptych.edge.message import Request

_PERCENT = ord("%")
_READ = frozenset((b"host", b"content-length", b"transfer-encoding", b"content-encoding", b"expect"))


def read_head(request: Request, url: bytes) -> Failure | None:
    """Fill in path, query, framing and encoding; a head that could be read two ways is refused."""
    if not url.startswith(b"/"):
        try:
            parsed = httptools.parse_url(url)
            url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
        except httptools.HttpParserInvalidURLError:
            pass
    path, _, request.query = url.partition(b"?")
    if _PERCENT in path:
        request.path = urllib.parse.unquote_to_bytes(path)
        if b"%2F" in path or b"%2f" in path:
            request.raw_path = _told_apart(path)
    else:
        request.path = path
    hosts = 0
    chunked = False
    for name, value in request.headers:
        if name not in _READ:
            continue
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            if request.content_length is not None:
                return Failure(FailureKind.INVALID_BODY, "Content-Length was sent more than once.")
            if not value.isdigit():
                return Failure(FailureKind.INVALID_BODY, "Content-Length is not a number.")
            request.content_length = int(value)
        elif name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                return Failure(FailureKind.INVALID_BODY, "Transfer-Encoding must be exactly 'chunked'.")
            chunked = True
        elif name == b"content-encoding":
            seen = request.content_encoding
            request.content_encoding = seen + b"," + value if seen else value
        elif name == b"expect":
            request.expects_continue = value.lower() == b"100-continue"
    if hosts != 1 and not (request.version_10 and hosts == 0):
        return Failure(FailureKind.INVALID_BODY, "Exactly one Host header is required.")
    if chunked and request.version_10:
        return Failure(FailureKind.INVALID_BODY, "HTTP/1.0 knows no Transfer-Encoding (RFC 9112, 6.1).")
    if chunked and request.content_length is not None:
        return Failure(FailureKind.INVALID_BODY, "Content-Length and Transfer-Encoding exclude each other.")
    if not chunked and request.content_length is None:
        request.content_length = 0
    return None


def _told_apart(path: bytes) -> bytes:
    """A path decoded segment by segment (RFC 3986, 2.4): what is a slash, or a percent sign, inside of
    one stays encoded."""
    segments = (urllib.parse.unquote_to_bytes(segment) for segment in path.split(b"/"))
    return b"/".join(segment.replace(b"%", b"%25").replace(b"/", b"%2F") for segment in segments)
