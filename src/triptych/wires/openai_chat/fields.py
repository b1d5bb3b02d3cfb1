"""What of this wire can be translated: each field of a request, and each feature it can say.

Paths are those of ``openai.types.chat.completion_create_params``; ``path=value`` names a variant by
its tag. A note that begins with ``extension`` marks a field the vendor's schema does not have.
"""

from collections.abc import Mapping

from triptych.wires.translation import Feature, Field

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0,),
    "seed": (),
    "store": (False,),
    "top_logprobs": (0,),
    "web_search_options": (),
}
"""Refused fields of the top level: the values, beside null, that ask for nothing."""

_CARRIED = "carried"
_NULL_ONLY = "null is accepted"
_BREAKPOINT = "any ttl becomes 1h, the longest there is"
_OF_GOOGLE = "extension of Google: only its own models can read it"
_BY_TYPE = "the refusal names its type"


def _refused(path: str) -> Field:
    values = NEUTRAL[path]
    shown = [str(value).lower() if isinstance(value, bool) else repr(value) for value in values]
    note = f"null and {shown[0].replace(chr(39), chr(34))} are accepted" if shown else _NULL_ONLY
    return Field(path, None, note)


FIELDS: tuple[Field, ...] = (
    Field("messages", Feature.TEXT),
    Field("model", Feature.TEXT, "the gateway's own: the provider gets its own id of the model"),
    Field("messages[].role", Feature.SYSTEM_TEXT, "system and developer stand where they were said"),
    Field("messages[].role=function", None, "the refusal names its role"),
    Field(
        "messages[].name",
        Feature.TEXT,
        "where one role has several names: as a text `name:` in front; else left out, it tells nobody apart",
    ),
    Field("messages[].content", Feature.TEXT, "empty texts are left out"),
    Field("messages[].content[].type", Feature.TEXT),
    Field("messages[].content[].text", Feature.TEXT),
    Field("messages[].content[].refusal", Feature.REFUSAL),
    Field("messages[].content[].image_url", Feature.IMAGE_URL),
    Field("messages[].content[].image_url.url", Feature.IMAGE_BASE64, "a data URL is an image as base64"),
    Field(
        "messages[].content[].image_url.detail", Feature.IMAGE_DETAIL, "auto says nothing: it is the default"
    ),
    Field("messages[].content[].type=input_audio", None, _BY_TYPE),
    Field("messages[].content[].file", Feature.DOCUMENT_BASE64),
    Field("messages[].content[].file.file_data", Feature.DOCUMENT_TEXT, "text/plain is a document as text"),
    Field("messages[].content[].file.file_id", Feature.DOCUMENT_FILE),
    Field("messages[].content[].file.filename", Feature.DOCUMENT_NAME),
    Field("messages[].content[].prompt_cache_breakpoint", Feature.CACHE_HINT),
    Field("messages[].content[].prompt_cache_breakpoint.mode", Feature.CACHE_HINT),
    Field("messages[].content[].prompt_cache_breakpoint.ttl", Feature.CACHE_HINT, _BREAKPOINT),
    Field("messages[].content[].cache_control", Feature.CACHE_HINT, "extension of LiteLLM and OpenRouter"),
    Field("messages[].refusal", Feature.REFUSAL),
    Field("messages[].tool_calls", Feature.TOOL_CALL),
    Field("messages[].tool_calls[].id", Feature.TOOL_CALL),
    Field("messages[].tool_calls[].type", Feature.TOOL_CALL),
    Field("messages[].tool_calls[].type=custom", None, _BY_TYPE),
    Field("messages[].tool_calls[].function", Feature.TOOL_CALL),
    Field("messages[].tool_calls[].function.name", Feature.TOOL_CALL),
    Field("messages[].tool_calls[].function.arguments", Feature.TOOL_CALL, "an empty text means {}"),
    Field(
        "messages[].tool_calls[].function.parsed_arguments",
        Feature.TOOL_CALL,
        "extension of the vendor's SDK: the arguments say the same",
    ),
    Field(
        "messages[].tool_calls[].index",
        Feature.TOOL_CALL,
        "extension: of a stream's fragment; the order of the calls says the same",
    ),
    Field("messages[].tool_calls[].extra_content", None, _OF_GOOGLE, ignored=True),
    Field("messages[].extra_content", None, _OF_GOOGLE, ignored=True),
    Field("messages[].tool_call_id", Feature.TOOL_RESULT),
    Field("messages[].reasoning_content", Feature.REASONING, "extension of DeepSeek, vLLM and LiteLLM"),
    Field("messages[].reasoning", Feature.REASONING, "extension of vLLM and OpenRouter"),
    Field("messages[].thinking_blocks", Feature.REASONING_OPAQUE, "extension of LiteLLM"),
    Field("messages[].annotations", Feature.CITATION, "extension: of an answer that is sent back"),
    Field("messages[].parsed", Feature.TEXT, "extension of the vendor's SDK: the content says the same"),
    Field("messages[].audio", None, _NULL_ONLY),
    Field("messages[].function_call", None, _NULL_ONLY),
    Field("stream", Feature.STREAM),
    Field("stream_options", Feature.STREAM),
    Field("stream_options.include_usage", Feature.STREAM, "whether the caller gets the chunk with the usage"),
    Field("stream_options.include_obfuscation", None, "answers are not padded", ignored=True),
    Field("max_completion_tokens", Feature.MAX_OUTPUT_TOKENS),
    Field("max_tokens", Feature.MAX_OUTPUT_TOKENS, "of both bounds the lower one holds"),
    Field("temperature", Feature.TEMPERATURE),
    Field("top_p", Feature.TOP_P),
    Field("stop", Feature.STOP),
    Field("tools", Feature.TOOL),
    Field("tools[].type", Feature.TOOL),
    Field("tools[].type=custom", None, _BY_TYPE),
    Field("tools[].function", Feature.TOOL),
    Field("tools[].function.name", Feature.TOOL),
    Field("tools[].function.description", Feature.TOOL),
    Field("tools[].function.parameters", Feature.TOOL, "absent: an object without properties"),
    Field("tools[].function.strict", Feature.TOOL_STRICT),
    Field("tools[].cache_control", Feature.CACHE_HINT, "extension of LiteLLM and OpenRouter"),
    Field("tool_choice", Feature.TOOL_CHOICE),
    Field("tool_choice.type", Feature.TOOL_CHOICE),
    Field("tool_choice.type=allowed_tools", None, _BY_TYPE),
    Field("tool_choice.type=custom", None, _BY_TYPE),
    Field("tool_choice.function", Feature.TOOL_CHOICE),
    Field("tool_choice.function.name", Feature.TOOL_CHOICE),
    Field("parallel_tool_calls", Feature.PARALLEL_TOOL_CALLS),
    Field("response_format", Feature.OUTPUT_SCHEMA, "text is the default"),
    Field(
        "response_format.type",
        Feature.OUTPUT_JSON,
        "the verdict on json_object; text and json_schema are not affected",
    ),
    Field("response_format.json_schema", Feature.OUTPUT_SCHEMA),
    Field("response_format.json_schema.schema", Feature.OUTPUT_SCHEMA, "required"),
    Field("response_format.json_schema.name", Feature.OUTPUT_SCHEMA_NAME),
    Field("response_format.json_schema.description", Feature.OUTPUT_SCHEMA_NAME),
    Field(
        "response_format.json_schema.strict",
        Feature.OUTPUT_SCHEMA_NAME,
        "absent is false, as the vendor has it",
    ),
    Field("reasoning_effort", Feature.THINKING_EFFORT),
    Field("reasoning", Feature.THINKING_EFFORT, "extension of OpenRouter"),
    Field("reasoning.effort", Feature.THINKING_EFFORT, "extension: the same as reasoning_effort"),
    Field(
        "reasoning.enabled",
        Feature.THINKING_EFFORT,
        "extension: false is effort none; true leaves the effort to the model",
    ),
    Field("reasoning.max_tokens", Feature.THINKING_BUDGET, "extension"),
    Field(
        "reasoning.summary", Feature.THINKING_SHOWN, "extension: a summary of any length is one that is shown"
    ),
    Field("reasoning.exclude", Feature.THINKING_SHOWN, "extension: true means not shown"),
    Field("verbosity", Feature.VERBOSITY),
    Field("service_tier", Feature.SERVICE_TIER, "fast is another word for priority"),
    Field("user", Feature.USER),
    Field("safety_identifier", Feature.SAFETY_IDENTIFIER),
    Field("prompt_cache_key", Feature.PROMPT_CACHE_KEY),
    Field("prompt_cache_retention", Feature.PROMPT_CACHE_RETENTION),
    Field("prompt_cache_options", None, "how the vendor's own models keep a cache", ignored=True),
    Field("metadata", None, "the gateway's own", ignored=True),
    Field("litellm_metadata", None, "extension: the gateway's own", ignored=True),
    Field("proxy_server_request", None, "extension: the gateway's own", ignored=True),
    *map(_refused, NEUTRAL),
)

