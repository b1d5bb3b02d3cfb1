"""What of this wire can be translated: each field of a request, and each feature it can say.

Paths are those of ``openai.types.responses.response_create_params``; ``path=value`` names a variant
by its tag. A note that begins with ``extension`` marks a field the vendor's schema does not have.
"""

from collections.abc import Mapping

from triptych.wires.translation import Feature, Field

_NULL_ONLY = "null is accepted"
_BY_TYPE = "the refusal names its type"
_GATEWAY = "the gateway's own"
_NAMES_ITEM = "names or describes the item: no other wire needs it"
_BREAKPOINT = "any ttl becomes 1h, the longest there is"
_OF_FILES = "an answer that cites files is sent back without them"


def _refused(path: str, note: str = _NULL_ONLY) -> Field:
    return Field(path, None, note)


def _ignored(path: str, note: str) -> Field:
    return Field(path, None, note, ignored=True)


def _variants(path: str, *tags: str) -> tuple[Field, ...]:
    return tuple(Field(f"{path}.type={tag}", None, _BY_TYPE) for tag in tags)


_REQUEST = (
    Field("input", Feature.TEXT, "empty texts are left out"),
    Field("instructions", Feature.SYSTEM_TEXT, "the first system text"),
    Field("model", Feature.TEXT, "the gateway's own: the provider gets its own id of the model"),
    Field("stream", Feature.STREAM),
    Field("max_output_tokens", Feature.MAX_OUTPUT_TOKENS),
    Field("temperature", Feature.TEMPERATURE),
    Field("top_p", Feature.TOP_P),
    Field("parallel_tool_calls", Feature.PARALLEL_TOOL_CALLS),
    Field("service_tier", Feature.SERVICE_TIER, "fast is priority; ultrafast is refused"),
    Field("user", Feature.USER),
    Field("safety_identifier", Feature.SAFETY_IDENTIFIER),
    Field("prompt_cache_key", Feature.PROMPT_CACHE_KEY),
    Field("prompt_cache_retention", Feature.PROMPT_CACHE_RETENTION),
    Field("reasoning", Feature.THINKING_EFFORT),
    Field("reasoning.effort", Feature.THINKING_EFFORT),
    Field("reasoning.summary", Feature.THINKING_SHOWN, "a summary of any length is one that is shown"),
    Field("reasoning.generate_summary", Feature.THINKING_SHOWN, "the same as summary"),
    _refused("reasoning.context", 'null and "auto" are accepted'),
    _refused("reasoning.mode", 'null and "standard" are accepted'),
    Field("text", Feature.OUTPUT_SCHEMA),
    Field("text.format", Feature.OUTPUT_SCHEMA),
    Field(
        "text.format.type",
        Feature.OUTPUT_JSON,
        "the verdict on json_object; text and json_schema are not affected",
    ),
    Field("text.format.schema", Feature.OUTPUT_SCHEMA),
    Field("text.format.name", Feature.OUTPUT_SCHEMA_NAME),
    Field("text.format.description", Feature.OUTPUT_SCHEMA_NAME),
    Field("text.format.strict", Feature.OUTPUT_SCHEMA_NAME),
    Field("text.verbosity", Feature.VERBOSITY),
    Field(
        "include",
        Feature.REASONING_OPAQUE,
        "values about server tools are accepted: there are none to include",
    ),
    _refused("include[]=message.output_text.logprobs", "no other value is refused"),
    Field("tool_choice", Feature.TOOL_CHOICE),
    Field("tool_choice.type", Feature.TOOL_CHOICE),
    Field("tool_choice.name", Feature.TOOL_CHOICE),
    *_variants(
        "tool_choice",
        "allowed_tools",
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use",
        "computer_use_preview",
        "custom",
        "file_search",
        "image_generation",
        "mcp",
        "programmatic_tool_calling",
        "shell",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    ),
    Field("stream_options", Feature.STREAM),
    _ignored("stream_options.include_obfuscation", "answers are not padded"),
    _ignored("max_tool_calls", "bounds server tools only, and there are none"),
    _ignored("prompt_cache_options", "how a cache is kept"),
    _ignored("client_metadata", "extension of Codex"),
    _ignored("metadata", _GATEWAY),
    _ignored("litellm_metadata", "extension: " + _GATEWAY),
    _ignored("proxy_server_request", "extension: " + _GATEWAY),
    _ignored("store", _GATEWAY),
    _refused("access_programs"),
    _refused("background", "null and false are accepted"),
    _refused("background_options"),
    _refused("context_management"),
    _refused("conversation"),
    _refused("image"),
    _refused("moderation"),
    _refused("previous_response_id"),
    _refused("prompt"),
    _refused("top_logprobs", "null and 0 are accepted"),
    _refused("truncation", 'null and "disabled" are accepted'),
)

