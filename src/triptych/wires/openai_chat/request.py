"""Requests: the core fields are validated, everything else is carried, never looked at."""

from typing import Annotated

import msgspec

from triptych.core.failure import Failure
from triptych.wires.estimate import asked_for
from triptych.wires.faults import wrong
from triptych.wires.governed_fields import governing_edits, user_id
from triptych.wires.jsontext import Members, members
from triptych.wires.openai_chat.refusal import refusal
from triptych.wires.splice import Edit, splice

_ASK = b'"include_usage":true'
_BRACE = b"{"


class ChatRequest(msgspec.Struct, frozen=True):
    model: str
    stream: bool
    user_id: str | None
    """``metadata.user_id`` when that is a string."""
    include_usage: bool
    """The client asked for the usage of its stream (``stream_options.include_usage``)."""
    members: Members
    body: bytes
    asking: Edit | None = None
    """Of a streamed request that does not ask for its usage: the edit after which it does."""
    max_output_tokens: int | None = None
    """Of each choice; the greater one of ``max_completion_tokens`` and ``max_tokens``."""
    choices: int = 1
    """How many answers are asked for (``n``)."""


# One class per role, told apart in C: only a tool's message has a field of its own.
# gc=False: no message takes part in a cycle, and 16 bytes an instance are saved.
class _System(msgspec.Struct, gc=False, tag_field="role", tag="system"):
    pass


class _Developer(msgspec.Struct, gc=False, tag_field="role", tag="developer"):
    pass


class _User(msgspec.Struct, gc=False, tag_field="role", tag="user"):
    pass


class _Assistant(msgspec.Struct, gc=False, tag_field="role", tag="assistant"):
    pass


class _Tool(msgspec.Struct, gc=False, tag_field="role", tag="tool"):
    tool_call_id: str


_Message = _System | _Developer | _User | _Assistant | _Tool


class _Asked(msgspec.Struct):
    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    # Not core fields: the provider says what is wrong with them.
    max_tokens: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    max_completion_tokens: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    n: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    stream: bool = False
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_ASKED = msgspec.json.Decoder(_Asked)


def parse_request(body: bytes) -> ChatRequest:
    """Read a request.

    Raises Failure INVALID_BODY: not strict JSON, not an object, a top-level key twice, or a core
    field missing or wrong. ``param`` is then the path of the field, such as
    ``messages[0].tool_call_id``, and the message of a missing field is ``<field> is required``.
    """
    found = members(body)
    try:
        request = _ASKED.decode(body)
    except msgspec.ValidationError as error:
        raise refusal(body) from error
    asking = _asking(body, found) if request.stream else None
    return ChatRequest(
        request.model,
        request.stream,
        user_id(request.metadata),
        request.stream and asking is None,
        found,
        body,
        asking,
        _greater(asked_for(request.max_completion_tokens), asked_for(request.max_tokens)),
        asked_for(request.n) or 1,
    )


def with_body(request: ChatRequest, body: bytes) -> ChatRequest:
    """The request with another body, in which only strings of its content differ."""
    found = members(body)
    asking = None if request.asking is None else _asking(body, found)
    return msgspec.structs.replace(request, body=body, members=found, asking=asking)


def _greater(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def _asking(body: bytes, found: Members) -> Edit | None:
    """The edit that asks for the usage of a stream; None when the client does so itself."""
    options = next((member for member in found if member.key == "stream_options"), None)
    if options is None:
        end = found[-1].value_end
        return Edit(end, end, b',"stream_options":{%b}' % _ASK)
    start, end = options.value_start, options.value_end
    value = body[start:end]
    if value == b"null":
        return Edit(start, end, b"{%b}" % _ASK)
    if not value.startswith(_BRACE):
        raise wrong("stream_options", "must be an object")
    try:
        inner = members(value)
    except Failure:
        raise wrong("stream_options", "must be an object in which no key occurs twice") from None
    for member in inner:
        if member.key == "include_usage":
            asked = value[member.value_start : member.value_end]
            if asked == b"true":
                return None
            if asked not in (b"false", b"null"):
                raise wrong("stream_options.include_usage", "must be true or false")
            return Edit(start + member.value_start, start + member.value_end, b"true")
    if not inner:
        return Edit(start + 1, start + 1, _ASK)
    last = start + inner[-1].value_end
    return Edit(last, last, b"," + _ASK)


def rewrite_request(request: ChatRequest, upstream_model: str) -> bytes:
    """The body as it goes to a provider: the model id it knows, without STRIPPED_FIELDS, a stream
    with its usage.

    Every other byte stays; the very same object comes back when nothing has to change.
    """
    edits = governing_edits(request.members, request.model, upstream_model)
    if request.asking is not None:
        edits.append(request.asking)
    return splice(request.body, edits) if edits else request.body
