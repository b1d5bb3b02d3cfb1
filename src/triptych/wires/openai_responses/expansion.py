"""A continued request as a provider must see it: everything said before, then what is new.

What was said before stands in our store, not at the provider: the items go into ``input`` before
the caller's own, and the two members that named them are taken out. No other byte changes.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from triptych.core.failure import Failure
from triptych.wires.estimate import UNREADABLE
from triptych.wires.jsontext import members
from triptych.wires.openai_responses.request import ResponsesRequest
from triptych.wires.splice import Edit, remove_members, splice

STATE_MEMBERS = ("previous_response_id", "conversation")
"""Members that mean something to this gateway's store, and nothing to a provider."""

# Of these the id only says where the provider kept the item; it keeps none of ours.
_UNNAMED = frozenset({"message", "function_call", "function_call_output"})


class _Item(msgspec.Struct):
    type: str = "message"
    call_id: str | None = None
    encrypted_content: object = None


_ITEM = msgspec.json.Decoder(_Item)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


class _Output(msgspec.Struct):
    output: list[msgspec.Raw] = []


_OUTPUT = msgspec.json.Decoder(_Output)


def asked_items(request: ResponsesRequest) -> list[msgspec.Raw]:
    """The items of the request's own ``input``, as they were sent; text is one message."""
    asked = _input(request)
    if asked.startswith(b'"'):
        return [msgspec.Raw(_message(asked))]
    return _ITEMS.decode(asked)


def answered_items(response: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The output items of a response; none, when it has none that can be read."""
    try:
        return _OUTPUT.decode(response).output
    except UNREADABLE:
        return []


def call_ids(items: Iterable[msgspec.Raw]) -> set[str]:
    """Of the calls among the items, and of the outputs."""
    found: set[str] = set()
    for item in items:
        try:
            call_id = _ITEM.decode(item).call_id
        except UNREADABLE:
            continue
        if call_id is not None:
            found.add(call_id)
    return found


def repeated(items: Iterable[msgspec.Raw], open_calls: Collection[str]) -> list[bytes]:
    """Earlier items, oldest first, as a provider takes them again from somebody who keeps them.

    Ids go: the provider would look the item up by it, and it was told to keep nothing. So does
    reasoning without its ``encrypted_content``, which only the id stands for, the output of a call
    that is not there any more, and a call whose output is not: no provider goes on from either.
    ``open_calls`` may still be without an output.
    """
    found: list[bytes] = []
    calls: set[str | None] = set()
    unanswered: dict[str | None, int] = {}
    for raw in items:
        item = bytes(raw)
        try:
            read = _ITEM.decode(item)
            found_members = members(item)
        except (*UNREADABLE, Failure):
            continue  # a provider's item of a shape of its own
        if read.type == "reasoning" and read.encrypted_content is None:
            continue
        if read.type == "function_call":
            calls.add(read.call_id)
        elif read.type == "function_call_output" and read.call_id not in calls:
            continue
        if read.type in _UNNAMED:
            item = splice(item, remove_members(found_members, ("id",)))
        if read.type == "function_call":
            unanswered[read.call_id] = len(found)
        elif read.type == "function_call_output":
            unanswered.pop(read.call_id, None)
        found.append(item)
    lost = {place for call_id, place in unanswered.items() if call_id not in open_calls}
    return [item for place, item in enumerate(found) if place not in lost]


def expanded(request: ResponsesRequest, earlier: Sequence[bytes]) -> ResponsesRequest:
    """The request with ``earlier`` before its input and without STATE_MEMBERS in its body. What it
    asked for (``previous_response_id``, ``conversation``) still stands in the struct.

    Raises Failure INVALID_BODY when the whole is more than a request may be (depth, values).
    """
    edits = remove_members(request.members, STATE_MEMBERS)
    if earlier:
        edits += _insertion(request, b",".join(earlier))
    body = splice(request.body, edits)
    return msgspec.structs.replace(request, body=body, members=members(body))


def _insertion(request: ResponsesRequest, items: bytes) -> list[Edit]:
    member = request.members.named("input")
    start, end = member.value_start, member.value_end
    asked = _input(request)
    if asked.startswith(b'"'):
        return [Edit(start, end, b"[%b,%b]" % (items, _message(asked)))]
    empty = not asked[1:-1].strip()
    return [Edit(start + 1, start + 1, items if empty else items + b",")]


def _input(request: ResponsesRequest) -> bytes:
    member = request.members.named("input")
    return request.body[member.value_start : member.value_end]


def _message(text: bytes) -> bytes:
    return b'{"type":"message","role":"user","content":%b}' % text
