"""Faults of a request's fields, each said in one sentence. Only a request that already failed comes
here, so this may be slow and careful; the order of the checks decides which of several is named."""

import msgspec

from triptych.core.failure import Failure, FailureKind

MAX_TOKENS_LIMIT = 2**63 - 1

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def wrong(path: str, what: str) -> Failure:
    """``path`` names the field, such as ``messages[0].content``."""
    return Failure(FailureKind.INVALID_BODY, f"{path} {what}", param=path)


def model(raw: msgspec.Raw) -> Failure | None:
    return None if text(raw) else wrong("model", "must be a non-empty string")


def stream(raw: msgspec.Raw | None) -> Failure | None:
    if raw is None or bytes(raw) in (b"true", b"false"):
        return None
    return wrong("stream", "must be true or false")


def tokens(path: str, raw: msgspec.Raw | None) -> Failure | None:
    """Of a bound on tokens: a positive integer of 64 bits, when present."""
    if raw is None:
        return None
    try:
        value = msgspec.json.decode(raw, type=int)
    except msgspec.ValidationError:
        value = 0
    if 0 < value <= MAX_TOKENS_LIMIT:
        return None
    return wrong(path, f"must be an integer between 1 and {MAX_TOKENS_LIMIT}")


def text(raw: msgspec.Raw) -> str | None:
    """The value when it is a string."""
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.ValidationError:
        return None


def array(raw: msgspec.Raw) -> list[msgspec.Raw] | None:
    """The values when it is an array."""
    try:
        return _ITEMS.decode(raw)
    except msgspec.ValidationError:
        return None


def fields(raw: msgspec.Raw | bytes) -> dict[str, msgspec.Raw] | None:
    """The members when it is an object; of a key that occurs twice the last one."""
    try:
        return _MEMBERS.decode(raw)
    except msgspec.ValidationError:
        return None
