"""A provider of kind ``bedrock``: Anthropic's models on Amazon Bedrock, over our transport.

InvokeModel, InvokeModelWithResponseStream and CountTokens of the Bedrock Runtime API
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html),
spoken so that the rest of the gateway sees the Messages API.
"""

import asyncio
import re
import time
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import quote

import msgspec

from triptych.core.call import UpstreamAnswer, UpstreamCall, header
from triptych.upstreams.bedrock_answer import EVENT_STREAM, CountAnswer, EventStreamAnswer
from triptych.upstreams.bedrock_body import count_body, invoke_body
from triptych.upstreams.bedrock_signature import Signer
from triptych.upstreams.decoding import decoded
from triptych.upstreams.http1_head import header_line, split_base_url
from triptych.upstreams.provider_head import ProviderHead, check_api_key
from triptych.upstreams.request_id import with_request_id
from triptych.upstreams.transport import HttpTransport

_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
# The body says both; Bedrock's own headers are the operator's business, not the client's.
_NOT_FORWARDED = (b"anthropic-version", b"anthropic-beta", b"x-amz")
# Cross-region inference profiles are named by a geography and the model: us.anthropic.claude-...
_PROFILE = re.compile(
    r"(?:arn:[^/]*:(?:inference-profile|foundation-model)/)?(?:[a-z-]+\.)?(anthropic\..+)\Z"
)
# A larger body is hashed in a thread: hashing lets the others run.
_LARGE_BYTES = 1024 * 1024


class BedrockUpstream:
    """Implements ``Upstream``. Keys are in no repr and in no error.

    ``base_url`` is ``https://bedrock-runtime.REGION.amazonaws.com``, or whatever stands for it.
    ``api_key`` is a Bedrock API key, sent as the bearer token, or
    ``ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]``, with which every call is signed for
    ``region`` at the time ``clock`` tells (Unix time, seconds).

    The client's query is not sent: none of the operations has one. Answers have
    ``x-amzn-requestid`` as ``request-id`` too.

    Raises ValueError for a base URL that is none, a key that is neither or cannot stand in a
    header, or keys to sign with and no region.
    """

    wires = frozenset({"anthropic-messages"})

    def __init__(
        self,
        transport: HttpTransport,
        *,
        base_url: str,
        api_key: str,
        region: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        origin, path = split_base_url(base_url)
        check_api_key(api_key)
        self._base_url = base_url
        self._base_path = path
        self._authority = origin.authority
        self._pool = transport.pool(origin)
        self._clock = clock
        self._signer: Signer | None = None
        if ":" not in api_key:
            self._head = ProviderHead(origin, ((b"authorization", f"Bearer {api_key}"),))
            return
        if not region:
            raise ValueError("a region is needed to sign with AWS access keys")
        self._signer = Signer(api_key, region=region)
        self._head = ProviderHead(origin, ())

    def __repr__(self) -> str:
        return f"BedrockUpstream(base_url={self._base_url!r})"

    async def call(self, call: UpstreamCall) -> UpstreamAnswer:
        """See ``Upstream.call``. Raises ValueError when a forwarded header could not stand in a head
        or the path is none of the Messages API; nothing has been sent then."""
        if call.path == _COUNT:
            operation, model, body = "count-tokens", foundation_model(call.model), count_body
        elif call.path == _MESSAGES:
            operation = "invoke-with-response-stream" if call.stream else "invoke"
            model, body = call.model, invoke_body
        else:
            raise ValueError(f"the path {call.path} has no operation on Bedrock")
        # Encoded whole, slashes too: a model may be named by an ARN.
        path = f"{self._base_path}/model/{quote(model, safe='')}/{operation}"
        sent = msgspec.structs.replace(
            call,
            query=b"",
            headers=[field for field in call.headers if not field[0].startswith(_NOT_FORWARDED)],
            body=body(call.body, call.headers),
            # What it says of the answer is what is inside the messages, streamed or not.
            stream=False,
        )
        head = self._head.of(sent, path)
        if self._signer is not None:
            head += await self._signature(self._signer, path, sent.body)
        answer = await self._pool.exchange(head, sent.body, call.deadline_s, call.may_resend, call.confirm)
        return _read_as_messages(decoded(with_request_id(answer, b"x-amzn-requestid")), operation)

    async def _signature(self, signer: Signer, path: str, body: bytes) -> bytes:
        """Field lines to append to the head."""
        digest = await asyncio.to_thread(_sha256, body) if len(body) > _LARGE_BYTES else _sha256(body)
        signed = ((b"content-type", b"application/json"), (b"host", self._authority))
        fields = signer.fields(path, signed, digest, self._clock())
        return b"".join(header_line(name, value) for name, value in fields)


def foundation_model(model: str) -> str:
    """The model behind an inference profile of AWS: CountTokens takes no profiles. A name that does
    not tell (a profile of one's own) stays; AWS answers what it is."""
    match = _PROFILE.match(model)
    return match[1] if match else model


def _sha256(body: bytes) -> str:
    return sha256(body).hexdigest()


def _read_as_messages(answer: UpstreamAnswer, operation: str) -> UpstreamAnswer:
    """Errors stay as they are, and so does what is no event stream: nobody takes it for one."""
    if answer.status != 200 or operation == "invoke":
        return answer
    if operation == "count-tokens":
        return CountAnswer(answer)
    content_type = (header(answer.headers, b"content-type") or b"").partition(b";")[0]
    return EventStreamAnswer(answer) if content_type.strip().lower() == EVENT_STREAM else answer
