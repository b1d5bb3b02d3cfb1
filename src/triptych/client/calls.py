"""Each operation as a value: what is sent, and what its answer is read as. Sends nothing itself."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlsplit
from uuid import uuid4

import msgspec

from triptych.client.errors import TriptychError
from triptych.client.types import (
    Analysis,
    ApiKey,
    BatchAnalysis,
    BothSides,
    Chat,
    ContextMessage,
    ContextState,
    ConversationMode,
    EmotionCompletion,
    EmotionModel,
    Page,
)

T = TypeVar("T")

EMOTION_MODEL = "emotion-v2"
MOST_IN_A_PAGE = 200
Text = str | Mapping[str, Any]
"""A text of the user's, or a message as the surface takes it."""


class Call(msgspec.Struct, Generic[T]):
    method: str
    path: str
    read: Callable[[bytes], T]
    body: bytes | None = None
    query: Mapping[str, str | int] = {}
    idempotency_key: str | None = None
    """On every POST, the same on every try: what was done once is not done twice."""


def gateway_url(base_url: str) -> str:
    """The URL without a slash at its end. Raises TriptychError where it is none."""
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        usable = usable and base_url.isprintable() and " " not in base_url
    except ValueError:  # what a port or an address in brackets must be
        usable = False
    if not usable:
        raise TriptychError(f"base_url must be like http://127.0.0.1:8080, not {base_url!r}.")
    return base_url.rstrip("/")


def request_headers(call: Call[Any], api_key: str, stream: bool) -> dict[str, str]:
    """Raises TriptychError where a value is none that a header can carry."""
    headers = {"x-api-key": api_key, "accept": "text/event-stream" if stream else "application/json"}
    if call.body is not None:
        headers["content-type"] = "application/json"
    if call.idempotency_key is not None:
        headers["idempotency-key"] = call.idempotency_key
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            # The value may be a secret.
            raise TriptychError(
                f"The {name} holds a line break, a space at an end or a character outside ASCII: nothing was "
                "sent. Was it read from a file, with the end of its line?"
            )
    return headers


def _reader(type_: type[T]) -> Callable[[bytes], T]:
    return msgspec.json.Decoder(type_).decode


def _data(type_: Any) -> Callable[[bytes], Any]:
    """What stands in ``data``."""

    def read(body: bytes) -> Any:
        return msgspec.convert(msgspec.json.decode(body)["data"], type_)

    return read


def _nothing(body: bytes) -> None:
    """What is done is told without a word: a page of somebody between is no such answer."""
    if body:
        raise msgspec.DecodeError("expected an empty answer")


def _post(path: str, body: Mapping[str, Any], read: Callable[[bytes], T], key: str | None = None) -> Call[T]:
    given = {name: value for name, value in body.items() if value is not None}
    return Call("POST", path, read, _json(given), idempotency_key=key or str(uuid4()))


def _json(body: Mapping[str, Any]) -> bytes:
    """Raises TriptychError. NaN and infinity, which other encoders write as null, are refused: null takes a
    cap away."""
    try:
        text = json.dumps(
            msgspec.to_builtins(body), allow_nan=False, ensure_ascii=False, separators=(",", ":")
        )
        return text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise TriptychError(
            f"What was to be sent cannot be written as JSON: {error}. Nothing was sent."
        ) from error


# -- emotion -----------------------------------------------------------------------------------


def analyse(
    texts: Sequence[Text], context_id: str | None, model: str, key: str | None = None
) -> Call[Analysis]:
    place = "" if context_id is None else f"/{_segment(context_id)}"
    body = {"model": model, "messages": _messages(texts)}
    return _post(f"/v2/emotions{place}/analysis", body, _reader(Analysis), key)


def analyse_batch(texts: Sequence[Text], model: str, key: str | None = None) -> Call[BatchAnalysis]:
    body = {"model": model, "messages": _messages(texts)}
    return _post("/v2/emotions/batch-analysis", body, _reader(BatchAnalysis), key)


def context(context_id: str) -> Call[ContextState]:
    return Call("GET", f"/v2/emotions/{_segment(context_id)}", _reader(ContextState))


