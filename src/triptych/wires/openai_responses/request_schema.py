"""The shape of a request, as far as it can be translated: what is not here is refused by name."""

import msgspec

from triptych.wires.strict import Bound

_Absent = msgspec.UnsetType
_ABSENT = msgspec.UNSET

MESSAGE_ROLES = ("user", "assistant", "system", "developer")


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """Base of everything in a request."""


class Breakpoint(Strict):
    mode: str
    ttl: str | None = None


class UrlCitation(Strict, tag="url_citation", tag_field="type"):
    url: str
    title: str = ""
    start_index: int | None = None
    end_index: int | None = None


class FileCitation(msgspec.Struct, tag="file_citation", tag_field="type"):
    """Left out, like the other two of files: whatever they hold."""


class ContainerFileCitation(msgspec.Struct, tag="container_file_citation", tag_field="type"):
    pass


class FilePath(msgspec.Struct, tag="file_path", tag_field="type"):
    pass


class InputText(Strict, tag="input_text", tag_field="type"):
    text: str
    prompt_cache_breakpoint: Breakpoint | None = None


class InputImage(Strict, tag="input_image", tag_field="type"):
    detail: str | None = None
    file_id: str | None = None
    image_url: str | None = None
    prompt_cache_breakpoint: Breakpoint | None = None


class InputFile(Strict, tag="input_file", tag_field="type"):
    detail: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    prompt_cache_breakpoint: Breakpoint | None = None


class OutputText(Strict, tag="output_text", tag_field="type"):
    text: str
    annotations: list[UrlCitation | FileCitation | ContainerFileCitation | FilePath] | None = None
    logprobs: msgspec.Raw | _Absent = _ABSENT
    parsed: msgspec.Raw | _Absent = _ABSENT
    """What the vendor's SDK made of ``text``; whoever sends back what it dumps sends it along."""


class OutputRefusal(Strict, tag="refusal", tag_field="type"):
    refusal: str


class ReasoningText(Strict, tag="reasoning_text", tag_field="type"):
    text: str


class SummaryText(Strict, tag="summary_text", tag_field="type"):
    text: str


Content = InputText | InputImage | InputFile | OutputText | OutputRefusal | ReasoningText


class Caller(Strict):
    type: str


class Item(Strict):
    """An item of any type: that of messages need not be said, so that no tag tells them apart. The
    fields of each type are in ``ITEM_FIELDS``."""

    type: str = "message"
    id: str | None = None
    status: str | None = None
    role: str | None = None
    content: str | list[Content] | None = None
    phase: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    parsed_arguments: object = None
    """What the vendor's SDK made of ``arguments``."""
    caller: Caller | None = None
    is_async: bool | None = msgspec.field(default=None, name="async")
    output: str | list[InputText | InputImage | InputFile] | None = None
    summary: list[SummaryText] | None = None
    encrypted_content: str | None = None


ITEM_FIELDS = {
    "message": frozenset({"id", "status", "role", "content", "phase"}),
    "function_call": frozenset(
        {"id", "status", "call_id", "name", "namespace", "arguments", "parsed_arguments", "caller", "async"}
    ),
    "function_call_output": frozenset({"id", "status", "call_id", "name", "namespace", "caller", "output"}),
    "reasoning": frozenset({"id", "status", "content", "summary", "encrypted_content"}),
}


class FunctionTool(Strict, tag="function", tag_field="type"):
    name: str
    parameters: msgspec.Raw | _Absent = _ABSENT
    strict: bool | None = None
    description: str | None = None
    is_async: bool | None = msgspec.field(default=None, name="async")
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    output_schema: msgspec.Raw | _Absent = _ABSENT


class ChosenFunction(Strict, tag="function", tag_field="type"):
    name: str


class ReasoningConfig(Strict):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class TextFormat(Strict, tag="text", tag_field="type"):
    pass


class JsonSchemaFormat(Strict, tag="json_schema", tag_field="type"):
    name: str
    schema: msgspec.Raw
    description: str | None = None
    strict: bool | None = None


class JsonObjectFormat(Strict, tag="json_object", tag_field="type"):
    pass


class TextConfig(Strict):
    format: TextFormat | JsonSchemaFormat | JsonObjectFormat | None = None
    verbosity: str | None = None


class StreamOptions(Strict):
    include_obfuscation: bool | None = None


class Request(Strict):
    model: str
    input: str | list[Item]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Bound | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: str | ChosenFunction | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    include: list[str] | None = None
    stream_options: StreamOptions | None = None
    truncation: str | None = None
    background: bool | None = None
    top_logprobs: int | None = None
    # Of the gateway.
    store: bool | None = None
    metadata: msgspec.Raw | _Absent = _ABSENT
    litellm_metadata: msgspec.Raw | _Absent = _ABSENT
    proxy_server_request: msgspec.Raw | _Absent = _ABSENT
    # Hints.
    client_metadata: msgspec.Raw | _Absent = _ABSENT
    max_tool_calls: msgspec.Raw | _Absent = _ABSENT
    prompt_cache_options: msgspec.Raw | _Absent = _ABSENT
    # Refused unless null.
    access_programs: msgspec.Raw | _Absent = _ABSENT
    background_options: msgspec.Raw | _Absent = _ABSENT
    context_management: msgspec.Raw | _Absent = _ABSENT
    conversation: msgspec.Raw | _Absent = _ABSENT
    image: msgspec.Raw | _Absent = _ABSENT
    moderation: msgspec.Raw | _Absent = _ABSENT
    previous_response_id: msgspec.Raw | _Absent = _ABSENT
    prompt: msgspec.Raw | _Absent = _ABSENT
