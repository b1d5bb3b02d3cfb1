"""Requests: JSON, then the fields that must be there, then their values. Unknown fields are ignored."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from triptych.core.emotion import EMOTION_MODEL
from triptych.core.failure import Failure, FailureKind
from triptych.edge.app import body_too_large
from triptych.wires.jsontext import members

MAX_BODY_BYTES = 1 << 20
MAX_MESSAGES = 100
MAX_TEXT_CHARS = 10_000
MAX_ID_BYTES = 128
"""Of a context's id and of a message's, in UTF-8."""
ROLES = ("user", "assistant", "system")
RESERVED = (b"analysis", b"batch-analysis")
"""Words of paths: no context can be called so."""
_ID_NAMES = ("externalId", "external_id", "messageId")

K = FailureKind


class Message(msgspec.Struct, frozen=True, gc=False):
    index: int
    role: str
    text: str
    external_id: str | None


class Asked(msgspec.Struct, frozen=True):
    model: str
    messages: tuple[Message, ...]


class Item(msgspec.Struct, frozen=True):
    """One text of a batch: good, or what is wrong with it."""

    index: int
    external_id: str | None
    message: Message | None
    failure: Failure | None


class Batch(msgspec.Struct, frozen=True):
    model: str
    items: tuple[Item, ...]


class _Members(msgspec.Struct):
    model: object = None
    messages: object = None


_MEMBERS = msgspec.json.Decoder(_Members)


def check_size(body_bytes: int) -> None:
    """Raises Failure PAYLOAD_TOO_LARGE."""
    if body_bytes > MAX_BODY_BYTES:
        raise body_too_large(MAX_BODY_BYTES)


def read_analysis(body: bytes, context_id: bytes | None = None) -> Asked:
    """Raises Failure: what the contract lists from JSON to model, in its order; ``context_id``, of the
    path, is a value like any other."""
    model, found = _start(body, _MEMBERS)
    for index, message in enumerate(found):
        _require_fields(index, message)
    if context_id is not None:
        check_context_id(context_id)
    name = check_text_value("model", model)
    messages = tuple(_message(index, message) for index, message in enumerate(found))
    check_emotion_model(name, "model")
    return Asked(name, messages)


def read_batch(body: bytes) -> Batch:
    """Raises Failure as ``read_analysis``, but for what is wrong with a single message."""
    model, found = _start(body, _MEMBERS)
    name = check_text_value("model", model)
    check_emotion_model(name, "model")
    return Batch(name, tuple(_item(index, message) for index, message in enumerate(found)))


def check_context_id(raw: bytes) -> None:
    """Raises Failure INVALID_CONTEXT_ID."""
    if raw in RESERVED:
        raise _invalid_id(f"'{raw.decode()}' is a reserved word and cannot be the id of a context.")
    if not 0 < len(raw) <= MAX_ID_BYTES:
        raise _invalid_id(f"The context id must have 1 to {MAX_ID_BYTES} bytes of UTF-8.")
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise _invalid_id("The context id is not UTF-8.") from None


def check_emotion_model(model: str, param: str) -> None:
    """Raises Failure MODEL_NOT_FOUND."""
    if model != EMOTION_MODEL:
        raise Failure(K.MODEL_NOT_FOUND, f"Model '{model[:200]}' not found.", param=param)


def decoded(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """The known members of a JSON object. Raises Failure INVALID_JSON, INVALID_BODY."""
    members(body)
    try:
        return decoder.decode(body)
    except msgspec.DecodeError:  # a number that no machine has
        raise Failure(K.INVALID_JSON, "The request body holds a number out of range.") from None


def missing(path: str) -> Failure:
    return Failure(K.MISSING_FIELD, f"The '{path}' field is required", param=path)


def invalid(path: str, what: str) -> Failure:
    return Failure(K.INVALID_VALUE, f"{path} {what}", param=path)


def check_messages(value: object) -> list[object]:
    """Absent, null or empty is missing; then their number. Raises Failure."""
    if value is None or value == []:
        raise missing("messages")
    if isinstance(value, list) and len(value) > MAX_MESSAGES:
        raise Failure(
            K.PAYLOAD_TOO_LARGE,
            f"messages has {len(value)} entries; the limit is {MAX_MESSAGES}. Split the request.",
            param="messages",
        )
    return value  # type: ignore[return-value]  # what it is, is looked at after all fields are there


def check_text_value(path: str, value: object) -> str:
    if not isinstance(value, str):
        raise invalid(path, "must be a string")
    return value


def check_role(path: str, value: object, roles: Sequence[str] = ROLES) -> str:
    """Absent is the user's. Raises Failure INVALID_ROLE, INVALID_VALUE."""
    if value is None:
        return "user"
    if not isinstance(value, str):
        raise invalid(path, "must be a string")
    if value not in roles:
        raise Failure(K.INVALID_ROLE, f"{path} must be one of {', '.join(ROLES)}", param=path)
    return value


