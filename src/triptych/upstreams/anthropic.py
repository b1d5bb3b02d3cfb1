"""A provider of kind ``anthropic``: the Messages API (https://docs.anthropic.com/en/api/messages)
over our transport."""

from triptych.core.call import UpstreamAnswer, UpstreamCall
from triptych.upstreams.decoding import decoded
from triptych.upstreams.http1_head import split_base_url
from triptych.upstreams.provider_head import ProviderHead, check_api_key
from triptych.upstreams.transport import HttpTransport

DEFAULT_VERSION = (b"anthropic-version", b"2023-06-01")


class AnthropicUpstream:
    """Implements ``Upstream``. The key is in the prepared head only: never in a repr or an error.

    ``base_url`` may end in ``/v1`` or not. Raises ValueError for a base URL that is none, or a
    key that cannot stand in a header (empty, control characters, not ASCII).
    """

    def __init__(self, transport: HttpTransport, *, base_url: str, api_key: str) -> None:
        origin, path = split_base_url(base_url)
        check_api_key(api_key)
        self._base_url = base_url
        self._pool = transport.pool(origin)
        # Every path of the API begins with /v1, and so may not be asked for twice.
        self._base_path = path.removesuffix("/v1")
        self._head = ProviderHead(origin, ((b"x-api-key", api_key),))

    wires = frozenset({"anthropic-messages"})

    def __repr__(self) -> str:
        return f"AnthropicUpstream(base_url={self._base_url!r})"

    async def call(self, call: UpstreamCall) -> UpstreamAnswer:
        """See ``Upstream.call``. Raises ValueError when a forwarded header could not stand in a
        head; nothing has been sent then."""
        head = self._head.of(call, self._base_path + call.path, default=DEFAULT_VERSION)
        return decoded(
            await self._pool.exchange(head, call.body, call.deadline_s, call.may_resend, call.confirm)
        )
