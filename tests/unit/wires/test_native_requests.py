"""Requests of native chat: every field, what is wrong with it, and what it becomes on the Messages wire."""

import json
from typing import Any

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.wires import native
from triptych.wires.native.request import FIELDS

TOOL = {"name": "f", "input_schema": {"type": "object"}}
TURN = {"role": "user", "content": "x"}


def parse(**fields: Any) -> native.NativeRequest:
    return native.parse_request(json.dumps(fields).encode())


def test_what_is_not_said_has_its_default() -> None:
    asked = parse(message="hi")
    assert asked == native.NativeRequest(
        (b'{"role":"user","content":"hi"}',), True, None, True, True, None, None, None, None
    )
    assert parse(messages=[TURN], stream=False, store=False).spoken is False


@pytest.mark.parametrize(
    "name", ["model", "conversation_id", "system", "max_tokens", "tools", "document_ids"]
)
def test_null_is_as_if_it_was_not_said(name: str) -> None:
    assert parse(message="hi", **{name: None}) == parse(message="hi")


WRONG: dict[str, tuple[Any, ...]] = {
    "message": (None, "", 5, True, [], {}),
    "messages": (None, "x", 5, {}, []),
    "model": ("", 5, True, [], {}),
    "stream": (None, "true", 1, [], {}),
    "conversation_id": ("", 5, True, [], {}, "c" * 65),
    "store": (None, "true", 0, [], {}),
    "system": (5, True, {}, [5], ["x"], [{}], [{"type": "text", "text": 5}]),
    "max_tokens": (0, -1, 1.5, "7", True, [], {}, 2**63),
    "tools": (
        "x",
        5,
        {},
        [5],
        [[]],
        [{}],
        [{"name": 5}],
        [{"name": "f"}],
        [{**TOOL, "input_schema": []}],
        [{"name": "f", "type": 435}],
        [{**TOOL, "description": 5}],
    ),
    "document_ids": ("x", 5, {}, [5], [""], [None]),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_a_field_with_a_wrong_value_is_named(name: str, value: Any) -> None:
    fields = {"message": "hi"} if name != "messages" else {}
    with pytest.raises(Failure) as caught:
        parse(**{**fields, name: value})
    assert caught.value.kind is FailureKind.INVALID_BODY
    # Without any messages it is the message that is missing.
    assert (caught.value.param or "").split("[")[0] in (name, "message" if value is None else name)


def test_every_field_is_tried_with_wrong_values() -> None:
    assert set(WRONG) == set(FIELDS)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("messages[0]", 5),
        ("messages[1].role", [TURN, {"role": "system", "content": "x"}]),
        ("messages[0].content", [{"role": "user"}]),
        ("messages[0].content[0]", [{"role": "user", "content": [5]}]),
    ],
)
def test_the_fault_of_a_message_is_named_by_its_place(path: str, message: Any) -> None:
    with pytest.raises(Failure) as caught:
        parse(messages=message if isinstance(message, list) else [message])
    assert caught.value.param == path


@pytest.mark.parametrize("name", ["temperature", "metadata", "Message", "", "x" * 500])
def test_an_unknown_field_is_named_and_not_shown_at_length(name: str) -> None:
    with pytest.raises(Failure) as caught:
        parse(message="hi", **{name: 1})
    assert caught.value.param == name[:64] and len(caught.value.message) < 120


def test_one_of_message_and_messages_is_needed() -> None:
    with pytest.raises(Failure, match="message is required, or messages"):
        parse(model="m")
    with pytest.raises(Failure, match="exclude each other") as caught:
        parse(message="hi", messages=[TURN])
    assert caught.value.param == "messages"


def test_a_document_is_not_found_as_long_as_there_are_none() -> None:
    with pytest.raises(Failure) as caught:
        parse(message="hi", document_ids=["doc_1"])
    assert (caught.value.kind, caught.value.param) == (FailureKind.RESOURCE_NOT_FOUND, "document_ids[0]")
    assert parse(message="hi", document_ids=[]) == parse(message="hi")


def test_the_request_becomes_one_of_the_messages_wire_byte_for_byte() -> None:
    body = (
        b'{"messages":[ {"content": "\\u00e9", "role":"user"} ],'
        b'"tools":[{"name":"f","input_schema":{"a": 1.0}}]}'
    )
    asked = native.parse_request(body)
    written = native.messages_body(asked, "m", [b'{"role":"user","content":"old"}'])
    assert b'{"content": "\\u00e9", "role":"user"}' in written and b'{"a": 1.0}' in written
    assert json.loads(written) == {
        "model": "m",
        "stream": True,
        "tools": [{"name": "f", "input_schema": {"a": 1.0}}],
        "messages": [{"role": "user", "content": "old"}, {"role": "user", "content": "é"}],
    }


def test_the_same_turns_come_first_in_the_same_bytes_whatever_follows() -> None:
    earlier = [b'{"role":"user","content":"old"}', b'{"role":"assistant","content":"said"}']
    one = native.messages_body(parse(message="one", system="s"), "m", earlier)
    other = native.messages_body(parse(message="quite another", system="s"), "m", earlier)
    common = len([1 for a, b in zip(one, other, strict=False) if a == b])
    assert one.index(b"said") + len(b'said"}') < common


@pytest.mark.parametrize(
    ("fields", "earlier", "path", "named"),
    [
        ({"message": "x"}, 0, "messages[0].content", "message"),
        ({"message": "x"}, 2, "messages[2].content", "message"),
        ({"message": "x"}, 2, "messages[1].content[0].text", "conversation_id"),
        ({"messages": [TURN]}, 2, "messages[2].content[0].text", "messages[0].content[0].text"),
        ({"messages": [TURN]}, 0, "messages[3].role", "messages[3].role"),
        ({"message": "x"}, 0, "messages[].content[].text", "message"),
        ({"messages": [TURN]}, 3, "messages[].content[].text", "messages[].content[].text"),
        ({"message": "x"}, 1, "tools[0].description", "tools[0].description"),
        ({"message": "x"}, 1, "messages", "messages"),
    ],
)
def test_a_field_keeps_the_name_its_caller_gave_it(
    fields: dict[str, Any], earlier: int, path: str, named: str
) -> None:
    assert native.own_name(parse(**fields), earlier, path) == named