EXPRESSES: Mapping[Feature, str] = {
    Feature.TEXT: "carried; a text of the assistant at the end is answered, not continued",
    Feature.SYSTEM_TEXT: _CARRIED,
    Feature.LATE_SYSTEM_TEXT: _CARRIED,
    Feature.DEVELOPER_ROLE: _CARRIED,
    Feature.IMAGE_URL: _CARRIED,
    Feature.IMAGE_BASE64: "as a data URL",
    Feature.IMAGE_DETAIL: _CARRIED,
    Feature.DOCUMENT_BASE64: "as a data URL; without a name it is called document",
    Feature.DOCUMENT_TEXT: "as a data URL of text/plain",
    Feature.DOCUMENT_FILE: "OpenAI's files are carried, others are refused",
    Feature.DOCUMENT_NAME: "carried, as the file's name",
    Feature.TOOL_CALL: "carried, after the texts of its message; an id of more than 40 "
    "characters is spelled anew",
    Feature.TOOL_RESULT: "carried, one message for each",
    Feature.TOOL_RESULT_ERROR: 'the text is prefixed with "[tool error] "',
    Feature.REFUSAL: _CARRIED,
    Feature.TOOL: "carried; a schema of an object without properties gets an empty one",
    Feature.TOOL_STRICT: "carried; one of Messages whose schema the vendor takes for no strict one (an "
    "optional property, an open object, a default) is sent as not strict, and named as left out",
    Feature.TOOL_CHOICE: "carried; auto and none are left out when there are no tools",
    Feature.PARALLEL_TOOL_CALLS: "carried; left out when there are no tools",
    Feature.MAX_OUTPUT_TOKENS: "as max_completion_tokens; as max_tokens to models of DeepSeek and Mistral, "
    "which know no other name",
    Feature.TEMPERATURE: _CARRIED,
    Feature.TOP_P: _CARRIED,
    Feature.STOP: _CARRIED,
    Feature.OUTPUT_SCHEMA: _CARRIED,
    Feature.OUTPUT_SCHEMA_NAME: "carried; an absent name becomes response, an absent strictness true; false "
    "for a schema that the vendor takes for no strict one (an optional property, an open object, a default)",
    Feature.OUTPUT_JSON: _CARRIED,
    Feature.THINKING_EFFORT: "carried; max becomes xhigh",
    Feature.THINKING_BUDGET: "as an effort: up to 4096 tokens low, up to 16384 medium, above that high",
    Feature.VERBOSITY: _CARRIED,
    Feature.SERVICE_TIER: _CARRIED,
    Feature.USER: _CARRIED,
    Feature.SAFETY_IDENTIFIER: _CARRIED,
    Feature.PROMPT_CACHE_KEY: _CARRIED,
    Feature.PROMPT_CACHE_RETENTION: _CARRIED,
    Feature.CACHE_HINT: "as a prompt_cache_key made from the first system texts and the tools, unless the "
    "request has one; breakpoints are refused by models that do not know them",
    Feature.STREAM: "carried; the usage is always asked for",
}
"""What the request encoder does with each feature."""

LEAVES_OUT: Mapping[Feature, str] = {
    Feature.REASONING: "the wire has no field for reasoning of earlier turns; but models of DeepSeek and "
    "Kimi get theirs back as reasoning_content where there are tools: they ask for it",
    Feature.REASONING_OPAQUE: "the wire has no field for reasoning of earlier turns",
    Feature.THINKING_SHOWN: "the wire does not say it",
    Feature.CITATION: "the wire has no field for citations of earlier turns",
}
"""Features the request encoder leaves out, and why. One in neither table is refused."""
