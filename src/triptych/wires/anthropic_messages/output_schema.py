"""Schemas that an answer, or the arguments of a strict tool, must keep to. The vendor takes a part of JSON
Schema and answers 400 for the rest (https://platform.claude.com/docs/en/build-with-claude/structured-outputs):
the vendor's SDK, and so the schemas of its callers, leave that out. The callers of other wires do not know.
"""

import re

import msgspec

Json = dict[str, object]

_DESCRIBED = re.compile(
    "minimum|maximum|exclusiveMinimum|exclusiveMaximum|multipleOf|minLength|maxLength|pattern|minItems|maxItems|"
    "uniqueItems|minProperties|maxProperties|not"
)
_FORMATS = re.compile("date-time|time|date|duration|email|hostname|uri|ipv4|ipv6|uuid")
_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "allOf")


def kept_schema(schema: msgspec.Raw) -> msgspec.Raw:
    """What the vendor can hold an answer to; the very same object when that is all of it. A constraint
    that it does not know is told in the description, where the model may follow it. Objects are closed:
    whatever keeps to that keeps to the caller's schema too. One that is made of names of the model's own
    choice would be empty then: it goes as it is, and the vendor says so."""
    try:
        asked = msgspec.json.decode(schema)
    except msgspec.DecodeError:
        # A number too large for any type: nothing here is to change it.
        return schema
    kept = _kept(asked)
    return schema if kept == asked else msgspec.Raw(msgspec.json.encode(kept))


def _kept(schema: object) -> object:
    if not isinstance(schema, dict):
        return schema
    kept: Json = dict(schema)
    for key in _NAMED:
        if isinstance(below := kept.get(key), dict):
            kept[key] = {name: _kept(one) for name, one in below.items()}
    if "oneOf" in kept and "anyOf" not in kept:
        kept["anyOf"] = kept.pop("oneOf")
    for key in _LISTED:
        if isinstance(variants := kept.get(key), list):
            kept[key] = [_kept(one) for one in variants]
    if "items" in kept:
        kept["items"] = _kept(kept["items"])
    if kept.get("properties") and kept.get("additionalProperties", True) in (True, {}):
        kept["additionalProperties"] = False
    return _described(kept)


def _described(schema: Json) -> Json:
    told = [key for key, value in schema.items() if _DESCRIBED.fullmatch(key) and not _known(key, value)]
    form = schema.get("format")
    if isinstance(form, str) and not _FORMATS.fullmatch(form):
        told.append("format")
    if told:
        words = ", ".join(f"{key}: {msgspec.json.encode(schema.pop(key)).decode()}" for key in told)
        before = schema.get("description")
        schema["description"] = f"{before}\n\n{{{words}}}" if before else f"{{{words}}}"
    return schema


def _known(key: str, value: object) -> bool:
    return key == "minItems" and value in (0, 1)
