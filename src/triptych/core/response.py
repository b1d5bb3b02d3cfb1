"""A whole HTTP response as a value; the edge writes it."""

from typing import Final

from triptych.core.call import Headers

JSON_TYPE: Final = (b"content-type", b"application/json")


class Response:
    """Status, headers (names in lower case, no framing headers) and body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def json_response(status: int, body: bytes, headers: Headers = ()) -> Response:
    return Response(status, (JSON_TYPE, *headers), body)


def wait_headers(wait_s: int | None, status: int) -> Headers:
    """``retry-after`` of a refusal. A 402 has none: it asks for money, not for time."""
    return () if wait_s is None or status == 402 else ((b"retry-after", b"%d" % max(1, wait_s)),)
