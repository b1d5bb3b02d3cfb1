"""A provider of kind ``openai``, or a server that imitates one
(https://platform.openai.com/docs/api-reference), over our transport."""

from triptych.core.call import UpstreamAnswer, UpstreamCall
from triptych.upstreams.decoding import decoded
from triptych.upstreams.http1_head import split_base_url
from triptych.upstreams.provider_head import ProviderHead, check_api_key
from triptych.upstreams.request_id import with_request_id
from triptych.upstreams.transport import HttpTransport

OPENAI_WIRES = frozenset({"openai-chat", "openai-responses"})


class OpenAIUpstream:
    """Implements ``Upstream``. The key is in the prepared head only: never in a repr or an error.

    ``base_url`` is what the stock SDKs take, ``/v1`` included: to ``https://api.openai.com/v1``,
    or ``https://host/v1beta/openai``, a call's path is added without its ``/v1``. A URL without
    any path, such as ``http://127.0.0.1:9000``, stands for the one with ``/v1``. An
    ``organization`` goes with every call as ``openai-organization``. ``wires`` is less than
    OPENAI_WIRES for a server that imitates only one of them.

    Answers have the provider's ``x-request-id`` as ``request-id`` too, where every other kind of
    provider puts it.

    Raises ValueError for a base URL that is none, or a key or organization that cannot stand in a
    header (empty, control characters, not ASCII).
    """

    def __init__(
        self,
        transport: HttpTransport,
        *,
        base_url: str,
        api_key: str,
        organization: str | None = None,
        wires: frozenset[str] = OPENAI_WIRES,
    ) -> None:
        self.wires = wires
        origin, path = split_base_url(base_url)
        check_api_key(api_key)
        self._base_url = base_url
        self._pool = transport.pool(origin)
        self._base_path = path or "/v1"
        identity = [(b"authorization", f"Bearer {api_key}")]
        if organization is not None:
            identity.append((b"openai-organization", organization))
        self._head = ProviderHead(origin, identity)

    def __repr__(self) -> str:
        return f"OpenAIUpstream(base_url={self._base_url!r})"

    async def call(self, call: UpstreamCall) -> UpstreamAnswer:
        """See ``Upstream.call``. Raises ValueError when a forwarded header could not stand in a
        head; nothing has been sent then."""
        head = self._head.of(call, self._base_path + call.path.removeprefix("/v1"))
        answer = await self._pool.exchange(head, call.body, call.deadline_s, call.may_resend, call.confirm)
        return decoded(with_request_id(answer, b"x-request-id"))
