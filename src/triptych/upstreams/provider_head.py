"""The head of a request to a provider, the same for every kind: what is ours to say, prepared once,
and what of the client's headers goes with it."""

from collections.abc import Sequence

from triptych import __version__
from triptych.core.call import UpstreamCall
from triptych.upstreams.http1_head import Origin, header_line, request_target

# Ours to say, or framing, or a credential: what a client sent under these names goes nowhere.
NEVER_FORWARDED = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"api-key",
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"openai-organization",
        b"openai-project",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"user-agent",
        b"x-api-key",
        b"x-goog-api-key",
    )
)


class ProviderHead:
    """``identity`` are the header fields that say who calls, the key among them: they are in the
    prepared bytes only, never in a repr or an error.

    Raises ValueError for a field that cannot stand in a head (control characters, not ASCII).
    """

    def __init__(self, origin: Origin, identity: Sequence[tuple[bytes, str]]) -> None:
        lines = [
            header_line(b"host", origin.authority),
            header_line(b"content-type", b"application/json"),
            header_line(b"accept-encoding", b"identity"),
        ]
        for name, value in identity:
            if not value.isascii():
                raise ValueError(f"the value of header {name.decode('ascii')} must be ASCII text")
            lines.append(header_line(name, value.encode("ascii")))
        lines.append(header_line(b"user-agent", f"triptych/{__version__}".encode("ascii")))
        shared = b" HTTP/1.1\r\n" + b"".join(lines)
        self._plain = shared + header_line(b"accept", b"application/json")
        self._stream = shared + header_line(b"accept", b"text/event-stream")

    def of(self, call: UpstreamCall, path: str, *, default: tuple[bytes, bytes] | None = None) -> bytes:
        """The head for a call, up to the framing the transport adds. ``default`` is a field added
        when the client's headers have none of that name.

        Raises ValueError when a forwarded header could not stand in a head.
        """
        lines = [b"POST ", request_target(path, call.query), self._stream if call.stream else self._plain]
        for name, value in call.headers:
            if name not in NEVER_FORWARDED:
                lines.append(header_line(name, value))
                if default is not None and name == default[0]:
                    default = None
        if default is not None:
            lines.append(b"%b: %b\r\n" % default)
        return b"".join(lines)


def check_api_key(api_key: str) -> None:
    """Raises ValueError, which does not repeat it, for a key that is none."""
    if not api_key or not api_key.isascii():
        raise ValueError("api_key must be ASCII text and not empty")
