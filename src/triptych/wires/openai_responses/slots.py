"""Where text stands in this wire's requests, answers and events.

The fields are those of https://platform.openai.com/docs/api-reference/responses, as the vendor's
SDK declares them; a test compares the two.
"""

import msgspec

from triptych.wires.estimate import decode_answer
from triptych.wires.slot_tables import Members, Table, compiled, received_slots, request_slots
from triptych.wires.slots import Delta, Kind, Path, Slot
from triptych.wires.sse import Event

_REASONING = dict.fromkeys(
    [
        "reasoning_text",
        "summary_text",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
    ],
    Kind.REASONING,
)

TABLE: Table = {
    # A request, and the answer that repeats most of it: no member means one thing in the one and
    # another in the other.
    "response": Members(
        text="input instructions user safety_identifier prompt_cache_key metadata",
        word="include object prompt_cache_retention service_tier status tool_choice truncation",
        identifier="id model conversation previous_response_id",
        plain="background completed_at created_at max_output_tokens max_tool_calls parallel_tool_calls store "
        "stream temperature top_logprobs top_p",
        holds={
            "item": "input instructions output",
            "words": "access_programs context_management image incomplete_details input_transformations "
            "prompt_cache_diagnostics prompt_cache_options stream_options",
            "background_options": "background_options",
            "referred": "conversation",
            "error": "error",
            "moderation": "moderation",
            "prompt": "prompt",
            "reasoning_options": "reasoning",
            "text_options": "text",
            "tool_choice": "tool_choice",
            "tool": "tools",
            "usage": "usage tool_usage",
        },
    ),
    "words": Members(
        word="cyber mode ttl context_compression reason action",
        identifier="comparison_response_id id",
        tag="type",
        plain="prewarm cache_missed_tokens comparison_reusable_tokens compact_threshold include_obfuscation",
    ),
    "referred": Members(identifier="id"),
    "background_options": Members(word="completion_window", identifier="continuation_id"),
    "prompt": Members(identifier="id version", text="variables", holds={"variables": "variables"}),
    "variables": Members(others="part"),
    "reasoning_options": Members(word="context effort generate_summary mode summary"),
    "text_options": Members(word="verbosity", holds={"format": "format"}),
    "format": Members(
        text="description definition",
        name="name",
        word="syntax",
        tag="type",
        plain="strict",
        holds={"schema": "schema"},
    ),
    "tool_choice": Members(name="name server_label", word="mode", tag="type", holds={"tool": "tools"}),
    "moderation": Members(
        text="message code",
        word="mode",
        identifier="model",
        tag="type",
        plain="flagged",
        holds={
            "moderation": "policy input output",
            "free": "categories category_applied_input_types category_scores",
        },
    ),
    # Every item of input and output: messages, calls, what calls gave, reasoning.
    "item": Members(
        text="content input output code error reason revised_prompt queries stderr stdout logs",
        json_string="arguments",
        name="name namespace server_label created_by",
        opaque="encrypted_content result",
        word="role status phase execution background output_format quality size action",
        identifier="id call_id approval_request_id container_id fingerprint agent model",
        tag="type",
        plain="async approve max_output_length exit_code output_index",
        holds={
            "part": "content summary output outputs",
            "action": "action actions",
            "error": "acknowledged_safety_checks pending_safety_checks error",
            "caller": "caller",
            "environment": "environment",
            "operation": "operation",
            "search_result": "results",
            "svg": "svg_usage",
            "tool": "tools",
            "text_options": "text",
            "reasoning_options": "reasoning",
            "words": "outcome",
        },
    ),
    # Parts of content, and what the outputs of calls are made of.
    "part": Members(
        text="refusal transcript logs stdout stderr",
        name="filename created_by",
        url="image_url file_url url",
        opaque="file_data data encrypted_content",
        word="detail format",
        identifier="file_id",
        tag="type",
        switches={"text": (Kind.TEXT, _REASONING)},
        holds={
            "annotation": "annotations",
            "logprob": "logprobs",
            "words": "prompt_cache_breakpoint",
            "outcome": "outcome",
            "part": "input_audio",
        },
    ),
    "outcome": Members(tag="type", plain="exit_code"),
    "annotation": Members(
        text="title",
        url="url",
        name="filename",
        identifier="file_id container_id",
        tag="type",
        plain="index start_index end_index",
    ),
    "logprob": Members(text="token", plain="bytes logprob", holds={"logprob": "top_logprobs"}),
    "action": Members(
        text="command commands keys pattern query queries text working_directory user",
        url="url",
        word="button",
        tag="type",
        plain="env x y scroll_x scroll_y timeout_ms max_output_length",
        holds={"annotation": "sources", "action": "path"},
    ),
    "caller": Members(identifier="caller_id", tag="type"),
    "operation": Members(text="diff", name="path", tag="type"),
    "search_result": Members(text="text", name="filename", identifier="file_id", plain="attributes score"),
    "error": Members(
        text="message content code",
        name="param",
        identifier="id",
        tag="type",
        holds={"part": "content", "moderation_details": "moderation_details", "misalignment": "misalignment"},
    ),
    "moderation_details": Members(word="categories moderation_stage"),
    "misalignment": Members(
        text="detailed_explanation review_target", word="error_type", holds={"error": "steer"}
    ),
    "svg": Members(
        identifier="model",
        plain="reasoning_tokens input_tokens output_tokens total_tokens",
        holds={"reasoning_options": "reasoning"},
    ),
    "tool": Members(
        text="description server_description",
        name="name server_label allowed_tools",
        url="server_url",
        opaque="authorization",
        word="action allowed_callers background complexity execution input_fidelity moderation output_format "
        "quality require_approval search_content_types search_context_size size environment connector_id",
        identifier="container model tunnel_id vector_store_ids",
        tag="type",
        plain="async frame_count frame_duration_ms "
        "annotations headers strict defer_loading max_num_results display_height display_width "
        "output_compression partial_images external_web_access return_token_budget image_settings",
        holds={
            "tool_filter": "allowed_tools require_approval",
            "schema": "input_schema parameters output_schema",
            "environment": "container environment",
            "filter": "filters",
            "format": "format",
            "tool": "function tools",
            "part": "input_image_mask",
            "ranking_options": "ranking_options",
            "svg": "svg",
            "user_location": "user_location",
        },
    ),
    "tool_filter": Members(
        name="tool_names",
        plain="read_only",
        holds={"tool_filter": "always never"},
    ),
    "environment": Members(
        word="memory_limit",
        identifier="container_id file_ids",
        tag="type",
        holds={"network_policy": "network_policy", "skill": "skills"},
    ),
    "network_policy": Members(url="allowed_domains", tag="type", holds={"domain_secret": "domain_secrets"}),
    "domain_secret": Members(url="domain", name="name", opaque="value"),
    "skill": Members(
        text="description",
        name="name path",
        identifier="skill_id version",
        tag="type",
        holds={"skill_source": "source"},
    ),
    "skill_source": Members(opaque="data", word="media_type", tag="type"),
    "filter": Members(
        text="value",
        name="key",
        url="allowed_domains blocked_domains",
        tag="type",
        holds={"filter": "filters"},
    ),
    "ranking_options": Members(
        word="ranker",
        plain="score_threshold embedding_weight text_weight",
        holds={"ranking_options": "hybrid_search"},
    ),
    "user_location": Members(text="city country region timezone", tag="type"),
    # Counts only, whatever the names.
    "usage": Members(
        plain="input_tokens output_tokens total_tokens cached_tokens cache_write_tokens reasoning_tokens",
        holds={"usage": "input_tokens_details output_tokens_details"},
        others="usage",
    ),
    "event": Members(
        text="code command input message refusal",
        json_string="arguments",
        name="param",
        opaque="partial_image_b64",
        word="status background output_format quality size",
        identifier="item_id",
        padding="obfuscation",
        tag="type",
        switches={
            "delta": (
                Kind.TEXT,
                {
                    **_REASONING,
                    "response.audio.delta": Kind.OPAQUE,
                    "response.function_call_arguments.delta": Kind.JSON_STRING,
                    "response.mcp_call_arguments.delta": Kind.JSON_STRING,
                },
            ),
            "text": (Kind.TEXT, _REASONING),
        },
        plain="annotation_index command_index content_index output_index partial_image_index sequence_number "
        "summary_index",
        holds={
            "annotation": "annotation",
            "part": "delta output part",
            "error": "error",
            "item": "item",
            "logprob": "logprobs",
            "response": "response",
        },
    ),
}

