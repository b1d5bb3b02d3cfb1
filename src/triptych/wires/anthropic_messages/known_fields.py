"""Is every field of a request one that Anthropic's API has? For surfaces that take no other.

The table is made from the vendor's SDK (``scripts/generate_fields.py``); a test fails when the SDK has
learnt a field that the table does not know.
"""

from functools import cache

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires import faults
from triptych.wires.anthropic_messages.known_fields_table import OBJECTS

# The API takes them, on the models that know them, though the SDK's types have let go of them.
EXTRA_FIELDS = {"message": "temperature top_p top_k", "beta_message": "temperature top_p top_k output_format"}
# What Claude Code sends with a beta of its own.
EXTRA_FIELDS["BetaCacheControlEphemeral"] = "scope"

_BRACE, _BRACKET = ord("{"), ord("[")
_SHOWN_NAME_CHARS = 64


class _Object(msgspec.Struct):
    fields: set[str]
    holds: dict[str, "_Held"]


class _Held(msgspec.Struct):
    """What stands in a field: by its ``type``, or without one."""

    tagged: dict[str, _Object]
    plain: _Object | None


def check_fields(body: bytes, *, beta: bool, counting: bool = False) -> None:
    """``body``: a JSON object. ``beta``: whether the caller asks for betas, whose fields count then.

    Raises Failure UNSUPPORTED_PARAMETER; ``param`` is the path, such as ``messages[0].content[1].x``.
    Values, and objects without the ``type`` they need, are the provider's to judge.
    """
    root = ("beta_" if beta else "") + ("count" if counting else "message")
    _check(body, _objects()[root], "")


@cache
def _objects() -> dict[str, _Object]:
    objects = {name: _Object(set(), {}) for name in OBJECTS}
    for name, text in OBJECTS.items():
        made = objects[name]
        for spelled in text.split():
            field, _, inside = spelled.partition(":")
            made.fields.add(field)
            if inside:
                made.holds[field] = _held(inside, objects)
    for name, text in EXTRA_FIELDS.items():
        objects[name].fields.update(text.split())
    return objects


def _held(spelled: str, objects: dict[str, _Object]) -> _Held:
    tagged: dict[str, _Object] = {}
    plain: list[str] = []
    for one in spelled.split("|"):
        tag, equals, name = one.partition("=")
        if equals:
            tagged[tag] = objects[name]
        else:
            plain.append(tag)
    if len(plain) < 2:
        return _Held(tagged, objects[plain[0]] if plain else None)
    # Told apart by something else, such as the role of a message: what any of them has, is known.
    merged = _Object(set(), {})
    for name in plain:
        for field in OBJECTS[name].split():
            key, _, inside = field.partition(":")
            merged.fields.add(key)
            if inside:
                known = merged.holds.setdefault(key, _Held({}, None))
                other = _held(inside, objects)
                known.tagged.update(other.tagged)
                known.plain = known.plain or other.plain
    return _Held(tagged, merged)


def _check(raw: bytes | msgspec.Raw, known: _Object, path: str) -> None:
    fields = faults.fields(raw) or {}
    for name in fields:
        if name not in known.fields:
            raise _unsupported(_joined(path, name[:_SHOWN_NAME_CHARS]))
    for name, held in known.holds.items():
        value = fields.get(name)
        if value is None:
            continue
        first = memoryview(value)[0]
        if first == _BRACE:
            _check_held(value, held, _joined(path, name))
        elif first == _BRACKET:
            for index, item in enumerate(faults.array(value) or ()):
                if memoryview(item)[0] == _BRACE:
                    _check_held(item, held, f"{_joined(path, name)}[{index}]")


def _check_held(raw: msgspec.Raw, held: _Held, path: str) -> None:
    if not held.tagged:
        if held.plain is not None:
            _check(raw, held.plain, path)
        return
    type_ = (faults.fields(raw) or {}).get("type")
    if type_ is None or bytes(type_) == b"null":
        if held.plain is not None:
            _check(raw, held.plain, path)
        return
    known = held.tagged.get(faults.text(type_) or "")
    if known is None:
        raise _unsupported(f"{path}.type", "has a value that Anthropic's API does not know")
    _check(raw, known, path)


def _unsupported(path: str, what: str = "is not a field of Anthropic's Messages API") -> Failure:
    return Failure(FailureKind.UNSUPPORTED_PARAMETER, f"{path} {what}.", param=path)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
