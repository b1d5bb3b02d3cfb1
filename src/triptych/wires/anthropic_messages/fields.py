"""What translation does with every field of a request of this wire, and with every feature.

Paths name a variant of a union by its ``type`` (``messages[].content[].image.source.url``); the
``type`` itself is not listed. Source: ``MessageCreateParams`` of the vendor's SDK; what only beta
requests and real clients have is noted as an extension.
"""

from collections.abc import Iterable, Mapping

from triptych.wires.translation import Feature, Field

EXTENSION = "extension"
"""How the note begins of a field that the SDK's stable types do not have."""

_RESULT = "messages[].content[].tool_result"
_OWN = "the gateway's own"
_WRAPPED = "another vendor's, which the gateway wrapped in an earlier answer, is unwrapped"
_SERVER_TOOLS = (
    "bash_20250124",
    "code_execution_20250522",
    "code_execution_20250825",
    "code_execution_20260120",
    "code_execution_20260521",
    "browser_toolset_20260801",
    "memory_20250818",
    "computer_toolset_20260801",
    "text_editor_20250124",
    "text_editor_20250429",
    "text_editor_20250728",
    "web_search_20250305",
    "web_fetch_20250910",
    "web_search_20260209",
    "web_fetch_20260209",
    "web_fetch_20260309",
    "web_search_20260318",
    "web_fetch_20260318",
    "tool_search_tool_bm25_20251119",
    "tool_search_tool_regex_20251119",
)
_SERVER_BLOCKS = (
    "search_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "container_upload",
)
_OTHER_CITATIONS = (
    "char_location",
    "page_location",
    "content_block_location",
    "search_result_location",
)


def _cache(path: str) -> Iterable[Field]:
    yield Field(f"{path}.cache_control", Feature.CACHE_HINT)
    yield Field(f"{path}.cache_control.ttl", Feature.CACHE_HINT)
    yield Field(f"{path}.cache_control.scope", None, f"{EXTENSION}: sent by Claude Code", ignored=True)


def _text(path: str) -> Iterable[Field]:
    yield Field(f"{path}.text", Feature.TEXT, "an empty text is left out: it says nothing")
    yield Field(
        f"{path}.parsed_output", Feature.TEXT, f"{EXTENSION} of the vendor's SDK: the text says the same"
    )
    yield from _cache(path)
    yield Field(f"{path}.citations", Feature.CITATION)
    page = f"{path}.citations[].web_search_result_location"
    yield Field(page, Feature.CITATION)
    yield Field(f"{page}.url", Feature.CITATION)
    yield Field(f"{page}.title", Feature.CITATION)
    yield Field(f"{page}.cited_text", Feature.CITATION)
    yield Field(f"{page}.encrypted_index", Feature.CITATION, "not carried: only this vendor can read it")
    for type_ in _OTHER_CITATIONS:
        yield Field(f"{path}.citations[].{type_}", None, "points into a document by this vendor's numbers")


def _image(path: str, feature: Feature | None = None) -> Iterable[Field]:
    source = f"{path}.source"
    yield Field(source, feature or Feature.IMAGE_BASE64)
    yield Field(f"{source}.base64", Feature.IMAGE_BASE64)
    yield Field(f"{source}.base64.data", Feature.IMAGE_BASE64)
    yield Field(f"{source}.base64.media_type", Feature.IMAGE_BASE64)
    yield Field(f"{source}.url", Feature.IMAGE_URL)
    yield Field(f"{source}.url.url", Feature.IMAGE_URL)
    yield Field(f"{source}.file", Feature.IMAGE_FILE)
    yield Field(f"{source}.file.file_id", Feature.IMAGE_FILE)
    yield from _cache(path)
    yield Field(f"{path}.transformations", None, "neutral: null, {}")


