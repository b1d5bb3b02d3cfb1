import time

import pytest

from triptych.upstreams.sandbox.samples import sample


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "sample"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "string", "minLength": 9}, "samplexxx"),
        ({"type": "string", "maxLength": 3}, "sam"),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "minimum": 4.5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "exclusiveMaximum": 1}, 0),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "number", "minimum": 0.5}, 0.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "string"]}, "sample"),
        ({"const": 7}, 7),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": "string", "default": "d"}, "d"),
        ({"type": "string", "examples": ["e"]}, "e"),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"const": "b"}], "minItems": 2}, [1, "b"]),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"oneOf": [{"type": "boolean"}]}, True),
        ({"type": "object"}, {}),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 1}),
        (
            {
                "allOf": [
                    {"properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]},
                ]
            },
            {"a": 1, "b": 2},
        ),
        ({"$ref": "#/$defs/x~1y", "$defs": {"x/y": {"type": "integer"}}}, 1),
        ({"$ref": "#/$defs/none"}, None),
        ({"$ref": "https://example.com/schema"}, None),
        (True, None),
        (None, None),
        ("string", None),
    ],
)
def test_a_sample_shows_the_shape_of_its_schema(schema: object, value: object) -> None:
    assert sample(schema) == value


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    value = sample(schema)
    depth = 0
    while isinstance(value, dict):
        value, depth = value["next"], depth + 1
    assert value is None
    assert 1 < depth < 20


@pytest.mark.parametrize("keyword", ["minItems", "minLength"])
def test_a_schema_cannot_ask_for_gigabytes(keyword: str) -> None:
    nested: object = {"type": "string", "minLength": 10**9}
    sized = {"type": "array", "items": nested, keyword: 10**9}
    assert len(str(sample(sized))) < 100_000


def test_a_schema_that_refers_to_itself_in_many_places_ends_soon() -> None:
    names = [f"p{number}" for number in range(20)]
    schema = {"type": "object", "properties": {name: {"$ref": "#"} for name in names}, "required": names}
    started = time.thread_time()
    assert isinstance(sample(schema), dict)
    many = {"type": "array", "items": {"$ref": "#"}, "minItems": 10**9}
    assert isinstance(sample(many), list)
    assert time.thread_time() - started < 1


def test_what_may_be_null_is_null_once_it_is_deep() -> None:
    child = {"anyOf": [{"$ref": "#"}, {"type": "null"}]}
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "child": child},
        "required": ["name", "child"],
    }
    value = sample(schema)
    while value is not None:
        assert isinstance(value, dict) and value["name"] == "sample"
        value = value["child"]
