"""Requests: the core fields are validated, everything else is carried, never looked at."""

from typing import Annotated, Literal

import msgspec

from triptych.wires.estimate import asked_for
from triptych.wires.governed_fields import governing_edits, user_id
from triptych.wires.jsontext import Members, members
from triptych.wires.openai_responses.encrypted import foreign
from triptych.wires.openai_responses.refusal import ROLES, refusal
from triptych.wires.splice import Edit, replace_value, splice

_CONTENT_STARTS = b'"['
_FALSE = b"false"


class ResponsesRequest(msgspec.Struct, frozen=True):
    model: str
    stream: bool
    user_id: str | None
    """``metadata.user_id`` when that is a string."""
    store: bool
    """The client asked for its response to be kept. Absent means no, unlike at the provider."""
    conversation: str | None
    """Id of the conversation to be continued; never together with ``previous_response_id``."""
    previous_response_id: str | None
    members: Members
    body: bytes
    max_output_tokens: int | None = None

    @property
    def choices(self) -> int:
        return 1

    @property
    def stateless(self) -> bool:
        """Nothing of it is kept and nothing kept is asked for: the provider's answer is all."""
        return not (self.store or self.conversation or self.previous_response_id)


# gc=False: no item takes part in a cycle, and 16 bytes an instance are saved.
class _Item(msgspec.Struct, gc=False):
    type: Literal["message", "function_call", "function_call_output", "reasoning"] = "message"
    # Of messages only; items of the other types may have fields of these names, of any shape.
    role: object = None
    content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Thought(msgspec.Struct):
    type: str = ""
    encrypted_content: object = None


class _Tool(msgspec.Struct, gc=False):
    type: Literal["function", "mcp"]
    name: object = None


_Id = Annotated[str, msgspec.Meta(min_length=1)]


class _Conversation(msgspec.Struct):
    id: _Id


class _Asked(msgspec.Struct):
    model: Annotated[str, msgspec.Meta(min_length=1)]
    input: str | list[_Item]
    stream: bool = False
    # Null is "not set" in the vendor's schema: SDKs send it, clients copy it from an answer.
    store: bool | None = None
    background: bool | None = None
    conversation: _Id | _Conversation | None = None
    previous_response_id: _Id | None = None
    tools: list[_Tool] = []
    max_output_tokens: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_ASKED = msgspec.json.Decoder(_Asked)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_THOUGHT = msgspec.json.Decoder(_Thought)


def parse_request(body: bytes) -> ResponsesRequest:
    """Read a request.

    Raises Failure INVALID_BODY: not strict JSON, not an object, a top-level key twice, or a core
    field missing or wrong; UNSUPPORTED_PARAMETER for ``background: true``;
    MUTUALLY_EXCLUSIVE_PARAMETERS for ``conversation`` with ``previous_response_id``;
    UNSUPPORTED_TOOL_TYPE for a tool that is not a ``function``, nor an ``mcp`` of a request with
    state. ``param`` is the path of the field, such as ``input[0].role``, and the message of a
    missing field is ``<field> is required``.
    """
    found = members(body)
    try:
        asked = _ASKED.decode(body)
    except msgspec.ValidationError as error:
        raise refusal(body) from error
    conversation = asked.conversation
    request = ResponsesRequest(
        asked.model,
        asked.stream,
        user_id(asked.metadata),
        asked.store is True,
        conversation.id if isinstance(conversation, _Conversation) else conversation,
        asked.previous_response_id,
        found,
        body,
        asked_for(asked.max_output_tokens),
    )
    if not _acceptable(asked, request.stateless):
        raise refusal(body)
    return request


def _acceptable(asked: _Asked, stateless: bool) -> bool:
    """What the types alone do not say."""
    if asked.background or (asked.conversation is not None and asked.previous_response_id is not None):
        return False
    for tool in asked.tools:
        if tool.type == "mcp":
            if stateless:
                return False
        elif not (isinstance(tool.name, str) and tool.name):
            return False
    if isinstance(asked.input, str):
        return True
    for item in asked.input:
        if item.type == "message":
            content = item.content
            if item.role not in ROLES or content is msgspec.UNSET:
                return False
            if memoryview(content)[0] not in _CONTENT_STARTS:
                return False
    return True


def rewrite_request(request: ResponsesRequest, upstream_model: str) -> bytes:
    """The body as it goes to a provider: the model id it knows, without STRIPPED_FIELDS, and with
    ``store`` false: the provider's default is to keep what it is sent. What was said before, and is
    put in from our store, comes without the reasoning of other vendors: this one would refuse it.

    Every other byte stays; the very same object comes back when nothing has to change.
    """
    edits = governing_edits(request.members, request.model, upstream_model)
    edits += _unstored(request)
    if request.previous_response_id or request.conversation:
        edits += _own_thoughts(request)
    return splice(request.body, edits) if edits else request.body


def _own_thoughts(request: ResponsesRequest) -> list[Edit]:
    asked = request.members.named("input")
    text = request.body[asked.value_start : asked.value_end]
    if b'"encrypted_content"' not in text or not text.startswith(b"["):
        return []
    items = _ITEMS.decode(text)
    kept = [item for item in items if not _foreign_thought(item)]
    return [replace_value(asked, b"[%b]" % b",".join(kept))] if len(kept) < len(items) else []


def _foreign_thought(item: msgspec.Raw) -> bool:
    thought = _THOUGHT.decode(item)
    content = thought.encrypted_content
    return thought.type == "reasoning" and isinstance(content, str) and foreign(content)


def _unstored(request: ResponsesRequest) -> list[Edit]:
    if "store" in request.members.keys:
        member = request.members.named("store")
        # Null would be the provider's default.
        kept = request.body[member.value_start : member.value_end] == _FALSE
        return [] if kept else [replace_value(member, _FALSE)]
    # Behind the model, which always stays: what is removed around it takes its own comma along.
    model = request.members.named("model")
    return [Edit(model.value_end, model.value_end, b',"store":false')]
