"""The request of a chat: what of it is the model's, on OpenAI's wire, and what is analysed."""

from collections.abc import Mapping
from typing import Any

import msgspec

from triptych.core.emotion import EMOTION_MODEL
from triptych.core.failure import Failure, FailureKind
from triptych.surfaces.emotion.body import (
    ROLES,
    check_context_id,
    check_emotion_model,
    check_messages,
    check_role,
    check_text,
    check_text_value,
    decoded,
    invalid,
    missing,
)
from triptych.surfaces.emotion.scoring import Analysed
from triptych.wires import openai_chat as chat_wire

# Bounds as OpenAI's wire has them: https://platform.openai.com/docs/api-reference/chat/create
_NUMBERS: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}
_MOST_TOKENS = 2**63 - 1
_encode = msgspec.json.encode


class ChatAsked(chat_wire.ChatRequest, frozen=True, kw_only=True):
    """A request of the chat wire, and what this surface does besides."""

    emotion_model: str
    context_id: bytes | None
    user_texts: tuple[str, ...]
    """What is to be analysed of it, the newest last: with a context, only what is new."""
    users: Analysed | None = None
    """What came of that, once it was analysed."""


class _Chat(msgspec.Struct):
    model: object = None
    emotion_model: object = None
    messages: object = None
    context_id: object = None
    model_params: object = None
    emotion_model_params: object = None
    stream: object = None
    tools: object = None
    tool_choice: object = None


_CHAT = msgspec.json.Decoder(_Chat)


def read_chat(body: bytes) -> ChatAsked:
    """Raises Failure: JSON, missing fields, values, the emotion model - in this order."""
    asked: _Chat = decoded(body, _CHAT)
    found = check_messages(asked.messages)
    if asked.model is None or asked.model == "":
        raise missing("model")
    if not isinstance(found, list):
        raise invalid("messages", "must be an array")
    for index, message in enumerate(found):
        _require_content(index, message)
    request: dict[str, Any] = {"model": check_text_value("model", asked.model)}
    emotion_model = EMOTION_MODEL
    if asked.emotion_model is not None:
        emotion_model = check_text_value("emotion_model", asked.emotion_model)
    request["messages"] = [_message(index, message) for index, message in enumerate(found)]
    request |= _model_params(asked.model_params)
    _object("emotion_model_params", asked.emotion_model_params)
    stream = asked.stream
    if stream is not None and not isinstance(stream, bool):
        raise invalid("stream", "must be true or false")
    if stream:
        request["stream"] = True
    if asked.tools is not None:
        request["tools"] = _objects("tools", asked.tools)
        if asked.tool_choice is not None:
            request["tool_choice"] = asked.tool_choice
    context_id = _context_id(asked.context_id)
    check_emotion_model(emotion_model, "emotion_model")
    texts = tuple(message["content"] for message in request["messages"] if message["role"] == "user")
    try:
        parsed = chat_wire.parse_request(_encode(request))
    except Failure as failure:
        raise in_own_names(failure) from None
    return ChatAsked(
        **{name: getattr(parsed, name) for name in parsed.__struct_fields__},
        emotion_model=emotion_model,
        context_id=context_id,
        user_texts=texts if context_id is None else texts[-1:],
    )


def in_own_names(failure: Failure) -> Failure:
    """What the wires say of the request they were given, said of the one that the caller sent."""
    param, kind = failure.param, failure.kind
    if param is None:
        return failure
    if kind is FailureKind.INVALID_BODY:
        kind = FailureKind.INVALID_VALUE  # it was JSON, and a field of it is wrong
    own = f"model_params.{param}" if param in _NUMBERS or param == "max_tokens" else param
    return Failure(kind, failure.message.replace(param, own), param=own, details=failure.details)


def _require_content(index: int, message: object) -> None:
    """Raises Failure MISSING_FIELD. Only an assistant that calls tools may have said nothing."""
    if not isinstance(message, dict):
        return
    content = message.get("content")
    if isinstance(content, dict) and content.get("text") in (None, ""):
        raise missing(f"messages[{index}].content.text")
    if (content is None or content == "") and not message.get("tool_calls"):
        raise missing(f"messages[{index}].content")


def _message(index: int, message: object) -> dict[str, Any]:
    path = f"messages[{index}]"
    if not isinstance(message, dict):
        raise invalid(path, "must be an object")
    # What a tool gave back belongs to a call; without one, it is a role that nobody has.
    call = message.get("tool_call_id")
    role = check_role(f"{path}.role", message.get("role"), ROLES if call is None else (*ROLES, "tool"))
    told: dict[str, Any] = {"role": role}
    content = message.get("content")
    if isinstance(content, dict):
        told["content"] = check_text(f"{path}.content.text", content["text"])
    elif content is not None and content != "":
        told["content"] = check_text(f"{path}.content", content)
    else:
        told["content"] = None
    if role == "tool":
        told["tool_call_id"] = check_text_value(f"{path}.tool_call_id", call)
    elif role == "assistant" and message.get("tool_calls"):
        told["tool_calls"] = _objects(f"{path}.tool_calls", message["tool_calls"])
    elif told["content"] is None:
        raise missing(f"{path}.content")
    return told


def _model_params(value: object) -> dict[str, Any]:
    """What of them a model may be told; others are ignored. Raises Failure INVALID_VALUE."""
    found = _object("model_params", value)
    params: dict[str, Any] = {}
    for name, (least, most) in _NUMBERS.items():
        number = found.get(name)
        if number is None:
            continue
        if not isinstance(number, int | float) or isinstance(number, bool) or not least <= number <= most:
            raise invalid(f"model_params.{name}", f"must be a number from {least:g} to {most:g}")
        params[name] = number
    tokens = found.get("max_tokens")
    if tokens is not None:
        if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= _MOST_TOKENS:
            raise invalid("model_params.max_tokens", "must be a positive integer")
        params["max_tokens"] = tokens
    return params


def _object(path: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(path, "must be an object")
    return value


def _objects(path: str, value: object) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(path, "must be an array of objects")
    return value


def _context_id(value: object) -> bytes | None:
    if value is None:
        return None
    raw = check_text_value("context_id", value).encode()
    check_context_id(raw)
    return raw
