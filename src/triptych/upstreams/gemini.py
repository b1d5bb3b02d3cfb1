"""A provider of kind ``gemini``: Google's endpoint for OpenAI clients
(https://ai.google.dev/gemini-api/docs/openai), over our transport."""

from triptych.upstreams.http1_head import split_base_url
from triptych.upstreams.openai import OpenAIUpstream
from triptych.upstreams.transport import HttpTransport

COMPATIBLE_PATH = "/v1beta/openai"


class GeminiUpstream(OpenAIUpstream):
    """Implements ``Upstream``: Chat Completions with the Gemini key as the bearer token; Google has
    no Responses API. A ``base_url`` without a path stands for the one with ``/v1beta/openai``.

    Raises ValueError as ``OpenAIUpstream`` does.
    """

    def __init__(self, transport: HttpTransport, *, base_url: str, api_key: str) -> None:
        _, path = split_base_url(base_url)
        super().__init__(
            transport,
            base_url=base_url if path else base_url.rstrip("/") + COMPATIBLE_PATH,
            api_key=api_key,
            wires=frozenset({"openai-chat"}),
        )

    def __repr__(self) -> str:
        return f"GeminiUpstream(base_url={self._base_url!r})"
