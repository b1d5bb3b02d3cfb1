"""Where text stands in this wire's requests, answers and events.

The fields are those of https://docs.claude.com/en/api/messages, betas included, as the vendor's
SDK declares them; a test compares the two.
"""

import msgspec

from triptych.wires.estimate import decode_answer
from triptych.wires.slot_tables import Members, Table, compiled, received_slots, request_slots
from triptych.wires.slots import Delta, Kind, Path, Slot
from triptych.wires.sse import Event

TABLE: Table = {
    "request": Members(
        text="system stop_sequences metadata",
        word="service_tier inference_geo speed",
        identifier="model container user_profile_id workspace_id betas",
        opaque="fallback_credit_token",
        plain="max_tokens stream temperature top_p top_k",
        holds={
            "block": "system",
            "metadata": "metadata",
            "message": "messages",
            "tool": "tools",
            "tool_choice": "tool_choice",
            "container": "container",
            "thinking": "thinking",
            "output_config": "output_config",
            "format": "output_format",
            "typed": "cache_control",
            "diagnostics": "diagnostics",
            "mcp_server": "mcp_servers",
            "context_management": "context_management",
            "context_edit": "compaction",
            "thread": "thread",
            "request": "fallbacks",
            "billing_policy": "billing_policy",
            "fallback_credit_token": "fallback_credit_token",
        },
    ),
    "metadata": Members(text="user_id"),
    "message": Members(
        text="content",
        word="role",
        tag="type",
        identifier="id model",
        plain="clear_at",
        holds={"block": "content", "output_config": "output_config"},
    ),
    # Every block of content, of messages, of results inside blocks and of what they hold: no two
    # kinds of blocks mean different things by one name, so one table reads them all.
    "block": Members(
        text="text content title context page_age stdout stderr error_message lines error input",
        reasoning="thinking",
        name="name tool_name toolset_name mcp_server_name server_name path",
        # A search result's source is its address, or what its author calls it.
        url="url source",
        opaque="data signature encrypted_content encrypted_stdout",
        word="error_code file_type stop_reason clear_at",
        identifier="id tool_use_id file_id tab_id download_id",
        moment="retrieved_at",
        tag="type",
        plain="is_error return_code start_line num_lines num_lines_new total_lines new_start new_lines "
        "old_start old_lines is_file_update active active_tab_id is_active category size_bytes",
        holds={
            "block": "content tool_references tabs state_changes",
            "source": "source",
            "citation": "citations",
            "typed": "cache_control trigger",
            "caller": "caller",
            "transformations": "transformations",
            "tool": "tools",
            "tool_reference": "tool",
            "tool_change": "tool_changes",
            "served_by": "from to",
        },
    ),
    "source": Members(
        text="content",
        url="url",
        word="media_type",
        identifier="file_id",
        tag="type",
        switches={"data": (Kind.OPAQUE, {"text": Kind.TEXT})},
        holds={"block": "content"},
    ),
    "citation": Members(
        text="cited_text document_title title",
        url="url source",
        opaque="encrypted_index",
        identifier="file_id",
        tag="type",
        plain="enabled document_index start_char_index end_char_index start_page_number end_page_number "
        "start_block_index end_block_index search_result_index",
    ),
    "caller": Members(identifier="tool_id", tag="type"),
    "transformations": Members(word="oversized_image"),
    "typed": Members(
        tag="type",
        word="ttl category keep reason fields previous_message_id",
        plain="value cache_missed_input_tokens",
    ),
    "served_by": Members(identifier="model"),
    "tool_reference": Members(name="name server_name", tag="type", holds={"tool": "definition"}),
    "tool_change": Members(tag="type", holds={"tool_reference": "tool", "typed": "cache_control"}),
    "tool": Members(
        text="description input_examples",
        name="name mcp_server_name",
        url="allowed_domains blocked_domains",
        word="allowed_callers response_inclusion",
        identifier="model",
        tag="type",
        plain="max_uses max_content_tokens max_tokens max_characters defer_loading eager_input_streaming "
        "strict display_width_px display_height_px display_number enable_zoom use_cache",
        holds={
            "schema": "input_schema",
            "typed": "cache_control caching",
            "user_location": "user_location",
            "citation": "citations",
            "tool_configs": "configs",
            "tool_config": "default_config",
            "tool": "tools",
            "url_sources": "url_sources",
        },
    ),
    "tool_configs": Members(others="tool_config"),
    "tool_config": Members(plain="enabled defer_loading strict"),
    "url_sources": Members(
        holds={"url_source": "client_tool_results server_tool_results user_input"},
    ),
    "url_source": Members(tag="type", holds={"tool": "tools"}),
    "user_location": Members(text="city country region timezone", tag="type"),
    "tool_choice": Members(name="name", tag="type", plain="disable_parallel_tool_use"),
    "container": Members(identifier="id", moment="expires_at", holds={"skill": "skills"}),
    "skill": Members(identifier="skill_id version", tag="type"),
    "thinking": Members(
        tag="type",
        word="display",
        plain="budget_tokens",
        holds={"block_binding": "block_binding"},
    ),
    "block_binding": Members(word="prefix_mismatch_behavior"),
    "output_config": Members(
        word="effort",
        holds={"format": "format", "task_budget": "task_budget"},
    ),
    "task_budget": Members(tag="type", plain="total remaining"),
    "format": Members(tag="type", holds={"schema": "schema"}),
    "mcp_server": Members(
        name="name",
        url="url",
        opaque="authorization_token",
        tag="type",
        holds={"tool_configuration": "tool_configuration"},
    ),
    "tool_configuration": Members(name="allowed_tools", plain="enabled"),
    "context_management": Members(holds={"context_edit": "edits applied_edits"}),
    "context_edit": Members(
        text="instructions",
        name="exclude_tools clear_tool_inputs",
        word="keep",
        tag="type",
        plain="pause_after_compaction cleared_tool_uses cleared_input_tokens cleared_thinking_turns",
        holds={"typed": "keep trigger clear_at_least"},
    ),
    "thread": Members(identifier="previous_message_id", tag="type"),
    "billing_policy": Members(identifier="bill_to", tag="type"),
    "fallback_credit_token": Members(opaque="token", word="mode"),
    # Answers
    "answer": Members(
        text="content stop_sequence",
        word="role stop_reason",
        identifier="id model",
        tag="type",
        plain="input_tokens",
        holds={
            "block": "content",
            "usage": "usage",
            "container": "container",
            "context_management": "context_management",
            "diagnostics": "diagnostics",
            "stop_details": "stop_details",
            "input_transformation": "input_transformations",
        },
    ),
    "input_transformation": Members(text="path", word="reason", tag="type"),
    "usage": Members(
        word="service_tier inference_geo speed",
        identifier="model",
        tag="type",
        plain="input_tokens output_tokens cache_creation_input_tokens cache_read_input_tokens "
        "ephemeral_1h_input_tokens ephemeral_5m_input_tokens web_search_requests web_fetch_requests "
        "thinking_tokens",
        holds={
            "usage": "cache_creation server_tool_use output_tokens_details iterations",
            "fallback_credit": "fallback_credit",
        },
    ),
    "fallback_credit": Members(
        name="remove_to_redeem", word="reason", tag="type", holds={"fallback_credit": "status"}
    ),
    "diagnostics": Members(
        identifier="previous_message_id",
        holds={"typed": "cache_miss_reason"},
    ),
    "stop_details": Members(
        text="explanation",
        word="category",
        opaque="fallback_credit_token",
        identifier="recommended_model",
        tag="type",
        plain="fallback_has_prefill_claim",
    ),
    "error": Members(text="message", tag="type", plain="details"),
    # Events
    "event": Members(
        tag="type",
        plain="index",
        identifier="request_id",
        holds={
            "input_transformation": "input_transformations",
            "answer": "message",
            "block": "content_block",
            "delta": "delta",
            "usage": "usage",
            "error": "error",
            "context_management": "context_management",
        },
    ),
    "delta": Members(
        text="text content stop_sequence",
        json_string="partial_json",
        reasoning="thinking",
        opaque="signature encrypted_content",
        word="stop_reason",
        tag="type",
        plain="estimated_tokens",
        holds={"citation": "citation", "container": "container", "stop_details": "stop_details"},
    ),
}

