"""A request as the edge hands it to an endpoint, and the reason phrases of answers."""

from typing import Final

from triptych.core.principal import Principal

REASONS: Final = {
    200: b"OK",
    201: b"Created",
    204: b"No Content",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    529: b"Overloaded",
}


class Request:
    """One request. The body is whole (and still encoded) when an endpoint sees it."""

    __slots__ = (
        "admitted_s",
        "body",
        "close",
        "content_encoding",
        "content_length",
        "expects_continue",
        "headers",
        "id",
        "keep_alive",
        "method",
        "parameters",
        "path",
        "peer",
        "principal",
        "query",
        "raw_path",
        "received_s",
        "version_10",
    )

    def __init__(self, peer: str) -> None:
        self.id = ""
        """ULID, given when the head is complete; shown as ``req_<ulid>``."""
        self.method = b""
        self.path = b""
        """Percent-decoded path."""
        self.raw_path = b""
        """Set where a slash is part of a segment: the path with those slashes, and percent signs, encoded."""
        self.parameters: tuple[bytes, ...] = ()
        """Values of the parameters in the route's path, percent-decoded, in its order."""
        self.query = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: bytes = b""
        self.content_encoding = b""
        """Of the body: several fields are one list (RFC 9110, 5.3). Empty: it came as it is meant."""
        self.content_length: int | None = None
        self.expects_continue = False
        self.keep_alive = True
        self.version_10 = False
        self.peer = peer
        self.admitted_s = 0.0
        """``time.monotonic()`` at which its head was decided on."""
        self.received_s = 0.0
        """``time.monotonic()`` at which the last byte arrived (uvloop's own clock has milliseconds)."""
        self.principal: Principal | None = None
        """Set by the surface's guard when the key is good."""


def identity_headers(request: Request) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """The two headers by which every answer says which request it belongs to."""
    request_id = b"req_" + request.id.encode()
    return (b"request-id", request_id), (b"x-request-id", request_id)
