"""Where text stands in this wire's requests, answers and chunks.

The fields are those of https://platform.openai.com/docs/api-reference/chat, as the vendor's SDK
declares them (a test compares the two), and the reasoning that others send on this wire.
"""

from collections.abc import Sequence

import msgspec

from triptych.wires.estimate import decode_answer
from triptych.wires.slot_tables import Members, Table, compiled, received_slots, request_slots
from triptych.wires.slots import Delta, Path, Slot
from triptych.wires.sse import Event

TABLE: Table = {
    "request": Members(
        text="user safety_identifier prompt_cache_key stop metadata",
        word="modalities prompt_cache_retention reasoning_effort service_tier verbosity "
        "function_call tool_choice",
        identifier="model",
        plain="logit_bias frequency_penalty presence_penalty logprobs top_logprobs max_tokens "
        "max_completion_tokens n parallel_tool_calls seed store stream temperature top_p",
        holds={
            "message": "messages prediction",
            "audio": "audio",
            "named": "function_call",
            "function": "functions",
            "moderation": "moderation",
            "cache": "prompt_cache_options",
            "response_format": "response_format",
            "tool": "tools",
            "tool_choice": "tool_choice",
            "web_search_options": "web_search_options",
            "stream_options": "stream_options",
        },
    ),
    # Of a request and of an answer, and what a chunk says of one.
    "message": Members(
        text="content refusal",
        reasoning="reasoning reasoning_content",
        name="name",
        word="role",
        identifier="tool_call_id",
        tag="type",
        holds={
            "part": "content",
            "tool_call": "tool_calls",
            "call": "function_call",
            "audio": "audio",
            "annotation": "annotations",
            "reasoning_detail": "reasoning_details",
            "thinking_block": "thinking_blocks",
            "extra": "extra_content",
        },
    ),
    # Google's extension: what its models thought when they made a call, to be given back unchanged.
    "extra": Members(holds={"of_google": "google"}),
    "of_google": Members(opaque="thought_signature"),
    # LiteLLM's extension: the blocks of Anthropic's wire, to be given back unchanged.
    "thinking_block": Members(reasoning="thinking", opaque="signature data", tag="type", plain="index"),
    "part": Members(
        text="text refusal",
        tag="type",
        holds={
            "image_url": "image_url",
            "audio": "input_audio",
            "file": "file",
            "cache": "prompt_cache_breakpoint",
        },
        url="video_url",
    ),
    "image_url": Members(url="url", word="detail"),
    "file": Members(opaque="file_data", identifier="file_id", name="filename"),
    "audio": Members(
        text="transcript",
        opaque="data",
        word="format voice",
        identifier="id",
        plain="expires_at",
        holds={"audio": "voice"},
    ),
    "cache": Members(word="mode ttl"),
    "tool_call": Members(
        identifier="id",
        tag="type",
        plain="index",
        holds={"call": "function custom", "extra": "extra_content"},
    ),
    "call": Members(text="input", json_string="arguments", name="name"),
    "annotation": Members(tag="type", plain="index", holds={"url_citation": "url_citation"}),
    "url_citation": Members(text="title content", url="url", plain="start_index end_index"),
    "reasoning_detail": Members(
        reasoning="text summary",
        opaque="data signature",
        word="format",
        identifier="id",
        tag="type",
        plain="index",
    ),
    "tool": Members(tag="type", holds={"function": "function custom"}),
    "function": Members(
        text="description",
        name="name",
        plain="strict",
        holds={"schema": "parameters", "tool_format": "format"},
    ),
    "tool_format": Members(tag="type", holds={"grammar": "grammar"}),
    "grammar": Members(text="definition", word="syntax"),
    "named": Members(name="name"),
    "tool_choice": Members(
        tag="type",
        holds={"named": "function custom", "allowed_tools": "allowed_tools"},
    ),
    "allowed_tools": Members(word="mode", holds={"tool": "tools"}),
    "response_format": Members(tag="type", holds={"json_schema": "json_schema"}),
    "json_schema": Members(text="description", name="name", plain="strict", holds={"schema": "schema"}),
    "web_search_options": Members(word="search_context_size", holds={"user_location": "user_location"}),
    "user_location": Members(
        text="city country region timezone",
        tag="type",
        holds={"user_location": "approximate"},
    ),
    "stream_options": Members(plain="include_usage include_obfuscation"),
    # Asked for by a request, and told about by an answer.
    "moderation": Members(
        text="message code",
        word="mode",
        identifier="model",
        tag="type",
        plain="flagged",
        holds={
            "moderation": "policy input output results",
            "categories": "categories category_applied_input_types category_scores",
        },
    ),
    "categories": Members(),
    # Answers and chunks
    "answer": Members(
        text="metadata",
        word="object service_tier",
        identifier="id model system_fingerprint",
        padding="obfuscation",
        plain="created",
        holds={"choice": "choices", "usage": "usage", "moderation": "moderation", "error": "error"},
    ),
    "choice": Members(
        word="finish_reason",
        plain="index",
        holds={"message": "message delta", "logprobs": "logprobs"},
    ),
    "logprobs": Members(
        text="token",
        plain="bytes logprob",
        holds={"logprobs": "content refusal top_logprobs"},
    ),
    "usage": Members(
        plain="prompt_tokens completion_tokens total_tokens accepted_prediction_tokens "
        "rejected_prediction_tokens audio_tokens reasoning_tokens cached_tokens cache_write_tokens "
        "text_tokens image_tokens",
        holds={"usage": "prompt_tokens_details completion_tokens_details"},
    ),
    "error": Members(text="message", name="param", word="code", tag="type"),
}