REQUEST = compiled(TABLE, "request")
ANSWER = compiled(TABLE, "answer")
EVENT = compiled(TABLE, "event")

_FRAGMENTS = frozenset({"text", "partial_json", "thinking", "signature", "content", "encrypted_content"})
_DELTA_STEPS = 2
_BLOCK_STEPS = 3


class _Indexed(msgspec.Struct):
    index: int = 0


_INDEXED = msgspec.json.Decoder(_Indexed)


def text_slots(body: bytes) -> list[Slot]:
    """Every string of a request that may carry text, and every key that is not the wire's.

    Raises Failure INVALID_BODY when the body is not JSON.
    """
    return request_slots(body, REQUEST)


def answer_slots(body: bytes) -> list[Slot]:
    """The same of a whole answer. Raises Failure UPSTREAM_INVALID_RESPONSE when it is not JSON."""
    return received_slots(body, ANSWER)


def text_deltas(event: Event) -> list[Delta]:
    """The strings of one event. The pieces of a block have the part ``(index, member)``, such as
    ``(0, "text")`` or ``(1, "partial_json")``; those of other events are whole.

    Raises Failure UPSTREAM_INVALID_RESPONSE when the data is not JSON.
    """
    data = event.data
    found: list[Delta] = []
    for slot in received_slots(data, EVENT, event.type):
        path = slot.path
        part: Path = ()
        if len(path) == _DELTA_STEPS and path[0] == "delta" and path[1] in _FRAGMENTS and not slot.is_key:
            part = (decode_answer(_INDEXED, data).index, path[1])
        found.append(
            Delta(path, slot.start, slot.end, slot.kind, slot.text(data), part, bool(part), slot.is_key)
        )
    return found


def is_answer_text(path: Path, part: Path = ()) -> bool:
    """Whether it is what the model says itself, in a whole answer or an event: what an output format
    is about. ``part``: of which it is a piece."""
    if path[-1:] != ("text",):
        return False
    if path[0] == "content":
        return len(path) == _BLOCK_STEPS
    return len(path) == _DELTA_STEPS and path[0] in ("delta", "content_block")
