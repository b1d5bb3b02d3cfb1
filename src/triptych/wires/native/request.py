"""A request of native chat: its own few fields, and no other."""

from collections.abc import Sequence

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires import faults
from triptych.wires.anthropic_messages.refusal import messages_fault
from triptych.wires.faults import wrong
from triptych.wires.jsontext import members

FIELDS = (
    "message",
    "messages",
    "model",
    "stream",
    "conversation_id",
    "store",
    "system",
    "max_tokens",
    "tools",
    "document_ids",
)
MAX_ID_CHARS = 64
_SHOWN_NAME_CHARS = 64
_encode = msgspec.json.encode


class NativeRequest(msgspec.Struct, frozen=True):
    messages: tuple[bytes, ...]
    """What is new, as messages of the Messages wire; JSON, as they were sent."""
    spoken: bool
    """Whether it came as one ``message`` of text."""
    model: str | None
    """None: the caller's default."""
    stream: bool
    store: bool
    conversation_id: str | None
    max_tokens: int | None
    system: bytes | None
    """JSON: a string, or text blocks."""
    tools: bytes | None
    """JSON: an array of tool definitions in Anthropic's format."""


def parse_request(body: bytes) -> NativeRequest:
    """Raises Failure INVALID_BODY (``param`` names the field), RESOURCE_NOT_FOUND for a document."""
    fields = {member.key: body[member.value_start : member.value_end] for member in members(body)}
    for name in fields:
        if name not in FIELDS:
            raise wrong(name[:_SHOWN_NAME_CHARS], "is not a field of chat")
    spoken = "message" in fields
    request = NativeRequest(
        _said(fields.get("message")) if spoken else _messages(fields.get("messages")),
        spoken,
        _text("model", fields.get("model")),
        _truth("stream", fields.get("stream"), default=True),
        _truth("store", fields.get("store"), default=True),
        _conversation(fields.get("conversation_id")),
        _tokens(fields.get("max_tokens")),
        _system(fields.get("system")),
        _tools(fields.get("tools")),
    )
    if spoken and "messages" in fields:
        raise wrong("messages", "and message exclude each other")
    _no_documents(fields.get("document_ids"))
    return request


def messages_body(asked: NativeRequest, model: str, earlier: Sequence[bytes]) -> bytes:
    """The request on the Messages wire, with what was said ``earlier`` in its conversation in front. It
    has a ``max_tokens`` only where the caller gave one."""
    pieces = [b'"model":' + _encode(model)]
    if asked.max_tokens is not None:
        pieces.append(b'"max_tokens":%d' % asked.max_tokens)
    if asked.stream:
        pieces.append(b'"stream":true')
    if asked.tools is not None:
        pieces.append(b'"tools":' + asked.tools)
    if asked.system is not None:
        pieces.append(b'"system":' + asked.system)
    pieces.append(b'"messages":[' + b",".join((*earlier, *asked.messages)) + b"]")
    return b"{" + b",".join(pieces) + b"}"


def own_name(asked: NativeRequest, earlier: int, path: str) -> str:
    """The caller's name of a field of :func:`messages_body`, where ``earlier`` messages are in front."""
    head, bracket, rest = path.partition("[")
    if head != "messages" or not bracket:
        return path
    number, _, inside = rest.partition("]")
    if not number.isdecimal():
        return "message" if asked.spoken else path
    index = int(number) - earlier
    if index < 0:
        return "conversation_id"
    return "message" if asked.spoken else f"messages[{index}]{inside}"


def _said(value: bytes | None) -> tuple[bytes, ...]:
    text = None if value is None else faults.text(msgspec.Raw(value))
    if not text:
        raise wrong("message", "must be a non-empty string")
    return (b'{"role":"user","content":' + bytes(value or b"") + b"}",)


def _messages(value: bytes | None) -> tuple[bytes, ...]:
    if value is None:
        raise wrong("message", "is required, or messages")
    raw = msgspec.Raw(value)
    fault = messages_fault(raw)
    if fault is not None:
        raise fault
    return tuple(bytes(item) for item in faults.array(raw) or ())


def _text(name: str, value: bytes | None) -> str | None:
    if value is None or value == b"null":
        return None
    text = faults.text(msgspec.Raw(value))
    if not text:
        raise wrong(name, "must be a non-empty string")
    return text


def _conversation(value: bytes | None) -> str | None:
    text = _text("conversation_id", value)
    if text is not None and len(text) > MAX_ID_CHARS:
        raise wrong("conversation_id", "is not the id of a conversation")
    return text


def _truth(name: str, value: bytes | None, *, default: bool) -> bool:
    if value is None:
        return default
    if value not in (b"true", b"false"):
        raise wrong(name, "must be true or false")
    return value == b"true"


def _tokens(value: bytes | None) -> int | None:
    if value is None or value == b"null":
        return None
    fault = faults.tokens("max_tokens", msgspec.Raw(value))
    if fault is not None:
        raise fault
    return int(msgspec.json.decode(value, type=int))


def _system(value: bytes | None) -> bytes | None:
    if value is None or value in (b"null", b'""', b"[]"):
        return None
    raw = msgspec.Raw(value)
    if faults.text(raw) is not None:
        return value
    blocks = faults.array(raw)
    if blocks is None:
        raise wrong("system", "must be a string or an array of text blocks")
    for index, block in enumerate(blocks):
        found = faults.fields(block)
        if found is None or faults.text(found.get("text", msgspec.Raw(b"0"))) is None:
            raise wrong(f"system[{index}]", "must be a text block")
    return value


def _tools(value: bytes | None) -> bytes | None:
    if value is None or value in (b"null", b"[]"):
        return None
    tools = faults.array(msgspec.Raw(value))
    if tools is None:
        raise wrong("tools", "must be an array of tool definitions")
    for index, tool in enumerate(tools):
        found = faults.fields(tool)
        if found is None:
            raise wrong(f"tools[{index}]", "must be an object")
        name = faults.text(found.get("name", msgspec.Raw(b"0")))
        if not name:
            raise wrong(f"tools[{index}].name", "must be a non-empty string")
        for member in ("type", "description"):
            given = found.get(member)
            if given is not None and bytes(given) != b"null" and faults.text(given) is None:
                raise wrong(f"tools[{index}].{member}", "must be a string")
        kind = found.get("type")
        client = kind is None or bytes(kind) in (b"null", b'"custom"')
        if client and (schema := found.get("input_schema")) is not None and faults.fields(schema) is None:
            raise wrong(f"tools[{index}].input_schema", "must be an object")
        if client and "input_schema" not in found:
            raise wrong(f"tools[{index}].input_schema", "is required")
    return value


def _no_documents(value: bytes | None) -> None:
    """There are no documents yet, so none of the ids can be found."""
    if value is None or value == b"null":
        return
    ids = faults.array(msgspec.Raw(value))
    if ids is None:
        raise wrong("document_ids", "must be an array of ids of documents")
    for index, id_ in enumerate(ids):
        if not faults.text(id_):
            raise wrong(f"document_ids[{index}]", "must be a non-empty string")
    if ids:
        raise Failure(
            FailureKind.RESOURCE_NOT_FOUND, "No such document is stored here.", param="document_ids[0]"
        )
