"""One deterministic value for a JSON schema: the smallest that shows its shape."""

from collections.abc import Mapping
from math import ceil

_MAX_DEPTH = 16
_MAX_ITEMS = 16
_MAX_VALUES = 4096
# From here on, what may be null is null: a schema that refers to itself ends as it allows.
_NULL_DEPTH = 8
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


def sample(schema: object) -> object:
    """A value for the schema: its constant, default, first example or first choice when it names
    one, else made from its type; of an object the required properties only.

    What is too deep, one value too many, or refers to nothing, is None. ``pattern``, ``not`` and
    conditions are not looked at.
    """
    return _Sampler(schema).value(schema, 0)


class _Sampler:
    """``root`` is the schema that ``$ref`` points into."""

    def __init__(self, root: object) -> None:
        self._root = root
        # A schema that refers to itself twice doubles with every level: depth alone is no bound.
        self._values_left = _MAX_VALUES

    def value(self, schema: object, depth: int) -> object:
        self._values_left -= 1
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or self._values_left < 0:
            return None
        if "$ref" in schema:
            return self.value(_referred(self._root, schema["$ref"]), depth + 1)
        for name in ("const", "default"):
            if name in schema:
                return schema[name]
        for name in ("examples", "enum"):
            if isinstance(choices := schema.get(name), list) and choices:
                return choices[0]
        for name in ("anyOf", "oneOf"):
            if isinstance(choices := schema.get(name), list) and choices:
                return self._one_of(choices, depth)
        if isinstance(parts := schema.get("allOf"), list) and parts:
            return _merged([self.value(part, depth + 1) for part in parts])
        return self._of_type(_type_of(schema), schema, depth)

    def _one_of(self, choices: list[object], depth: int) -> object:
        if depth > _NULL_DEPTH and {"type": "null"} in choices:
            return None
        return self.value(choices[0], depth + 1)

    def _of_type(self, type_: object, schema: Mapping[str, object], depth: int) -> object:
        if type_ == "object":
            properties = schema.get("properties")
            required = schema.get("required")
            if not isinstance(properties, Mapping) or not isinstance(required, list):
                return {}
            return {
                name: self.value(properties.get(name), depth + 1)
                for name in required
                if isinstance(name, str)
            }
        if type_ == "array":
            count = min(_whole(schema.get("minItems"), 0), _MAX_ITEMS)
            first = schema.get("prefixItems")
            items = [*(first if isinstance(first, list) else ()), *([schema.get("items")] * count)]
            return [self.value(item, depth + 1) for item in items[:count]]
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
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    value: int | float = 1
    if isinstance(low, int | float):
        value = low
    elif isinstance(above, int | float):
        value = above + 1
    elif isinstance(high, int | float) and high < value:
        value = high
    elif isinstance(below, int | float) and below <= value:
        value = below - 1
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
