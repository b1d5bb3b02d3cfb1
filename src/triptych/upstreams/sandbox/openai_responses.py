"""The sandbox on the OpenAI Responses wire, as https://platform.openai.com/docs/api-reference/responses
and https://platform.openai.com/docs/api-reference/responses-streaming describe it."""

from collections.abc import Mapping

import msgspec

from triptych.upstreams.sandbox.openai_responses_answer import ended
from triptych.upstreams.sandbox.openai_responses_request import read_prompt
from triptych.upstreams.sandbox.openai_responses_stream import event, stream_script
from triptych.upstreams.sandbox.replies import Prompt, Reply
from triptych.upstreams.sandbox.scenarios import Scenario
from triptych.upstreams.sandbox.wire import Exchange, ProviderError, Script

# created, in_progress, output_item.added, content_part.added, and the deltas after which a failure
# happens inside a stream.
_NUMBER_OF_ERROR = 4 + 4
# Status, error type, code, message: as the provider documents or sends them
# (https://platform.openai.com/docs/guides/error-codes).
_OVERLOADED = (
    503,
    "service_unavailable_error",
    "server_is_overloaded",
    "Our servers are currently overloaded. Please try again later.",
)
_ERRORS: Mapping[Scenario, tuple[int, str, str | None, str]] = {
    Scenario.UPSTREAM_OVERLOADED: _OVERLOADED,
    Scenario.MIDSTREAM_OVERLOADED: _OVERLOADED,
    Scenario.UPSTREAM_RATE_LIMITED: (
        429,
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for requests. Please try again in 1s.",
    ),
    Scenario.UPSTREAM_ERROR: (
        500,
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    Scenario.UPSTREAM_BAD_REQUEST: (
        400,
        "invalid_request_error",
        None,
        "The sandbox refuses every such request.",
    ),
}


class OpenAIResponses:
    """Implements :class:`triptych.upstreams.sandbox.wire.Wire`."""

    def counts(self, path: str) -> bool:
        return path.endswith("/input_tokens")

    def read(self, body: bytes) -> Prompt:
        return read_prompt(body)

    def count(self, prompt: Prompt) -> bytes:
        return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": prompt.input_tokens})

    def plain(self, exchange: Exchange, reply: Reply) -> bytes:
        return msgspec.json.encode(ended(exchange, reply))

    def script(self, exchange: Exchange, reply: Reply) -> Script:
        return stream_script(exchange, reply)

    def error(self, scenario: Scenario, digest: str) -> ProviderError:
        status, type_, code, message = _ERRORS[scenario]
        headers = [(b"retry-after", b"1")] if status == 429 else []
        return ProviderError(status, _error(type_, code, message), headers)

    def refused(self, sentence: str, digest: str) -> ProviderError:
        return ProviderError(400, _error("invalid_request_error", None, sentence))

    def error_event(self, scenario: Scenario) -> bytes:
        _, _, code, message = _ERRORS[scenario]
        return event(_NUMBER_OF_ERROR, "error", code=code, message=message, param=None)


def _error(type_: str, code: str | None, message: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": type_, "param": None, "code": code}})
