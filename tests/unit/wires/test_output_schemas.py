"""Schemas of outputs on their way to another vendor, who takes another part of JSON Schema."""

import json
from typing import Any

import msgspec
import pytest

from triptych.core.conversation import Tool
from triptych.wires.anthropic_messages.output_schema import kept_schema
from triptych.wires.openai_conventions import arguments_schema, can_be_strict
from triptych.wires.spoken import SPOKEN
from triptych.wires.translation import Feature


def raw(schema: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(schema).encode())


def kept(schema: object) -> Any:
    return json.loads(bytes(kept_schema(raw(schema))))


CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        CLOSED,
        {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1},
        {"type": "string", "enum": ["a"], "default": "a", "title": "T"},
        {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}], "$defs": {"A": CLOSED}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object"},
        True,
        {},
    ],
)
def test_a_schema_that_anthropic_takes_or_cannot_be_made_one_stays_byte_for_byte(schema: object) -> None:
    body = msgspec.Raw(json.dumps(schema, indent=1).encode())
    assert kept_schema(body) is body


def test_a_constraint_that_anthropic_does_not_know_is_told_in_the_description() -> None:
    assert kept({"type": "integer", "minimum": 1, "maximum": 5, "description": "Days."}) == {
        "type": "integer",
        "description": "Days.\n\n{minimum: 1, maximum: 5}",
    }
    assert kept({"type": "string", "pattern": '^a"', "format": "uri-reference", "maxLength": 3}) == {
        "type": "string",
        "description": '{pattern: "^a\\"", maxLength: 3, format: "uri-reference"}',
    }
    assert kept({"type": "array", "items": {"type": "number", "multipleOf": 2}, "minItems": 2}) == {
        "type": "array",
        "items": {"type": "number", "description": "{multipleOf: 2}"},
        "description": "{minItems: 2}",
    }


def test_objects_are_closed_wherever_they_stand_and_names_of_properties_are_no_constraints() -> None:
    opened = {"type": "object", "properties": {"minimum": {"type": "integer"}}, "required": ["minimum"]}
    closed = {**opened, "additionalProperties": False}
    assert kept(opened) == kept({**opened, "additionalProperties": True}) == closed
    nested = {
        "$defs": {"A": opened},
        "type": "array",
        "items": {"oneOf": [opened, {"allOf": [opened]}]},
    }
    assert kept(nested) == {
        "$defs": {"A": closed},
        "type": "array",
        "items": {"anyOf": [closed, {"allOf": [closed]}]},
    }


def test_a_number_that_no_type_holds_is_left_to_the_vendor() -> None:
    body = msgspec.Raw(b'{"type":"number","minimum":1e999}')
    assert kept_schema(body) is body


ALL_REQUIRED = {**CLOSED, "required": ["n"]}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (ALL_REQUIRED, True),
        ({"anyOf": [ALL_REQUIRED, {"type": "null"}]}, True),
        ({**ALL_REQUIRED, "properties": {"n": {"type": "array", "items": ALL_REQUIRED}}}, True),
        (CLOSED, False),
        ({**ALL_REQUIRED, "additionalProperties": True}, False),
        ({"type": "object"}, False),
        ({**ALL_REQUIRED, "properties": {"n": {"type": "integer", "default": 3}}}, False),
        ({**ALL_REQUIRED, "properties": {"n": {"type": "array", "items": CLOSED}}}, False),
        ({**ALL_REQUIRED, "$defs": {"A": CLOSED}}, False),
        ({**ALL_REQUIRED, "properties": {"n": {"oneOf": [{"type": "string"}]}}}, False),
        (
            {
                "properties": {"default": {"type": "string"}},
                "required": ["default"],
                "additionalProperties": False,
            },
            True,
        ),
        ({**ALL_REQUIRED, "required": 5}, False),
        ({"type": "object", "properties": 5, "additionalProperties": False}, False),
    ],
)
def test_a_schema_is_strict_at_openai_where_all_is_closed_and_required(schema: object, strict: bool) -> None:
    assert can_be_strict(raw(schema)) is strict


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (b'{"type":"object"}', b'{"type":"object","properties":{}}'),
        (
            b'{ "type" : "object", "additionalProperties": false }\n',
            b'{ "type" : "object", "additionalProperties": false ,"properties":{}}',
        ),
        (b'{"type": "object", "properties": {}}', b'{"type": "object", "properties": {}}'),
        (b'{"anyOf":[{"type":"object"}]}', b'{"anyOf":[{"type":"object"}]}'),
        (b'{"type":1e999}', b'{"type":1e999}'),
        (b"{}", b"{}"),
    ],
)
def test_arguments_that_are_none_have_the_properties_that_openai_wants(
    schema: bytes, expected: bytes
) -> None:
    assert bytes(arguments_schema(Tool("t", msgspec.Raw(schema)))) == expected


@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses"])
def test_a_tool_of_an_mcp_server_without_arguments_goes_to_openai(wire: str) -> None:
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    asked["tools"] = [{"name": "help", "input_schema": {"type": "object"}}]
    said = SPOKEN["anthropic-messages"].decode_request(json.dumps(asked).encode())
    (tool,) = json.loads(SPOKEN[wire].encode_request(said, "m", default_max_tokens=9).body)["tools"]
    assert tool.get("function", tool)["parameters"] == {"type": "object", "properties": {}}


def of_anthropic(schema: object, wire: str) -> tuple[Any, tuple[Feature, ...]]:
    tool = {"name": "f", "input_schema": schema, "strict": True}
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    conversation = SPOKEN["anthropic-messages"].decode_request(json.dumps(asked).encode())
    encoded = SPOKEN[wire].encode_request(conversation, "m", default_max_tokens=1)
    written = json.loads(encoded.body)["tools"][0]
    return written.get("function", written), encoded.left_out


@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses"])
def test_a_strict_tool_of_anthropics_goes_to_openai_as_one_it_takes_and_the_loss_is_told(wire: str) -> None:
    for schema in (CLOSED, {"type": "object", "properties": {}}):
        written, left_out = of_anthropic(schema, wire)
        assert (written["parameters"], written["strict"]) == (schema, False)
        assert left_out == (Feature.TOOL_STRICT,)
    written, left_out = of_anthropic(ALL_REQUIRED, wire)
    assert (written["strict"], left_out) == (True, ())


@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses"])
def test_what_a_caller_of_openais_wires_calls_strict_is_left_to_the_vendor(wire: str) -> None:
    function = {"name": "f", "parameters": CLOSED, "strict": True}
    tool = {"type": "function", "function": function}
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    conversation = SPOKEN["openai-chat"].decode_request(json.dumps(asked).encode())
    encoded = SPOKEN[wire].encode_request(conversation, "m", default_max_tokens=1)
    written = json.loads(encoded.body)["tools"][0]
    assert written.get("function", written)["strict"] is True and encoded.left_out == ()
