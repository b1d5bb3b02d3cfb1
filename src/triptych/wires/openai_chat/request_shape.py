"""The parts of a request that can be translated, as the vendor writes them.

Source: ``openai.types.chat.completion_create_params``. A field that is not here is refused by its
name; a variant that is not here is refused by its tag. The fields of a type that mean nothing with
some values, and are refused with any other, are listed in ``fields.NEUTRAL``.
"""

from typing import Literal

import msgspec

from triptych.wires.openai_chat.thinking_blocks import Block
from triptych.wires.strict import Bound

Raw = msgspec.Raw | msgspec.UnsetType
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """A field that no class names is refused."""


class Breakpoint(Shape, tag_field="mode", tag="explicit"):
    """``prompt_cache_breakpoint``."""

    ttl: Literal["30m", "12h"] | None = None


class CacheControl(Shape, tag_field="type", tag="ephemeral"):
    """Extension, as LiteLLM and OpenRouter take it: Anthropic's own field on OpenAI's parts."""

    ttl: Literal["5m", "1h"] | None = None


class _Part(Shape, tag_field="type"):
    prompt_cache_breakpoint: Breakpoint | None = None
    cache_control: CacheControl | None = None


class TextPart(_Part, tag="text", kw_only=True):
    text: str


class ImageUrl(Shape):
    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(_Part, tag="image_url", kw_only=True):
    image_url: ImageUrl


class File(Shape):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(_Part, tag="file", kw_only=True):
    file: File


class RefusalPart(Shape, tag_field="type", tag="refusal"):
    refusal: str


class UrlCitation(Shape):
    url: str
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Annotation(Shape, tag_field="type", tag="url_citation"):
    url_citation: UrlCitation
    index: int | None = None
    """As that of a ``Call``."""


class CalledFunction(Shape):
    name: str
    arguments: str
    parsed_arguments: Raw = msgspec.UNSET
    """What the vendor's SDK made of ``arguments``; whoever appends its message sends it along."""


class Call(Shape, tag_field="type", tag="function"):
    id: str
    function: CalledFunction
    index: int | None = None
    """Of a streamed answer's fragment; clients that put those together send it back."""
    extra_content: Raw = msgspec.UNSET
    """What only its maker can read, such as Google's signature of a thought."""


class _Message(Shape, tag_field="role"):
    name: str | None = None


class SystemMessage(_Message, tag="system", kw_only=True):
    content: str | list[TextPart]


class DeveloperMessage(_Message, tag="developer", kw_only=True):
    content: str | list[TextPart]


class UserMessage(_Message, tag="user", kw_only=True):
    content: str | list[TextPart | ImagePart | FilePart]


class AssistantMessage(_Message, tag="assistant", kw_only=True):
    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking_blocks: list[Block] | None = None
    annotations: list[Annotation] | None = None
    audio: object = None
    function_call: object = None
    parsed: Raw = msgspec.UNSET
    """What the vendor's SDK made of ``content``."""
    extra_content: Raw = msgspec.UNSET
    """See ``Call.extra_content``."""


class ToolMessage(_Message, tag="tool", kw_only=True):
    content: str | list[TextPart] | None
    tool_call_id: str


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class FunctionDefinition(Shape):
    name: str
    description: str | None = None
    parameters: Raw = msgspec.UNSET
    strict: bool | None = None


class FunctionTool(Shape, tag_field="type", tag="function"):
    function: FunctionDefinition
    cache_control: CacheControl | None = None


class FunctionName(Shape):
    name: str


class NamedChoice(Shape, tag_field="type", tag="function"):
    function: FunctionName


class TextFormat(Shape, tag_field="type", tag="text"):
    pass


class JsonObjectFormat(Shape, tag_field="type", tag="json_object"):
    pass


class JsonSchema(Shape):
    name: str
    schema: Raw = msgspec.UNSET
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(Shape, tag_field="type", tag="json_schema"):
    json_schema: JsonSchema


class StreamOptions(Shape):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ReasoningOptions(Shape):
    """``reasoning``: extension, as OpenRouter takes it; ``summary`` is of the Responses wire."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    max_tokens: int | None = None
    enabled: bool | None = None
    exclude: bool | None = None


class Asked(Shape):
    model: str
    messages: list[Message]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Bound | None = None
    max_completion_tokens: Bound | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningOptions | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    prompt_cache_options: object = None
    # Taken out of every request, on its own wire too (governed_fields.STRIPPED_FIELDS).
    metadata: object = None
    litellm_metadata: object = None
    proxy_server_request: object = None
    # Refused with any value that is not neutral.
    audio: object = None
    frequency_penalty: float | None = None
    function_call: object = None
    functions: object = None
    logit_bias: object = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    moderation: object = None
    n: int | None = None
    prediction: object = None
    presence_penalty: float | None = None
    seed: int | None = None
    store: bool | None = None
    top_logprobs: int | None = None
    web_search_options: object = None
