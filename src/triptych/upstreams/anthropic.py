"""A provider of kind ``anthropic``: the Messages API (https://docs.anthropic.com/en/api/messages)
over our transport."""

from triptych import __version__
from triptych.core.call import UpstreamAnswer, UpstreamCall
from triptych.upstreams.decoding import decoded
from triptych.upstreams.http1_head import header_line, request_target, split_base_url
from triptych.upstreams.transport import HttpTransport

DEFAULT_VERSION = b"2023-06-01"

# Ours to say, or framing, or a credential: what a client sent under these names goes nowhere.
_NEVER_FORWARDED = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"user-agent",
        b"x-api-key",
    )
)


class AnthropicUpstream:
    """Implements ``Upstream``. The key is in the prepared head only: never in a repr or an error.

    ``base_url`` may end in ``/v1`` or not. Raises ValueError for a base URL that is none, or a
    key that cannot stand in a header (empty, control characters, not ASCII).
    """

    def __init__(self, transport: HttpTransport, *, base_url: str, api_key: str) -> None:
        origin, path = split_base_url(base_url)
        if not api_key or not api_key.isascii():
            raise ValueError("api_key must be ASCII text and not empty")
        self._base_url = base_url
        self._pool = transport.pool(origin)
        # Every path of the API begins with /v1, and so may not be asked for twice.
        self._base_path = path.removesuffix("/v1")
        shared = b" HTTP/1.1\r\n" + b"".join(
            (
                header_line(b"host", origin.authority),
                header_line(b"content-type", b"application/json"),
                header_line(b"accept-encoding", b"identity"),
                header_line(b"x-api-key", api_key.encode("ascii")),
                header_line(b"user-agent", f"triptych/{__version__}".encode("ascii")),
            )
        )
        self._plain_head = shared + header_line(b"accept", b"application/json")
        self._stream_head = shared + header_line(b"accept", b"text/event-stream")

    def __repr__(self) -> str:
        return f"AnthropicUpstream(base_url={self._base_url!r})"

    async def call(self, call: UpstreamCall) -> UpstreamAnswer:
        """See ``Upstream.call``. Raises ValueError when a forwarded header could not stand in a
        head; nothing has been sent then."""
        head = self._head(call)
        return decoded(await self._pool.exchange(head, call.body, call.deadline_s))

    def _head(self, call: UpstreamCall) -> bytes:
        lines = [
            b"POST ",
            request_target(self._base_path + call.path, call.query),
            self._stream_head if call.stream else self._plain_head,
        ]
        version_given = False
        for name, value in call.headers:
            if name not in _NEVER_FORWARDED:
                lines.append(header_line(name, value))
                version_given = version_given or name == b"anthropic-version"
        if not version_given:
            lines.append(b"anthropic-version: %b\r\n" % DEFAULT_VERSION)
        return b"".join(lines)