REQUEST = compiled(TABLE, "response")
ANSWER = REQUEST
EVENT = compiled(TABLE, "event")

_DELTA = ".delta"
_FRAGMENT_STEPS = 2


class _Place(msgspec.Struct):
    type: str = ""
    output_index: int = 0
    content_index: int | None = None
    summary_index: int | None = None
    command_index: int | None = None


_PLACE = msgspec.json.Decoder(_Place)


def text_slots(body: bytes) -> list[Slot]:
    """Every string of a request that may carry text, and every key that is not the wire's.

    Raises Failure INVALID_BODY when the body is not JSON.
    """
    return request_slots(body, REQUEST)


def answer_slots(body: bytes) -> list[Slot]:
    """The same of a whole answer. Raises Failure UPSTREAM_INVALID_RESPONSE when it is not JSON."""
    return received_slots(body, ANSWER)


def text_deltas(event: Event) -> list[Delta]:
    """The strings of one event.

    The pieces of a text have the part ``(event's type without its last word, output_index, index
    in that)``, such as ``("response.output_text", 0, 0)``; the last is -1 where an item has one
    text only, and the name follows where a delta has two (``stdout``). The ``done`` that repeats
    the text whole has the same part and is no fragment. Strings of other events have none.

    Raises Failure UPSTREAM_INVALID_RESPONSE when the data is not JSON.
    """
    data = event.data
    place: _Place | None = None
    found: list[Delta] = []
    for slot in received_slots(data, EVENT, event.type):
        path = slot.path
        part: Path = ()
        fragment = False
        if path and path[0] in _STREAMED and len(path) <= _FRAGMENT_STEPS and not slot.is_key:
            if place is None:
                place = decode_answer(_PLACE, data)
            part = _part(place, event.type, path)
            fragment = bool(part) and path[0] == "delta"
        found.append(
            Delta(path, slot.start, slot.end, slot.kind, slot.text(data), part, fragment, slot.is_key)
        )
    return found


# What deltas bring, and under which names it is repeated when it is done.
_STREAMED = frozenset({"delta", "text", "arguments", "code", "command", "input", "refusal"})


def _part(place: _Place, event_type: str, path: Path) -> Path:
    """Empty for an event that neither is a piece of a text nor repeats one."""
    family, _, last = (place.type or event_type).rpartition(".")
    if last not in ("delta", "done"):
        return ()
    inner = next(
        (i for i in (place.content_index, place.summary_index, place.command_index) if i is not None), -1
    )
    return (family, place.output_index, inner, *path[1:])


def is_answer_text(path: Path, part: Path = ()) -> bool:
    """Whether it is what the model says itself, in a whole answer or an event: what an output format
    is about. ``part``: of which it is a piece."""
    if part:
        return part[0] == "response.output_text"
    path = path[1:] if path[0] == "response" else path
    if path in (("output_text",), ("part", "text")):
        return True
    return path[0] in ("output", "item") and path[-3:-2] == ("content",) and path[-1] == "text"