def _document(path: str, feature: Feature | None = None) -> Iterable[Field]:
    source = f"{path}.source"
    yield Field(source, feature or Feature.DOCUMENT_BASE64)
    yield Field(f"{source}.base64", Feature.DOCUMENT_BASE64)
    yield Field(f"{source}.base64.data", Feature.DOCUMENT_BASE64)
    yield Field(f"{source}.base64.media_type", Feature.DOCUMENT_BASE64)
    yield Field(f"{source}.text", Feature.DOCUMENT_TEXT)
    yield Field(f"{source}.text.data", Feature.DOCUMENT_TEXT)
    yield Field(f"{source}.text.media_type", Feature.DOCUMENT_TEXT, "text/plain")
    yield Field(f"{source}.url", Feature.DOCUMENT_URL)
    yield Field(f"{source}.url.url", Feature.DOCUMENT_URL)
    yield Field(f"{source}.file", Feature.DOCUMENT_FILE)
    yield Field(f"{source}.file.file_id", Feature.DOCUMENT_FILE)
    yield Field(f"{source}.content", None, "only this wire has documents made of blocks")
    yield from _cache(path)
    yield Field(f"{path}.citations", None, 'neutral: null, {}, {"enabled": false}')
    yield Field(f"{path}.context", None, 'neutral: null, ""')
    yield Field(f"{path}.title", Feature.DOCUMENT_NAME)


def _blocks(path: str) -> Iterable[Field]:
    yield Field(f"{path}.text", Feature.TEXT)
    yield from _text(f"{path}.text")
    yield Field(f"{path}.image", Feature.IMAGE_BASE64)
    yield from _image(f"{path}.image")
    yield Field(f"{path}.document", Feature.DOCUMENT_BASE64)
    yield from _document(f"{path}.document")
    yield Field(f"{path}.thinking", Feature.REASONING)
    yield Field(f"{path}.thinking.thinking", Feature.REASONING)
    yield Field(f"{path}.thinking.signature", Feature.REASONING_OPAQUE, _WRAPPED)
    yield Field(f"{path}.redacted_thinking", Feature.REASONING_OPAQUE)
    yield Field(f"{path}.redacted_thinking.data", Feature.REASONING_OPAQUE, _WRAPPED)
    yield Field(f"{path}.tool_use", Feature.TOOL_CALL)
    yield Field(f"{path}.tool_use.id", Feature.TOOL_CALL)
    yield Field(f"{path}.tool_use.name", Feature.TOOL_CALL)
    yield Field(f"{path}.tool_use.input", Feature.TOOL_CALL, "byte for byte")
    yield from _cache(f"{path}.tool_use")
    yield Field(f"{path}.tool_use.caller", None, 'neutral: null, {"type": "direct"}')
    yield Field(f"{path}.tool_use.toolset_name", None, "neutral: null")
    yield Field(f"{path}.tool_result", Feature.TOOL_RESULT)
    for type_ in _SERVER_BLOCKS:
        yield Field(f"{path}.{type_}", None, "only this vendor's server has it")


def _results() -> Iterable[Field]:
    yield Field(f"{_RESULT}.tool_use_id", Feature.TOOL_RESULT)
    yield Field(f"{_RESULT}.content", Feature.TOOL_RESULT)
    content = f"{_RESULT}.content[]"
    yield Field(f"{content}.text", Feature.TOOL_RESULT)
    yield from _text(f"{content}.text")
    yield Field(f"{content}.image", Feature.TOOL_RESULT_IMAGE)
    yield from _image(f"{content}.image", Feature.TOOL_RESULT_IMAGE)
    yield Field(f"{content}.document", Feature.TOOL_RESULT_DOCUMENT)
    yield from _document(f"{content}.document", Feature.TOOL_RESULT_DOCUMENT)
    for type_ in ("search_result", "tool_reference", "browser_state"):
        yield Field(f"{content}.{type_}", None, "only this vendor's server understands it")
    yield Field(f"{_RESULT}.is_error", Feature.TOOL_RESULT_ERROR)
    yield from _cache(_RESULT)
    yield Field(f"{_RESULT}.toolset_name", None, "neutral: null")


def _tools() -> Iterable[Field]:
    tool = "tools[].custom"
    yield Field("tools", Feature.TOOL)
    yield Field(tool, Feature.TOOL)
    yield Field(f"{tool}.name", Feature.TOOL)
    yield Field(f"{tool}.description", Feature.TOOL)
    yield Field(f"{tool}.input_schema", Feature.TOOL, "byte for byte, except as the first table says")
    yield Field(f"{tool}.strict", Feature.TOOL_STRICT)
    yield from _cache(tool)
    yield Field(f"{tool}.allowed_callers", None, 'neutral: null, [], ["direct"]')
    yield Field(f"{tool}.defer_loading", None, "neutral: null, false")
    yield Field(f"{tool}.input_examples", None, "neutral: null, []")
    yield Field(f"{tool}.eager_input_streaming", None, "how arguments are cut into deltas", ignored=True)
    for type_ in _SERVER_TOOLS:
        yield Field(f"tools[].{type_}", None, "only this vendor's server has it")
    yield Field("tool_choice", Feature.TOOL_CHOICE)
    for mode in ("auto", "any", "tool"):
        yield Field(f"tool_choice.{mode}", Feature.TOOL_CHOICE)
        yield Field(f"tool_choice.{mode}.disable_parallel_tool_use", Feature.PARALLEL_TOOL_CALLS)
    yield Field("tool_choice.tool.name", Feature.TOOL_CHOICE)
    yield Field("tool_choice.none", Feature.TOOL_CHOICE)


