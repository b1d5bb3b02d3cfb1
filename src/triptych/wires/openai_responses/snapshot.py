"""The response object around an answer's items: it tells its caller again what was asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from triptych.core.conversation import Stop
from triptych.core.usage import Usage
from triptych.wires.openai_responses.request import ResponsesRequest

Json = dict[str, Any]

INCOMPLETE: Mapping[Stop, str] = {
    Stop.MAX_TOKENS: "max_output_tokens",
    Stop.CONTEXT_WINDOW: "max_output_tokens",
    Stop.REFUSED: "content_filter",
}
"""Why an answer is not whole, in the words of ``incomplete_details.reason``."""

_NULL = b"null"
_FUNCTION_TYPE = b'"function"'
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
# What OpenAI answers with where nothing was said, or null; in the order in which it writes them.
_DEFAULTS: Json = {
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
# What a response tells of each function; null where the request said nothing.
_FUNCTION_FIELDS = ("description", "parameters", "strict")
# Objects of which single fields may be left out.
_PARTIAL = frozenset({"reasoning", "text"})


class Snapshot:
    """The response of one answer, as it is at any time of its making."""

    __slots__ = ("_fields",)

    def __init__(self, parsed: ResponsesRequest, answer_id: str, model: str, created_s: int) -> None:
        """Raises nothing: what of the request cannot be told again is told as if not said."""
        self._fields: Json = {
            "id": answer_id,
            "object": "response",
            "created_at": created_s,
            "status": "in_progress",
            "background": False,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": model,
            "output": [],
            "previous_response_id": parsed.previous_response_id,
            "store": parsed.store,
            **_echo(parsed),
            "usage": None,
            "metadata": {},
        }

    def started(self) -> bytes:
        return msgspec.json.encode(self._fields)

    def ended(
        self,
        output: Sequence[object],
        stop: Stop,
        usage: Usage | None,
        service_tier: str | None,
        output_text: str | None = None,
    ) -> bytes:
        """``output_text``: only a plain body has it, the vendor's clients make their own."""
        reason = INCOMPLETE.get(stop)
        changed: Json = {"output": output, "usage": None if usage is None else counts(usage)}
        changed["status"] = "incomplete" if reason else "completed"
        changed["incomplete_details"] = {"reason": reason} if reason else None
        if service_tier is not None:
            changed["service_tier"] = service_tier
        if output_text is not None:
            changed["output_text"] = output_text
        return msgspec.json.encode({**self._fields, **changed})

    def failed(self, output: Sequence[object], code: str, message: str) -> bytes:
        """``code`` is one of the vendor's closed list."""
        changed = {"status": "failed", "error": {"code": code, "message": message}, "output": output}
        return msgspec.json.encode({**self._fields, **changed})


def _echo(parsed: ResponsesRequest) -> Json:
    view = memoryview(parsed.body)
    echo = dict(_DEFAULTS)
    for member in parsed.members:
        if member.key not in echo:
            continue
        value = bytes(view[member.value_start : member.value_end])
        if value == _NULL:
            continue
        if member.key in _PARTIAL:
            echo[member.key] = _completed(_DEFAULTS[member.key], value)
        elif member.key == "tools":
            echo["tools"] = _tools(value)
        else:
            echo[member.key] = msgspec.Raw(value)
    return echo


def _tools(value: bytes) -> list[Json]:
    try:
        said = _OBJECTS.decode(value)
    except msgspec.ValidationError:
        return []
    return [
        _whole_function(tool) if bytes(tool.get("type", b"")) == _FUNCTION_TYPE else tool for tool in said
    ]


def _whole_function(said: Json) -> Json:
    return said | {name: None for name in _FUNCTION_FIELDS if name not in said}


def _completed(defaults: Json, value: bytes) -> Json:
    try:
        said = _OBJECT.decode(value)
    except msgspec.ValidationError:
        return defaults
    return {**defaults, **{name: raw for name, raw in said.items() if bytes(raw) != _NULL}}


def counts(usage: Usage) -> Json:
    """The vendor's usage object: what was read from and written to the cache is part of the input."""
    input_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": input_tokens + usage.output_tokens,
    }
