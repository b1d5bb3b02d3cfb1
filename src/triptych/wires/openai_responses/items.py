"""The items of a conversation, as OpenAI lists them: each has an id and its content in parts.

https://platform.openai.com/docs/api-reference/conversations/list-items
"""

from collections.abc import Sequence

import msgspec

from triptych.wires.estimate import UNREADABLE

_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_COMPLETED = msgspec.Raw(b'"completed"')
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Head(msgspec.Struct):
    type: str = "message"
    id: str | None = None
    role: str = "user"


_HEAD = msgspec.json.Decoder(_Head)


class Item(msgspec.Struct, frozen=True):
    id: str
    is_message: bool
    text: msgspec.Raw
    """JSON."""


class Page(msgspec.Struct, frozen=True):
    items: Sequence[Item]
    has_more: bool


def listed(raw: msgspec.Raw, turn_id: str, place: int) -> Item | None:
    """One item of a turn. What was sent without an id gets one that is always the same. None for
    what cannot be read."""
    try:
        head = _HEAD.decode(raw)
        fields = _OBJECT.decode(raw)
    except UNREADABLE:
        return None
    is_message = head.type == "message"
    identity = head.id or f"{_PREFIXES.get(head.type, 'item')}_{turn_id.lower()}{place:04d}"
    shown: dict[str, object] = {"id": identity, "type": head.type, "status": _COMPLETED, **fields}
    shown["id"] = identity
    content = fields.get("content")
    if is_message and content is not None and bytes(content).startswith(b'"'):
        kind = "output_text" if head.role == "assistant" else "input_text"
        part: dict[str, object] = {"type": kind, "text": content}
        if kind == "output_text":
            part["annotations"] = []
        shown["content"] = [part]
    return Item(identity, is_message, msgspec.Raw(msgspec.json.encode(shown)))


def page(items: Sequence[Item], *, limit: int, after: str | None) -> Page | None:
    """At most ``limit`` messages and what stands between them, behind the item ``after``. None when
    there is no such item."""
    start = 0
    if after is not None:
        places = [place for place, item in enumerate(items) if item.id == after]
        if not places:
            return None
        start = places[-1] + 1
    messages = 0
    for end in range(start, len(items)):
        messages += items[end].is_message
        if messages > limit:
            return Page(items[start:end], True)
    return Page(items[start:], False)
