"""A provider of kind ``azure-openai``: the v1 API of Azure OpenAI
(https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle), over our transport.

The v1 API has the paths and bodies of OpenAI; ``model`` in the body is the name of a deployment, and
no ``api-version`` is needed. The older API with the deployment in its path is not spoken.
"""

from triptych.core.call import UpstreamAnswer, UpstreamCall
from triptych.upstreams.decoding import decoded
from triptych.upstreams.http1_head import split_base_url
from triptych.upstreams.openai import OPENAI_WIRES
from triptych.upstreams.provider_head import ProviderHead, check_api_key
from triptych.upstreams.request_id import with_request_id
from triptych.upstreams.transport import HttpTransport


class AzureOpenAIUpstream:
    """Implements ``Upstream``. The key is in the prepared head only: never in a repr or an error.

    ``base_url`` is the resource's endpoint, ``https://NAME.openai.azure.com``; with ``/openai`` or
    ``/openai/v1`` at its end it means the same. Any other path, such as one of an API Management
    in front, is taken as it is: a call's path is added without its ``/v1``.

    Answers have the provider's ``x-request-id``, or ``apim-request-id``, as ``request-id`` too.

    Raises ValueError for a base URL that is none, or a key that cannot stand in a header.
    """

    def __init__(
        self,
        transport: HttpTransport,
        *,
        base_url: str,
        api_key: str,
        wires: frozenset[str] = OPENAI_WIRES,
    ) -> None:
        self.wires = wires
        origin, path = split_base_url(base_url)
        check_api_key(api_key)
        self._base_url = base_url
        self._pool = transport.pool(origin)
        self._base_path = "/openai/v1" if path in {"", "/openai"} else path
        self._head = ProviderHead(origin, ((b"api-key", api_key),))

    def __repr__(self) -> str:
        return f"AzureOpenAIUpstream(base_url={self._base_url!r})"

    async def call(self, call: UpstreamCall) -> UpstreamAnswer:
        """See ``Upstream.call``. Raises ValueError when a forwarded header could not stand in a
        head; nothing has been sent then."""
        head = self._head.of(call, self._base_path + call.path.removeprefix("/v1"))
        answer = await self._pool.exchange(head, call.body, call.deadline_s, call.may_resend, call.confirm)
        return decoded(with_request_id(answer, b"x-request-id", b"apim-request-id"))
