"""One deterministic value for a JSON schema: the smallest that shows its shape."""

from collections.abc import Mapping
from math import ceil

_MAX_DEPTH = 16
_MAX_ITEMS = 16
_MAX_STRING_CHARS = 1024

_BY_FORMAT = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "email": "ana@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: object, root: object = None, depth: int = 0) -> object:
    """A value for the schema: its constant, default, first example or first choice when it names
    one, else made from its type; of an object the required properties only.

    ``root`` is the schema that ``$ref`` points into. What is too deep, or refers to nothing, is
    None. ``pattern``, ``not`` and conditions are not looked at.
    """
    root = schema if root is None else root
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return None
    if "$ref" in schema:
        return sample(_referred(root, schema["$ref"]), root, depth + 1)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("examples", "enum"):
        if isinstance(choices := schema.get(name), list) and choices:
            return choices[0]
    for name in ("anyOf", "oneOf"):
        if isinstance(choices := schema.get(name), list) and choices:
            return sample(choices[0], root, depth + 1)
    if isinstance(parts := schema.get("allOf"), list) and parts:
        return _merged([sample(part, root, depth + 1) for part in parts])
    return _of_type(_type_of(schema), schema, root, depth)


def _of_type(type_: object, schema: Mapping[str, object], root: object, depth: int) -> object:
    if type_ == "object":
        properties = schema.get("properties")
        required = schema.get("required")
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            return {}
        return {
            name: sample(properties.get(name), root, depth + 1) for name in required if isinstance(name, str)
        }
    if type_ == "array":
        count = min(_whole(schema.get("minItems"), 0), _MAX_ITEMS)
        return [sample(schema.get("items"), root, depth + 1) for _ in range(count)]
    if type_ == "string":
        text = _BY_FORMAT.get(str(schema.get("format")), "sample")
        length = min(_whole(schema.get("minLength"), 0), _MAX_STRING_CHARS)
        return text.ljust(length, "x")[: max(length, _whole(schema.get("maxLength"), len(text)))]
    if type_ in ("integer", "number"):
        return _number(schema, whole=type_ == "integer")
    if type_ == "boolean":
        return True
    return None


def _type_of(schema: Mapping[str, object]) -> object:
    type_ = schema.get("type")
    if isinstance(type_, list):
        return next((name for name in type_ if name != "null"), None)
    if type_ is None and "properties" in schema:
        return "object"
    return type_


def _whole(value: object, otherwise: int) -> int:
    return value if type(value) is int and value >= 0 else otherwise


def _number(schema: Mapping[str, object], *, whole: bool) -> object:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high = schema.get("maximum")
    value: int | float = 1
    if isinstance(low, int | float):
        value = low
    elif isinstance(above, int | float):
        value = above + 1
    elif isinstance(high, int | float) and high < value:
        value = high
    step = schema.get("multipleOf")
    if type(step) is int and step > 0:
        value = -(-value // step) * step
    return ceil(value) if whole else value


def _merged(values: list[object]) -> object:
    objects = [value for value in values if isinstance(value, dict)]
    if not objects:
        return next((value for value in values if value is not None), None)
    return {name: value for one in objects for name, value in one.items()}


def _referred(root: object, reference: object) -> object:
    """What a reference inside the document, such as ``#/$defs/Place``, points to."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found = root
    for part in reference[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
