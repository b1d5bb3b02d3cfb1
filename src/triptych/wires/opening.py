"""How a stream opens, on any wire: what comes before the model's first words.

Until then nothing is lost when the stream is given up and another provider is asked. Sources:
https://docs.anthropic.com/en/api/messages-streaming,
https://platform.openai.com/docs/api-reference/chat-streaming and .../responses-streaming.
"""

from typing import Any

import msgspec

from triptych.wires.sse import BLOCK_END, BOM, parse_block

_OPENING_TYPES = frozenset(
    {
        "ping",
        "message_start",
        "message.created",
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
    }
)
_EMPTY: tuple[Any, ...] = (None, "", [], {})


def bears_content(events: bytes) -> bool:
    """Whether one of these whole events tells of anything the model said, or of an end.

    What cannot be read counts as content: it is the client's to judge.
    """
    start = 0
    events = events.removeprefix(BOM)
    for end in BLOCK_END.finditer(events):
        event = parse_block(events[start : end.end()])
        start = end.end()
        if event is not None and not _opens(event.type, event.data):
            return True
    return bool(events[start:].strip())


def begins_readable(events: bytes) -> bool:
    """Whether the first of these whole events that does not merely open a stream can be read."""
    start = 0
    events = events.removeprefix(BOM)
    for end in BLOCK_END.finditer(events):
        event = parse_block(events[start : end.end()])
        start = end.end()
        if event is not None and not _opens(event.type, event.data):
            return event.data.lstrip().startswith(b"[DONE]") or _said(event.data) is not None
    return True


def _said(data: bytes) -> dict[str, Any] | None:
    try:
        said: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _opens(type_: str, data: bytes) -> bool:
    said = _said(data)
    if said is None:
        return False
    named = said.get("type")
    type_ = type_ or (named if isinstance(named, str) else "")
    if type_ == "content_block_start":
        block = said.get("content_block")
        return isinstance(block, dict) and _is_bare(block, "type", "citations", "signature")
    if type_:
        return type_ in _OPENING_TYPES
    return _chunk_opens(said)


def _chunk_opens(chunk: dict[str, Any]) -> bool:
    """A chunk of Chat Completions: the role, what a content filter found, nothing else."""
    choices = chunk.get("choices")
    if not isinstance(choices, list) or chunk.get("error"):
        return False
    if not choices:
        return chunk.get("usage") is None
    return all(
        isinstance(choice, dict)
        and choice.get("finish_reason") is None
        and isinstance(choice.get("delta", {}), dict)
        and _is_bare(choice.get("delta", {}), "role")
        for choice in choices
    )


def _is_bare(said: dict[str, Any], *apart: str) -> bool:
    return all(name in apart or value in _EMPTY for name, value in said.items())
