"""Requests: the core fields are validated, everything else is carried, never looked at."""

from typing import Annotated, Literal

import msgspec

from triptych.wires.anthropic_messages.refusal import refusal
from triptych.wires.governed_fields import governing_edits, user_id
from triptych.wires.jsontext import Members, members
from triptych.wires.splice import splice


class MessagesRequest(msgspec.Struct, frozen=True):
    model: str
    stream: bool
    max_tokens: int | None
    """None only where it is optional: a request to count tokens."""
    user_id: str | None
    """``metadata.user_id`` when that is a string."""
    members: Members
    body: bytes

    @property
    def max_output_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def choices(self) -> int:
        return 1


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


_ASKED = msgspec.json.Decoder(_Asked)
_COUNTED = msgspec.json.Decoder(_Counted)


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
        user_id(request.metadata),
        found,
        body,
    )


def rewrite_request(request: MessagesRequest, upstream_model: str) -> bytes:
    """The body as it goes to a provider: the model id it knows, without STRIPPED_FIELDS.

    Every other byte stays; the very same object comes back when nothing has to change.
    """
    edits = governing_edits(request.members, request.model, upstream_model)
    return splice(request.body, edits) if edits else request.body
