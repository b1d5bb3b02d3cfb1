"""Why a request is refused, in one sentence. Only a request that already failed comes here, so
this may be slow and careful; the order of the checks decides which of several faults is named."""

import msgspec

from triptych.core.failure import Failure, FailureKind

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_REQUIRED = ("model", "messages", "max_tokens")
_MAX_TOKENS_LIMIT = 2**63 - 1
_BRACE = ord("{")


def refusal(body: bytes, *, counting: bool) -> Failure:
    """The first fault of a body that is a JSON object but not a valid request."""
    fields = _MEMBERS.decode(body)
    for name in _REQUIRED:
        if name not in fields and not (counting and name == "max_tokens"):
            return _wrong(name, "is required")
    return (
        _model(fields["model"])
        or _stream(fields.get("stream"))
        or _messages(fields["messages"])
        or _max_tokens(fields.get("max_tokens"))
        or Failure(FailureKind.INVALID_BODY)
    )


def _wrong(path: str, what: str) -> Failure:
    return Failure(FailureKind.INVALID_BODY, f"{path} {what}", param=path)


def _model(raw: msgspec.Raw) -> Failure | None:
    return None if _text(raw) else _wrong("model", "must be a non-empty string")


def _stream(raw: msgspec.Raw | None) -> Failure | None:
    if raw is None or bytes(raw) in (b"true", b"false"):
        return None
    return _wrong("stream", "must be true or false")


def _max_tokens(raw: msgspec.Raw | None) -> Failure | None:
    if raw is None:
        return None
    try:
        value = msgspec.json.decode(raw, type=int)
    except msgspec.ValidationError:
        value = 0
    if 0 < value <= _MAX_TOKENS_LIMIT:
        return None
    return _wrong("max_tokens", f"must be an integer between 1 and {_MAX_TOKENS_LIMIT}")


def _messages(raw: msgspec.Raw) -> Failure | None:
    items = _array(raw)
    if not items:
        return _wrong("messages", "must be a non-empty array")
    for index, item in enumerate(items):
        failure = _message(f"messages[{index}]", item)
        if failure is not None:
            return failure
    return None


def _message(path: str, raw: msgspec.Raw) -> Failure | None:
    try:
        fields = _MEMBERS.decode(raw)
    except msgspec.ValidationError:
        return _wrong(path, "must be an object")
    for name in ("role", "content"):
        if name not in fields:
            return _wrong(f"{path}.{name}", "is required")
    role = _text(fields["role"])
    if role == "system":
        return _wrong(
            f"{path}.role", 'must be "user" or "assistant": put system text in the top-level "system" field'
        )
    if role not in ("user", "assistant"):
        return _wrong(f"{path}.role", 'must be "user" or "assistant"')
    return _content(f"{path}.content", fields["content"])


def _content(path: str, raw: msgspec.Raw) -> Failure | None:
    if _text(raw) is not None:
        return None
    blocks = _array(raw)
    if blocks is None:
        return _wrong(path, "must be a string or an array of content blocks")
    for index, block in enumerate(blocks):
        if memoryview(block)[0] != _BRACE:
            return _wrong(f"{path}[{index}]", "must be an object")
    return None


def _text(raw: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.ValidationError:
        return None


def _array(raw: msgspec.Raw) -> list[msgspec.Raw] | None:
    try:
        return _ITEMS.decode(raw)
    except msgspec.ValidationError:
        return None
