"""Why a request is refused, in one sentence."""

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires import faults
from triptych.wires.faults import wrong

ROLES = ("user", "assistant", "system", "developer")
ITEM_TYPES = ("message", "function_call", "function_call_output", "reasoning")
TOOL_TYPES = ("function", "mcp")

_REQUIRED = ("model", "input")
_SHOWN_TYPE_CHARS = 64
# What clients send that take it for granted that an answer was kept: at the vendor's it is, by default.
_NO_REFERENCES = (
    "must not be item_reference: items are not looked up here. Send the item itself, as clients do that are "
    "told store false"
)
_NULL, _TRUE, _FALSE = b"null", b"true", b"false"


def _one_of(words: tuple[str, ...]) -> str:
    return "must be one of " + ", ".join(f'"{word}"' for word in words)


def refusal(body: bytes) -> Failure:
    """The first fault of a body that is a JSON object but not a valid request."""
    fields = faults.fields(body) or {}
    for name in _REQUIRED:
        if name not in fields:
            return wrong(name, "is required")
    return (
        faults.model(fields["model"])
        or faults.stream(fields.get("stream"))
        or _store(fields.get("store"))
        or _background(fields.get("background"))
        or _state(fields)
        or _input(fields["input"])
        or _tools(fields.get("tools"), stateless=_stateless(fields))
        or Failure(FailureKind.INVALID_BODY)
    )


def _store(raw: msgspec.Raw | None) -> Failure | None:
    if raw is None or bytes(raw) in (_TRUE, _FALSE, _NULL):
        return None
    return wrong("store", "must be true or false")


def _background(raw: msgspec.Raw | None) -> Failure | None:
    if raw is None or bytes(raw) in (_FALSE, _NULL):
        return None
    if bytes(raw) != _TRUE:
        return wrong("background", "must be true or false")
    return Failure(
        FailureKind.UNSUPPORTED_PARAMETER,
        "background is not supported: leave it out, and stream the response instead",
        param="background",
    )


def _given(raw: msgspec.Raw | None) -> bool:
    return raw is not None and bytes(raw) != _NULL


def _state(fields: dict[str, msgspec.Raw]) -> Failure | None:
    previous, conversation = fields.get("previous_response_id"), fields.get("conversation")
    if previous is not None and _given(previous) and not faults.text(previous):
        return wrong("previous_response_id", "must be a non-empty string")
    if conversation is None or not _given(conversation):
        return None
    inner = faults.fields(conversation)
    if inner is None:
        if not faults.text(conversation):
            return wrong("conversation", 'must be the id of a conversation, or {"id": the same}')
    elif "id" not in inner:
        return wrong("conversation.id", "is required")
    elif not faults.text(inner["id"]):
        return wrong("conversation.id", "must be a non-empty string")
    if _given(previous):
        return Failure(
            FailureKind.MUTUALLY_EXCLUSIVE_PARAMETERS,
            "previous_response_id and conversation exclude each other: send one of them",
            param="previous_response_id",
        )
    return None


def _stateless(fields: dict[str, msgspec.Raw]) -> bool:
    store = fields.get("store")
    return not (
        (store is not None and bytes(store) == _TRUE)
        or _given(fields.get("conversation"))
        or _given(fields.get("previous_response_id"))
    )


def _input(raw: msgspec.Raw) -> Failure | None:
    if faults.text(raw) is not None:
        return None
    items = faults.array(raw)
    if items is None:
        return wrong("input", "must be a string or an array of items")
    for index, item in enumerate(items):
        failure = _item(f"input[{index}]", item)
        if failure is not None:
            return failure
    return None


def _item(path: str, raw: msgspec.Raw) -> Failure | None:
    fields = faults.fields(raw)
    if fields is None:
        return wrong(path, "must be an object")
    if "type" in fields:
        type_ = faults.text(fields["type"])
        if type_ == "item_reference":
            return wrong(f"{path}.type", _NO_REFERENCES)
        if type_ not in ITEM_TYPES:
            return wrong(f"{path}.type", _one_of(ITEM_TYPES))
        if type_ != "message":
            return None
    for name in ("role", "content"):
        if name not in fields:
            return wrong(f"{path}.{name}", "is required")
    if faults.text(fields["role"]) not in ROLES:
        return wrong(f"{path}.role", _one_of(ROLES))
    content = fields["content"]
    if faults.text(content) is None and faults.array(content) is None:
        return wrong(f"{path}.content", "must be a string or an array of content parts")
    return None


def _tools(raw: msgspec.Raw | None, *, stateless: bool) -> Failure | None:
    if raw is None:
        return None
    tools = faults.array(raw)
    if tools is None:
        return wrong("tools", "must be an array")
    for index, tool in enumerate(tools):
        failure = _tool(f"tools[{index}]", tool, stateless=stateless)
        if failure is not None:
            return failure
    return None


def _tool(path: str, raw: msgspec.Raw, *, stateless: bool) -> Failure | None:
    fields = faults.fields(raw)
    if fields is None:
        return wrong(path, "must be an object")
    if "type" not in fields:
        return wrong(f"{path}.type", "is required")
    type_ = faults.text(fields["type"])
    if type_ is None:
        return wrong(f"{path}.type", "must be a string")
    if type_ not in TOOL_TYPES:
        shown = type_ if len(type_) <= _SHOWN_TYPE_CHARS else type_[:_SHOWN_TYPE_CHARS] + "…"
        return _unsupported(path, f"The tool type '{shown}' is not supported: use 'function'.")
    if type_ == "mcp":
        sentence = "The tool type 'mcp' is not supported in a request without state: use 'function'."
        return _unsupported(path, sentence) if stateless else None
    if "name" not in fields:
        return wrong(f"{path}.name", "is required")
    if not faults.text(fields["name"]):
        return wrong(f"{path}.name", "must be a non-empty string")
    return None


def _unsupported(path: str, sentence: str) -> Failure:
    return Failure(FailureKind.UNSUPPORTED_TOOL_TYPE, sentence, param=f"{path}.type")
