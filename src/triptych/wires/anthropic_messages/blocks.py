"""A request of this wire as it is taken for translation: every field that may be there, and no other.

Strict on purpose: a field that is not here is refused by its name, never dropped in silence. What is
said of each stands in ``fields.py``; a test holds the two, and the vendor's types, against each
other. Fields of type ``object`` are those of which only neutral values are accepted.
"""

import msgspec
from msgspec import UNSET, Raw, UnsetType


class _Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    pass


class CacheControl(_Strict, tag_field="type", tag="ephemeral"):
    ttl: str | None = None
    scope: object = None


class Base64Source(_Strict, tag_field="type", tag="base64"):
    media_type: str
    data: str


class UrlSource(_Strict, tag_field="type", tag="url"):
    url: str


class FileSource(_Strict, tag_field="type", tag="file"):
    file_id: str


class TextSource(_Strict, tag_field="type", tag="text"):
    data: str
    media_type: str = "text/plain"


class WebSearchCitation(_Strict, tag_field="type", tag="web_search_result_location"):
    url: str
    title: str | None = None
    cited_text: str = ""
    encrypted_index: str = ""


class TextBlock(_Strict, tag_field="type", tag="text"):
    text: str
    cache_control: CacheControl | None = None
    citations: list[WebSearchCitation] | None = None
    parsed_output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """What the vendor's SDK made of ``text``; whoever sends back what it dumps sends it along."""


class ImageBlock(_Strict, tag_field="type", tag="image"):
    source: Base64Source | UrlSource | FileSource
    cache_control: CacheControl | None = None
    transformations: object = None


class DocumentBlock(_Strict, tag_field="type", tag="document"):
    source: Base64Source | UrlSource | FileSource | TextSource
    title: str | None = None
    cache_control: CacheControl | None = None
    citations: object = None
    context: object = None


class ThinkingBlock(_Strict, tag_field="type", tag="thinking"):
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(_Strict, tag_field="type", tag="redacted_thinking"):
    data: str


class ToolUseBlock(_Strict, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: Raw
    cache_control: CacheControl | None = None
    caller: object = None
    toolset_name: object = None


class ToolResultBlock(_Strict, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock | ImageBlock | DocumentBlock] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None
    toolset_name: object = None


Block = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
)


class MessageParam(_Strict):
    role: str
    content: str | list[Block]


class ToolParam(_Strict):
    name: str
    input_schema: Raw | UnsetType = UNSET
    type: str | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    allowed_callers: object = None
    defer_loading: object = None
    eager_input_streaming: object = None
    input_examples: object = None


class AutoChoice(_Strict, tag_field="type", tag="auto"):
    disable_parallel_tool_use: bool | None = None


class AnyChoice(_Strict, tag_field="type", tag="any"):
    disable_parallel_tool_use: bool | None = None


class NamedChoice(_Strict, tag_field="type", tag="tool"):
    name: str
    disable_parallel_tool_use: bool | None = None


class NoChoice(_Strict, tag_field="type", tag="none"):
    pass


class AdaptiveThinking(_Strict, tag_field="type", tag="adaptive"):
    display: str | None = None


class EnabledThinking(_Strict, tag_field="type", tag="enabled"):
    budget_tokens: int
    display: str | None = None


class DisabledThinking(_Strict, tag_field="type", tag="disabled"):
    pass


class JsonSchemaFormat(_Strict, tag_field="type", tag="json_schema"):
    schema: Raw


class OutputConfig(_Strict):
    effort: str | None = None
    format: JsonSchemaFormat | None = None
    task_budget: object = None


class RequestParam(_Strict):
    """One request; ``parse_request`` has validated ``model``, ``max_tokens``, ``stream`` and roles."""

    model: str
    messages: list[MessageParam]
    max_tokens: int | None = None
    stream: bool = False
    system: str | list[TextBlock] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[ToolParam] | None = None
    tool_choice: AutoChoice | AnyChoice | NamedChoice | NoChoice | None = None
    thinking: AdaptiveThinking | EnabledThinking | DisabledThinking | None = None
    output_config: OutputConfig | None = None
    output_format: JsonSchemaFormat | None = None
    service_tier: str | None = None
    cache_control: CacheControl | None = None
    speed: object = None
    container: object = None
    inference_geo: object = None
    workspace_id: object = None
    mcp_servers: object = None
    thread: object = None
    context_management: Raw | UnsetType = UNSET
    diagnostics: Raw | UnsetType = UNSET
    user_profile_id: Raw | UnsetType = UNSET
    metadata: Raw | UnsetType = UNSET
    litellm_metadata: Raw | UnsetType = UNSET
    proxy_server_request: Raw | UnsetType = UNSET
