"""Decode what is to be translated: a field that no table lists is refused by name, not dropped."""

import re
from typing import Annotated, TypeVar

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires.faults import MAX_TOKENS_LIMIT

T = TypeVar("T")
Bound = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS_LIMIT)]
"""On the tokens of an answer. One that is none is not translated: nobody knows what was meant."""

_UNKNOWN = re.compile(
    r"Object contains unknown field `(?P<name>.*?)`(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL
)
_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
_RANGE = re.compile(r"Expected `int` [<>]=|(?:Number|Integer value) out of range")
_INDEX = re.compile(r"\[(?:\d+|\.\.\.)\]")
_SHOWN_NAME_CHARS = 64


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """Raises Failure: UNSUPPORTED_PARAMETER for a field, or a value of ``type``, that cannot be
    translated; INVALID_BODY for a value of the wrong type. ``param`` is the path, with ``[]`` for
    an index."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise fault(error) from None


def fault(error: msgspec.ValidationError) -> Failure:
    """The failure a decoder's complaint stands for. Quotes names of fields, never a value."""
    sentence = str(error)
    unknown = _UNKNOWN.match(sentence)
    if unknown is not None:
        name = unknown["name"][:_SHOWN_NAME_CHARS]
        return untranslatable(_joined(_readable(unknown["path"] or "$"), name))
    at = _PATH.search(sentence)
    path = _readable(at["path"] if at else "$")
    if sentence.startswith(("Invalid value", "Invalid enum value")):
        return untranslatable(path, "has a value that cannot be translated")
    missing = re.match(r"Object missing required field `([^`]*)`", sentence)
    if missing is not None:
        path = _joined(path, missing[1])
        return Failure(FailureKind.INVALID_BODY, f"{path} is required", param=path)
    what = "is out of range" if _RANGE.match(sentence) else "has the wrong type"
    return Failure(FailureKind.INVALID_BODY, f"{path or 'The request body'} {what}", param=path)


def untranslatable(path: str, what: str = "cannot be translated") -> Failure:
    """The refusal of a field by its path."""
    return Failure(
        FailureKind.UNSUPPORTED_PARAMETER,
        f"{path} {what}: the model is served on another wire than the request's. Leave it out, or name a "
        "model that is served on this wire.",
        param=path,
    )


def _readable(path: str) -> str:
    return _INDEX.sub("[]", path.removeprefix("$").removeprefix("."))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
