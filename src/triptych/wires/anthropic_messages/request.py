"""Requests: the core fields are validated, everything else is carried, never looked at."""

from typing import Annotated, Literal

import msgspec

from triptych.wires.anthropic_messages.refusal import refusal
from triptych.wires.jsontext import Member, members
from triptych.wires.splice import Edit, remove_members, replace_value, splice

STRIPPED_FIELDS = ("metadata", "litellm_metadata", "proxy_server_request")
"""Members that never reach a provider: callers may not spoof governance data."""

_STRIPPED = frozenset(STRIPPED_FIELDS)


class MessagesRequest(msgspec.Struct, frozen=True):
    model: str
    stream: bool
    max_tokens: int | None
    """None only where it is optional: a request to count tokens."""
    user_id: str | None
    """``metadata.user_id`` when that is a string."""
    members: tuple[Member, ...]
    body: bytes


# gc=False: no content block takes part in a cycle, and 16 bytes an instance are saved.
class _Block(msgspec.Struct, gc=False):
    pass


class _Message(msgspec.Struct, gc=False):
    role: Literal["user", "assistant"]
    content: str | list[_Block]


_MaxTokens = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class _Counted(msgspec.Struct, kw_only=True):
    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    max_tokens: _MaxTokens | msgspec.UnsetType = msgspec.UNSET
    stream: bool = False
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Asked(_Counted, kw_only=True):
    max_tokens: _MaxTokens


class _Metadata(msgspec.Struct):
    user_id: str | None = None


_ASKED = msgspec.json.Decoder(_Asked)
_COUNTED = msgspec.json.Decoder(_Counted)
_METADATA = msgspec.json.Decoder(_Metadata)


def parse_request(body: bytes, *, counting: bool) -> MessagesRequest:
    """Read a request; ``counting`` is one to ``/v1/messages/count_tokens``.

    Raises Failure INVALID_BODY: not strict JSON, not an object, a top-level key twice, or a core
    field missing or wrong. ``param`` is then the path of the field, such as
    ``messages[0].content``, and the message of a missing field is ``<field> is required``.
    """
    found = members(body)
    try:
        request = _COUNTED.decode(body) if counting else _ASKED.decode(body)
    except msgspec.ValidationError as error:
        raise refusal(body, counting=counting) from error
    max_tokens = request.max_tokens
    return MessagesRequest(
        request.model,
        request.stream,
        None if max_tokens is msgspec.UNSET else max_tokens,
        None if request.metadata is msgspec.UNSET else _user_id(request.metadata),
        found,
        body,
    )


def _user_id(metadata: msgspec.Raw) -> str | None:
    try:
        return _METADATA.decode(metadata).user_id
    except msgspec.ValidationError:
        return None


def rewrite_request(request: MessagesRequest, upstream_model: str) -> bytes:
    """The body as it goes to a provider: the model id it knows, without STRIPPED_FIELDS.

    Every other byte stays; the very same object comes back when nothing has to change.
    """
    edits: list[Edit] = []
    rename = request.model != upstream_model
    for member in request.members:
        if member.key in _STRIPPED:
            edits = remove_members(request.members, _STRIPPED)
            break
    if rename:
        model = next(member for member in request.members if member.key == "model")
        edits.append(replace_value(model, msgspec.json.encode(upstream_model)))
    return splice(request.body, edits) if edits else request.body