def context_message(context_id: str, external_id: str) -> Call[ContextMessage]:
    path = f"/v2/emotions/{_segment(context_id)}/message/{_segment(external_id)}"
    return Call("GET", path, _reader(ContextMessage))


def forget(context_id: str) -> Call[None]:
    return Call("DELETE", f"/v2/emotions/{_segment(context_id)}", _nothing)


def emotion_chat(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: bool,
    context_id: str | None = None,
    model_params: Mapping[str, Any] | None = None,
    emotion_model: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    key: str | None = None,
) -> Call[EmotionCompletion]:
    body = {
        "model": model,
        "emotion_model": emotion_model,
        "messages": messages,
        "context_id": context_id,
        "model_params": model_params,
        "tools": tools,
        "stream": stream or None,
    }
    return _post("/v2/chat/completions", body, _read_completion, key)


def emotion_models() -> Call[list[EmotionModel]]:
    return Call("GET", "/v2/models", _data(list[EmotionModel]))


def emotion_status() -> Call[dict[str, Any]]:
    return Call("GET", "/v2/status", _reader(dict[str, Any]))


def _read_completion(body: bytes) -> EmotionCompletion:
    told = msgspec.json.decode(body)
    return EmotionCompletion(
        emotions=msgspec.convert(told["emotions"], BothSides),
        mode=msgspec.convert(told["conversationMode"], ConversationMode),
        usage=msgspec.convert(told.get("usage") or {}, dict[str, Any]),
        choices=msgspec.convert(told.get("choices") or [], list[dict[str, Any]]),
        model=told.get("model") or "",
        id=told.get("id") or "",
        trajectory=told.get("trajectory") or {},
    )


def _messages(texts: Sequence[Text]) -> list[Mapping[str, Any]]:
    return [{"content": {"text": text}} if isinstance(text, str) else text for text in texts]


# -- clinical ----------------------------------------------------------------------------------


def chat(
    message: str | Sequence[Mapping[str, Any]], *, stream: bool, key: str | None, **options: Any
) -> Call[Chat]:
    """``message``: a text, or all messages."""
    told = {"message": message} if isinstance(message, str) else {"messages": message}
    return _post("/v1/ai/chat", {**told, "stream": stream, **options}, _reader(Chat), key)


def record(message_id: str) -> Call[dict[str, Any]]:
    return Call("GET", f"/v1/ai/messages/{_segment(message_id)}", _data(dict[str, Any]))


def clinical_models(cursor: str | None) -> Call[Page]:
    query: dict[str, str | int] = {"limit": MOST_IN_A_PAGE}
    if cursor is not None:
        query["cursor"] = cursor
    return Call("GET", "/v1/ai/models", _reader(Page), query=query)


def api_keys(cursor: str | None, limit: int | None) -> Call[Page]:
    query = {name: value for name, value in (("cursor", cursor), ("limit", limit)) if value is not None}
    return Call("GET", "/v1/api_keys", _reader(Page), query=query)


def create_api_key(name: str, scopes: Sequence[str], environment: str, key: str | None) -> Call[ApiKey]:
    body = {"name": name, "scopes": scopes, "environment": environment}
    return _post("/v1/api_keys", body, _data(ApiKey), key)


def revoke_api_key(key_id: str) -> Call[dict[str, Any]]:
    return Call("DELETE", f"/v1/api_keys/{_segment(key_id)}", _data(dict[str, Any]))


def read(path: str) -> Call[dict[str, Any]]:
    """Usage, budget, agreement: facts of the org."""
    return Call("GET", path, _data(dict[str, Any]))


def set_budget(changes: Mapping[str, Any]) -> Call[dict[str, Any]]:
    return Call("PUT", "/v1/usage/budget", _data(dict[str, Any]), _json(changes))


def provider_status() -> Call[Any]:
    return Call("GET", "/v1/provider-status", _data(Any))


def _segment(text: str) -> str:
    """One segment of a path, whatever stands in it."""
    try:
        # "." and ".." would be taken for steps along the path.
        return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")
    except UnicodeEncodeError as error:
        raise TriptychError(f"An id holds half a character: {error}. Nothing was sent.") from error
