"""What stands in ``encrypted_content`` of a reasoning item: OpenAI's own, or another vendor's.

A client gives a reasoning item back as it got it. What another vendor signed or sealed goes through
it under a name of its own, so that it comes back to that vendor unchanged; and so does what OpenAI
encrypted for an item of another id, since it refuses that under any other.
"""

from urllib.parse import quote, unquote

from triptych.core.conversation import Opaque

OWN = "openai"
_SIGNED = "anthropic:"
_REDACTED = "anthropic-redacted:"
# The id stands between two colons.
_ELSEWHERE = "openai:"


def foreign(content: str) -> bool:
    """Whether it is another vendor's: no provider of this wire takes it."""
    return content.startswith((_SIGNED, _REDACTED))


def sealed(opaque: Opaque, item_id: str) -> str:
    """The value of ``encrypted_content`` of the item with this id."""
    if opaque.vendor != OWN:
        return f"{_REDACTED if opaque.redacted else _SIGNED}{opaque.data}"
    if opaque.id is None or opaque.id == item_id:
        return opaque.data
    return f"{_ELSEWHERE}{quote(opaque.id, safe='')}:{opaque.data}"


def unsealed(content: str, item_id: str | None) -> Opaque:
    """What :func:`sealed` was given; ``item_id`` belongs to OpenAI's own only."""
    if content.startswith(_REDACTED):
        return Opaque("anthropic", content[len(_REDACTED) :], redacted=True)
    if content.startswith(_SIGNED):
        return Opaque("anthropic", content[len(_SIGNED) :])
    if content.startswith(_ELSEWHERE):
        quoted, _, data = content[len(_ELSEWHERE) :].partition(":")
        return Opaque(OWN, data, id=unquote(quoted) or None)
    return Opaque(OWN, content, id=item_id)
