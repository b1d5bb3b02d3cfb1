import pytest

from tests.unit.wires.random_json import JsonWriter, random_body
from triptych.wires.anthropic_messages import STRIPPED_FIELDS, parse_request, rewrite_request
from triptych.wires.jsontext import members
from triptych.wires.splice import Edit, remove_members, replace_value, splice


def removed(body: bytes, *names: str) -> bytes:
    return splice(body, remove_members(members(body), names))


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        (b'{"x":1,"a":2}', b'{"a":2}'),
        (b'{"a":2,"x":1}', b'{"a":2}'),
        (b'{"a":2,"x":1,"b":3}', b'{"a":2,"b":3}'),
        (b'{"x":1}', b"{}"),
        (b' { "x" : 1 } ', b" {  } "),
        (b'{"x":1,"y":2,"a":3}', b'{"a":3}'),
        (b'{"a":3,"x":1,"y":2}', b'{"a":3}'),
        (b'{"a":3,"x":1,"y":2,"b":4}', b'{"a":3,"b":4}'),
        (b'{"x":1,"a":3,"y":2}', b'{"a":3}'),
        (b'{"x":1,"y":2}', b"{}"),
        (b'{ "a" : 1 , "x" : 2 , "b" : 3 }', b'{ "a" : 1 , "b" : 3 }'),
        (b'{"a":{"x":1},"b":[{"x":2}]}', b'{"a":{"x":1},"b":[{"x":2}]}'),
        (b'{"\\u0078":1,"a":2}', b'{"a":2}'),
        (b"{}", b"{}"),
    ],
)
def test_a_member_goes_with_exactly_one_comma(body: bytes, rest: bytes) -> None:
    assert removed(body, "x", "y") == rest


def test_only_the_value_is_replaced() -> None:
    body = b'{ "a" :1.50, "model"\t: "old" ,"z":1e999}'
    model = members(body)[1]
    assert splice(body, [replace_value(model, b'"new"')]) == b'{ "a" :1.50, "model"\t: "new" ,"z":1e999}'


def test_without_edits_the_same_object_comes_back() -> None:
    body = b'{"a":1}'
    assert splice(body, []) is body


def test_edits_may_come_in_any_order_and_touch() -> None:
    assert splice(b"abcdef", [Edit(4, 6, b""), Edit(0, 2, b"X"), Edit(2, 4, b"")]) == b"X"


@pytest.mark.parametrize("edits", [[Edit(0, 3, b""), Edit(2, 4, b"")], [Edit(3, 9, b"")], [Edit(3, 2, b"")]])
def test_edits_that_overlap_or_lie_outside_are_refused(edits: list[Edit]) -> None:
    with pytest.raises(ValueError, match="overlaps"):
        splice(b"abcdef", edits)


def test_every_byte_outside_the_declared_edits_survives_in_10000_random_bodies() -> None:
    stripped = frozenset(STRIPPED_FIELDS)
    optional = (*STRIPPED_FIELDS, "system", "tools", "thinking", "temperature")
    fixed = {
        "messages": '[{"role":"user", "content":"h\\u00e9 [{,"}]',
        "max_tokens": "16",
    }
    writer = JsonWriter(20260102)
    untouched = 0
    for _ in range(10_000):
        body = random_body(writer, {**fixed, "model": writer.spelled("old-model")}, optional)
        text = body.text
        target = writer.random.choice(["old-model", "new/é-model"])
        out = rewrite_request(parse_request(text, counting=False), target)
        if target != "old-model":
            model = next(piece for piece in body.pieces if piece.key == "model")
            model.core = model.core.removesuffix(model.value) + f'"{target}"'
        assert out == body.without(stripped)
        if body.text == text and not stripped & {piece.key for piece in body.pieces}:
            assert out is text
            untouched += 1
    assert untouched > 100