def check_text(path: str, text: object) -> str:
    """Raises Failure INVALID_VALUE, TEXT_TOO_LONG."""
    if not isinstance(text, str):
        raise invalid(path, "must be a string")
    if len(text) > MAX_TEXT_CHARS:
        raise Failure(
            K.TEXT_TOO_LONG,
            f"{path} has {len(text)} characters; the limit is {MAX_TEXT_CHARS}",
            param=path,
        )
    if text.isspace():
        raise invalid(path, "must not be blank")
    return text


def _start(body: bytes, decoder: msgspec.json.Decoder[Any]) -> tuple[object, list[object]]:
    """Model and messages, both there; of the right number, and messages an array."""
    asked = decoded(body, decoder)
    found = check_messages(asked.messages)
    if asked.model is None or asked.model == "":
        raise missing("model")
    if not isinstance(found, list):
        raise invalid("messages", "must be an array")
    return asked.model, found


def _require_fields(index: int, message: object) -> None:
    """Raises Failure MISSING_FIELD. What is no object is no missing field."""
    if not isinstance(message, dict):
        return
    content = message.get("content")
    if content is None or content == "":
        raise missing(f"messages[{index}].content")
    if isinstance(content, dict) and content.get("text") in (None, ""):
        raise missing(f"messages[{index}].content.text")


def _message(index: int, message: object) -> Message:
    path = f"messages[{index}]"
    if not isinstance(message, dict):
        raise invalid(path, "must be an object")
    role = check_role(f"{path}.role", message.get("role"))
    external_id = _external_id(path, message)
    content = message["content"]
    if isinstance(content, dict):
        text = check_text(f"{path}.content.text", content["text"])
    elif isinstance(content, str):
        text = check_text(f"{path}.content", content)
    else:
        raise invalid(f"{path}.content", "must be an object with a text, or a string")
    _check_timestamp(f"{path}.timestamp", message.get("timestamp"))
    return Message(index, role, text, external_id)


def _item(index: int, message: object) -> Item:
    """What can be told of a bad one: its place, and its id where that is good."""
    try:
        _require_fields(index, message)
        good = _message(index, message)
        return Item(index, good.external_id, good, None)
    except Failure as failure:
        return Item(index, _known_id(message), None, failure)


def _known_id(message: object) -> str | None:
    try:
        return _external_id("", message) if isinstance(message, dict) else None
    except Failure:
        return None


def _external_id(path: str, message: Mapping[str, object]) -> str | None:
    for name in _ID_NAMES:
        value = message.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise invalid(f"{path}.{name}", "must be a string")
        if not 0 < len(value.encode()) <= MAX_ID_BYTES:
            raise invalid(f"{path}.{name}", f"must have 1 to {MAX_ID_BYTES} bytes of UTF-8")
        return value
    return None


def _check_timestamp(path: str, value: object) -> None:
    if value is None:
        return
    try:
        parse: Callable[[Any], object] = datetime.fromisoformat
        parse(value)
    except (TypeError, ValueError):
        raise invalid(path, "must be a time in ISO 8601, such as 2026-01-31T12:00:00Z") from None


def _invalid_id(message: str) -> Failure:
    return Failure(K.INVALID_CONTEXT_ID, message, param="context_id")