def _thinking() -> Iterable[Field]:
    yield Field("thinking", Feature.THINKING_EFFORT)
    yield Field("thinking.adaptive", Feature.THINKING_EFFORT, "the effort is output_config.effort, if any")
    yield Field("thinking.adaptive.display", Feature.THINKING_SHOWN)
    yield Field("thinking.enabled", Feature.THINKING_BUDGET)
    yield Field("thinking.enabled.budget_tokens", Feature.THINKING_BUDGET)
    yield Field("thinking.enabled.display", Feature.THINKING_SHOWN)
    yield Field("thinking.disabled", Feature.THINKING_EFFORT, "effort none; output_config.effort is left out")
    yield Field("thinking.between_tools", None, "only this wire has it")


FIELDS: tuple[Field, ...] = (
    Field("model", None, f"{_OWN}: the provider gets its own id of the model", ignored=True),
    Field("max_tokens", Feature.MAX_OUTPUT_TOKENS),
    Field("messages", Feature.TEXT, "messages without content are left out; one at least must have some"),
    Field("messages[].role", Feature.TEXT, "user or assistant"),
    Field("messages[].content", Feature.TEXT, "a string, or blocks"),
    *_blocks("messages[].content[]"),
    *_results(),
    Field("system", Feature.SYSTEM_TEXT, "one leading message with one text per block"),
    *_text("system[]"),
    Field("stream", Feature.STREAM),
    Field("temperature", Feature.TEMPERATURE, f"{EXTENSION}: the SDK sends it only as an extra field"),
    Field("top_p", Feature.TOP_P, f"{EXTENSION}: the SDK sends it only as an extra field"),
    Field("top_k", Feature.TOP_K, f"{EXTENSION}: the SDK sends it only as an extra field"),
    Field("stop_sequences", Feature.STOP),
    *_tools(),
    *_thinking(),
    Field("output_config", Feature.THINKING_EFFORT),
    Field("output_config.effort", Feature.THINKING_EFFORT),
    Field("output_config.format", Feature.OUTPUT_SCHEMA),
    Field("output_config.format.schema", Feature.OUTPUT_SCHEMA, "byte for byte"),
    Field("output_config.task_budget", None, f"{EXTENSION}: beta; neutral: null"),
    Field("output_format", Feature.OUTPUT_SCHEMA, f"{EXTENSION}: beta, as output_config.format"),
    Field("output_format.schema", Feature.OUTPUT_SCHEMA, f"{EXTENSION}: beta"),
    Field("service_tier", Feature.SERVICE_TIER, "standard_only means default"),
    Field("cache_control", Feature.CACHE_HINT, "of the longest prefix that can be cached"),
    Field("cache_control.ttl", Feature.CACHE_HINT),
    Field("cache_control.scope", None, f"{EXTENSION}: sent by Claude Code", ignored=True),
    Field("speed", None, 'neutral: null, "standard"'),
    Field("container", None, "neutral: null"),
    Field("inference_geo", None, "neutral: null"),
    Field("workspace_id", None, "neutral: null"),
    Field("mcp_servers", None, f"{EXTENSION}: beta; neutral: null, []"),
    Field(
        "context_management",
        None,
        f"{EXTENSION}: sent by Claude Code; the vendor's server edits old turns to save tokens",
        ignored=True,
    ),
    Field("thread", None, f"{EXTENSION} of the beta: null is accepted; the vendor's SDK goes on without it"),
    Field("diagnostics", None, "asks for facts about the vendor's own cache", ignored=True),
    Field("user_profile_id", None, "attributes the request at the vendor", ignored=True),
    Field("metadata", None, _OWN, ignored=True),
    Field("litellm_metadata", None, f"{EXTENSION}: {_OWN}", ignored=True),
    Field("proxy_server_request", None, f"{EXTENSION}: {_OWN}", ignored=True),
)