REQUEST = compiled(TABLE, "request")
ANSWER = compiled(TABLE, "answer")

_DONE = b"[DONE]"
# choices, its place, delta, and then what the piece is of.
_DELTA_STEPS = 3


class _Call(msgspec.Struct):
    index: int | None = None


class _Calls(msgspec.Struct):
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int | None = None
    delta: _Calls | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)


def text_slots(body: bytes) -> list[Slot]:
    """Every string of a request that may carry text, and every key that is not the wire's.

    Raises Failure INVALID_BODY when the body is not JSON.
    """
    return request_slots(body, REQUEST)


def answer_slots(body: bytes) -> list[Slot]:
    """The same of a whole answer. Raises Failure UPSTREAM_INVALID_RESPONSE when it is not JSON."""
    return received_slots(body, ANSWER)


def text_deltas(event: Event) -> list[Delta]:
    """The strings of one chunk; none of ``[DONE]``.

    The pieces of a choice have the part ``(index of the choice, member)``, such as
    ``(0, "content")``, ``(0, "audio", "transcript")`` or
    ``(0, "tool_calls", index of the call, "function", "arguments")``: indexes as the provider
    numbers them, not places in the chunk. Other strings are whole.

    Raises Failure UPSTREAM_INVALID_RESPONSE when the data is not JSON.
    """
    data = event.data
    if data.strip() == _DONE:
        return []
    slots = received_slots(data, ANSWER)
    choices: Sequence[_Choice] | None = None
    found: list[Delta] = []
    for slot in slots:
        path = slot.path
        part: Path = ()
        if len(path) > _DELTA_STEPS and path[0] == "choices" and path[2] == "delta" and not slot.is_key:
            if choices is None:
                choices = decode_answer(_CHUNK, data).choices or ()
            part = _part(choices, path)
        found.append(
            Delta(path, slot.start, slot.end, slot.kind, slot.text(data), part, bool(part), slot.is_key)
        )
    return found


def _part(choices: Sequence[_Choice], path: Path) -> Path:
    """Where the provider gives no index, the place in the chunk is one."""
    place, rest = path[1], path[_DELTA_STEPS:]
    if not isinstance(place, int) or place >= len(choices):
        return ()
    choice = choices[place]
    calls = choice.delta.tool_calls if choice.delta is not None else None
    if rest[0] == "tool_calls" and len(rest) > 1 and isinstance(rest[1], int) and calls:
        index = calls[rest[1]].index
        rest = ("tool_calls", rest[1] if index is None else index, *rest[2:])
    return (place if choice.index is None else choice.index, *rest)


def is_answer_text(path: Path, part: Path = ()) -> bool:
    """Whether it is what the model says itself, in a whole answer or a chunk: what an output format
    is about. ``part``: of which it is a piece."""
    return path[0] == "choices" and path[_DELTA_STEPS:] == ("content",)