_TOOLS = (
    Field("tools", Feature.TOOL),
    Field("tools[].type", Feature.TOOL),
    Field("tools[].name", Feature.TOOL),
    Field("tools[].description", Feature.TOOL),
    Field("tools[].parameters", Feature.TOOL, "null is a function without arguments"),
    Field("tools[].strict", Feature.TOOL_STRICT, "when it is absent, it stays absent"),
    _refused("tools[].allowed_callers", 'null and ["direct"] are accepted'),
    _refused("tools[].async", "null and false are accepted"),
    _refused("tools[].defer_loading", "null and false are accepted"),
    _refused("tools[].output_schema"),
    *_variants(
        "tools[]",
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use_preview",
        "custom",
        "file_search",
        "image_generation",
        "local_shell",
        "mcp",
        "namespace",
        "programmatic_tool_calling",
        "shell",
        "tool_search",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    ),
)

_ITEMS = (
    Field("input[].type", Feature.TEXT, "may be absent on a message"),
    Field("input[].role", Feature.DEVELOPER_ROLE, "system and developer texts stand where they were said"),
    Field(
        "input[].id", Feature.REASONING_OPAQUE, "of reasoning it goes back with it; else it " + _NAMES_ITEM
    ),
    Field("input[].status", Feature.TEXT, _NAMES_ITEM),
    _ignored("input[].phase", "what a message of the assistant was for"),
    Field("input[].content", Feature.TEXT),
    Field("input[].content[].type", Feature.TEXT),
    Field("input[].content[].text", Feature.TEXT),
    Field("input[].content[].refusal", Feature.REFUSAL),
    Field("input[].content[].annotations", Feature.CITATION),
    Field("input[].content[].annotations[].type", Feature.CITATION),
    Field("input[].content[].annotations[].url", Feature.CITATION),
    Field("input[].content[].annotations[].title", Feature.CITATION),
    Field("input[].content[].annotations[].start_index", Feature.CITATION),
    Field("input[].content[].annotations[].end_index", Feature.CITATION),
    _ignored("input[].content[].annotations[].type=file_citation", _OF_FILES),
    _ignored("input[].content[].annotations[].type=container_file_citation", _OF_FILES),
    _ignored("input[].content[].annotations[].type=file_path", _OF_FILES),
    Field("input[].content[].parsed", Feature.TEXT, "extension of the vendor's SDK: the text says the same"),
    _ignored("input[].content[].logprobs", "how sure the model was of an earlier answer"),
    Field("input[].call_id", Feature.TOOL_CALL),
    Field("input[].name", Feature.TOOL_CALL, "on a tool result it repeats the call's and is not needed"),
    Field("input[].arguments", Feature.TOOL_CALL),
    Field(
        "input[].parsed_arguments",
        Feature.TOOL_CALL,
        "extension of the vendor's SDK: the arguments say the same",
    ),
    _refused("input[].async", "null and false are accepted"),
    _refused("input[].namespace"),
    Field("input[].caller", Feature.TOOL_CALL),
    Field("input[].caller.type", Feature.TOOL_CALL),
    *_variants("input[].caller", "program"),
    Field("input[].output", Feature.TOOL_RESULT),
    Field("input[].output[].type", Feature.TOOL_RESULT),
    Field(
        "input[].output[].text",
        Feature.TOOL_RESULT_ERROR,
        'a result that begins with "[tool error] " is an error',
    ),
    Field("input[].summary", Feature.REASONING),
    Field("input[].summary[].type", Feature.REASONING),
    Field("input[].summary[].text", Feature.REASONING),
    Field(
        "input[].encrypted_content",
        Feature.REASONING_OPAQUE,
        "another vendor's begins with its name and a colon, and goes back to that vendor",
    ),
    *_variants(
        "input[]",
        "additional_tools",
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "compaction",
        "compaction_trigger",
        "computer_call",
        "computer_call_output",
        "configuration_update",
        "custom_tool_call",
        "custom_tool_call_output",
        "file_search_call",
        "image_generation_call",
        "item_reference",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    ),
)


def _attachments(path: str, image: Feature, document: Feature) -> tuple[Field, ...]:
    """Of a message, and of a tool's output: the features are what the first of each would be."""
    return (
        Field(f"{path}.image_url", image, "a data URL is an image as base64", also=(Feature.IMAGE_BASE64,)),
        Field(
            f"{path}.detail",
            Feature.IMAGE_DETAIL,
            "auto says nothing: it is the default; a file may have no other",
        ),
        Field(
            f"{path}.file_id",
            Feature.IMAGE_FILE,
            "of an image; for a document see document by file id",
            also=(Feature.DOCUMENT_FILE,),
        ),
        Field(f"{path}.file_url", document),
        Field(
            f"{path}.file_data",
            Feature.DOCUMENT_BASE64,
            "a data URL; text/plain is a document as text",
            also=(Feature.DOCUMENT_TEXT,),
        ),
        Field(f"{path}.filename", Feature.DOCUMENT_NAME),
        Field(f"{path}.prompt_cache_breakpoint", Feature.CACHE_HINT),
        Field(f"{path}.prompt_cache_breakpoint.mode", Feature.CACHE_HINT),
        Field(f"{path}.prompt_cache_breakpoint.ttl", Feature.CACHE_HINT, _BREAKPOINT),
    )


