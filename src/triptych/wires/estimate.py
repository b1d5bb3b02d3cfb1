"""Counts of tokens that a provider reports: which of them are believed, and what stands in for the
others.

Providers and what imitates them also report nothing, negative, fractional or absurd numbers: such
a count is replaced by an estimate of four characters per token, and the usage is labelled so. Four
is the rule of thumb the vendors themselves give for English text.
"""

import re
from typing import Annotated, TypeVar

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import MAX_PLAUSIBLE_TOKENS

CHARS_PER_TOKEN = 4

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes of a provider may raise."""

# An escape of half a surrogate pair (group 1), told from whole pairs and from other escapes.
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)

_Answer = TypeVar("_Answer")


PlausibleCount = Annotated[int, msgspec.Meta(ge=0, le=MAX_PLAUSIBLE_TOKENS)]
"""What ``plausible`` accepts, as a type to decode."""


def plausible(count: object) -> int | None:
    """The count when it is one: an integer, not negative, not absurd."""
    if type(count) is int and 0 <= count <= MAX_PLAUSIBLE_TOKENS:
        return count
    return None


def asked_for(raw: msgspec.Raw | msgspec.UnsetType) -> int | None:
    """The count that a field of a request spells, as far as it is plausible; None when it is no positive
    integer. Such a field goes on as it is: the provider says what is wrong with it."""
    if raw is msgspec.UNSET:
        return None
    try:
        count = msgspec.json.decode(raw, type=int)
    except msgspec.ValidationError:
        return None
    return min(count, MAX_PLAUSIBLE_TOKENS) if count > 0 else None


def believable(count: object) -> bool:
    """Whether an optional count is absent, null, or plausible: anything else is a lie."""
    return count is None or plausible(count) is not None


def detail(details: object, name: str) -> object:
    """One of the counts in an object of details; None when there is no such thing."""
    return details.get(name) if isinstance(details, dict) else None


def read_optional(
    decoder: msgspec.json.Decoder[_Answer], raw: msgspec.Raw | msgspec.UnsetType
) -> _Answer | None:
    """A part of an answer; None when it is absent or not readable: what it says is not relied on."""
    if raw is msgspec.UNSET:
        return None
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        return None


def decode_answer(decoder: msgspec.json.Decoder[_Answer], body: bytes) -> _Answer:
    """A whole (not streamed) answer.

    Raises Failure UPSTREAM_INVALID_RESPONSE when the body is not the JSON it should be.
    """
    try:
        return decoder.decode(body)
    except UNREADABLE:
        try:
            return decoder.decode(_HALF_PAIR.sub(_paired, body))
        except UNREADABLE as error:
            raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from error


def _paired(escape: re.Match[bytes]) -> bytes:
    """Half a surrogate pair is JSON by its grammar (RFC 8259, 8.2), but msgspec takes none: a text
    cut inside an emoji is still an answer, and is read with U+FFFD in that place."""
    return b"\\ufffd" if escape[1] else escape[0]