_CARRIED = "carried"
_OWN_FILES = "a file kept by this vendor is carried, others are refused"

EXPRESSES: Mapping[Feature, str] = {
    Feature.TEXT: "carried; white space alone is left out, as the vendor refuses it; a text of the "
    "assistant at the end is continued, or refused by newer models",
    Feature.SYSTEM_TEXT: "as the top-level system",
    Feature.LATE_SYSTEM_TEXT: "moved up to the top-level system, in order: where it was said is lost",
    Feature.DEVELOPER_ROLE: "as system text",
    Feature.IMAGE_URL: _CARRIED,
    Feature.IMAGE_BASE64: "JPEG (also as image/jpg), PNG, GIF and WebP are carried, others are refused",
    Feature.IMAGE_FILE: _OWN_FILES,
    Feature.DOCUMENT_URL: "carried; the vendor reads PDF only",
    Feature.DOCUMENT_BASE64: "PDF is carried, text/plain becomes a document of text, others are refused",
    Feature.DOCUMENT_TEXT: _CARRIED,
    Feature.DOCUMENT_FILE: _OWN_FILES,
    Feature.DOCUMENT_NAME: "as title",
    Feature.TOOL_CALL: "carried; arguments that are no JSON object are wrapped as INVALID_JSON, and an id "
    "with characters that the vendor rejects is spelled anew",
    Feature.TOOL_RESULT: "carried; a message of the user that follows goes into the same one",
    Feature.TOOL_RESULT_IMAGE: _CARRIED,
    Feature.TOOL_RESULT_DOCUMENT: _CARRIED,
    Feature.TOOL_RESULT_ERROR: "as is_error",
    Feature.REASONING: "carried when it is this vendor's",
    Feature.REASONING_OPAQUE: "carried when it is this vendor's",
    Feature.REFUSAL: "as text",
    Feature.TOOL: "carried; a schema without a type gets the type object",
    Feature.TOOL_STRICT: "carried; its schema is written like that of an output",
    Feature.TOOL_CHOICE: "required becomes any, a named tool becomes tool",
    Feature.PARALLEL_TOOL_CALLS: "false becomes disable_parallel_tool_use in tool_choice; true is "
    "the default",
    Feature.MAX_OUTPUT_TOKENS: "as max_tokens; this wire demands it, so without one the "
    "model's own bound is sent",
    Feature.TEMPERATURE: "up to 1 carried, more is refused",
    Feature.TOP_P: "carried; 1 is what is done without it, and is not sent: newer models take no "
    "temperature beside it",
    Feature.TOP_K: _CARRIED,
    Feature.STOP: "as stop_sequences",
    Feature.OUTPUT_SCHEMA: "as output_config.format; objects are closed, and constraints that the vendor "
    "does not know (minimum, maxLength, pattern ...) are told in descriptions",
    Feature.THINKING_EFFORT: "adaptive thinking with output_config.effort (minimal becomes low); models "
    "before Claude 4.6 get a budget within max_tokens instead; none disables thinking",
    Feature.THINKING_BUDGET: "as enabled thinking",
    Feature.THINKING_SHOWN: "as thinking.display",
    Feature.VERBOSITY: "medium is what is done without it, others are refused",
    Feature.SERVICE_TIER: "auto is carried, default becomes standard_only, others are refused",
    Feature.PROMPT_CACHE_KEY: "as a top-level cache_control: the longest prefix is cached, whatever the key",
    Feature.CACHE_HINT: _CARRIED,
    Feature.STREAM: _CARRIED,
}

LEAVES_OUT: Mapping[Feature, str] = {
    Feature.REASONING: "another vendor's reasoning cannot be read, and would be rejected",
    Feature.CITATION: "the vendor takes back citations of its own search only; the text stays",
    Feature.THINKING_EFFORT: "where a tool is forced the vendor takes no thinking; the effort stays",
    Feature.THINKING_BUDGET: "where a tool is forced the vendor takes no thinking",
    Feature.THINKING_SHOWN: "where a tool is forced the vendor takes no thinking",
    Feature.IMAGE_DETAIL: "every image is seen in full detail, up to the vendor's bounds",
    Feature.OUTPUT_SCHEMA_NAME: "a schema has no name here, and is always kept to",
    Feature.USER: "it serves the provider's statistics only",
    Feature.SAFETY_IDENTIFIER: "it serves the provider's abuse detection only",
    Feature.PROMPT_CACHE_RETENTION: "the vendor's default is taken",
}