FIELDS: tuple[Field, ...] = (
    *_REQUEST,
    *_TOOLS,
    *_ITEMS,
    *_attachments("input[].content[]", Feature.IMAGE_URL, Feature.DOCUMENT_URL),
    *_attachments("input[].output[]", Feature.TOOL_RESULT_IMAGE, Feature.TOOL_RESULT_DOCUMENT),
)

_CARRIED = "carried"

EXPRESSES: Mapping[Feature, str] = {
    Feature.TEXT: "carried; a text of the assistant at the end is answered, not continued",
    Feature.SYSTEM_TEXT: "as a message of its role, where it was said",
    Feature.LATE_SYSTEM_TEXT: "as a message of its role, where it was said",
    Feature.DEVELOPER_ROLE: _CARRIED,
    Feature.IMAGE_URL: _CARRIED,
    Feature.IMAGE_BASE64: "as a data URL",
    Feature.IMAGE_FILE: "OpenAI's files are carried, others are refused",
    Feature.IMAGE_DETAIL: _CARRIED,
    Feature.DOCUMENT_URL: _CARRIED,
    Feature.DOCUMENT_BASE64: "as a data URL; without a name it is called document",
    Feature.DOCUMENT_TEXT: "as a data URL of text/plain",
    Feature.DOCUMENT_FILE: "OpenAI's files are carried, others are refused",
    Feature.DOCUMENT_NAME: "carried beside data",
    Feature.TOOL_CALL: "carried; an id of more than 64 characters is spelled anew",
    Feature.TOOL_RESULT: _CARRIED,
    Feature.TOOL_RESULT_IMAGE: _CARRIED,
    Feature.TOOL_RESULT_DOCUMENT: _CARRIED,
    Feature.TOOL_RESULT_ERROR: 'the text is prefixed with "[tool error] "',
    Feature.REASONING_OPAQUE: "OpenAI's as a reasoning item; another vendor's is left out with its reasoning",
    Feature.REFUSAL: _CARRIED,
    Feature.CITATION: "as an annotation, without the words cited",
    Feature.TOOL: "carried; a schema of an object without properties gets an empty one",
    Feature.TOOL_STRICT: "carried; an absent one becomes false, the default of the other wires; one of "
    "Messages whose schema the vendor takes for no strict one (an optional property, an open object, a "
    "default) is sent as not strict, and named as left out",
    Feature.TOOL_CHOICE: _CARRIED,
    Feature.PARALLEL_TOOL_CALLS: _CARRIED,
    Feature.MAX_OUTPUT_TOKENS: _CARRIED,
    Feature.TEMPERATURE: _CARRIED,
    Feature.TOP_P: _CARRIED,
    Feature.OUTPUT_SCHEMA: _CARRIED,
    Feature.OUTPUT_SCHEMA_NAME: "carried; an absent name becomes response, an absent strictness true; false "
    "for a schema that the vendor takes for no strict one (an optional property, an open object, a default)",
    Feature.OUTPUT_JSON: _CARRIED,
    Feature.THINKING_EFFORT: "carried; max becomes xhigh",
    Feature.THINKING_BUDGET: "as an effort: up to 4096 tokens low, up to 16384 medium, above that high",
    Feature.THINKING_SHOWN: "as reasoning.summary auto; also when reasoning is asked for without an "
    "effort or a word on this",
    Feature.VERBOSITY: _CARRIED,
    Feature.SERVICE_TIER: _CARRIED,
    Feature.USER: _CARRIED,
    Feature.SAFETY_IDENTIFIER: _CARRIED,
    Feature.PROMPT_CACHE_KEY: _CARRIED,
    Feature.PROMPT_CACHE_RETENTION: _CARRIED,
    Feature.CACHE_HINT: "as a prompt_cache_key made from the first system texts and the tools, unless the "
    "request has one",
    Feature.STREAM: _CARRIED,
}
"""What the encoder does with a feature. Not here, nor in LEAVES_OUT: top_k and stop sequences."""

LEAVES_OUT: Mapping[Feature, str] = {
    Feature.REASONING: "only OpenAI's own, as it encrypted it, can be read again",
    Feature.DOCUMENT_NAME: "a URL or a file id has a name already",
}
"""What the encoder leaves out, and why nothing of the answer depends on it."""
