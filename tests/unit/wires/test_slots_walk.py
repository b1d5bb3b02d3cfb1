"""The walker against Python's own JSON parser: it finds every string, where it stands."""

import json
import random

import pytest

from tests.unit.wires.random_json import CHARS, ESCAPES, JsonWriter
from triptych.core.failure import Failure, FailureKind
from triptych.wires import anthropic_messages as messages_wire
from triptych.wires.anthropic_messages.slots import REQUEST, answer_slots, text_slots
from triptych.wires.json_spans import NotJson, walk
from triptych.wires.json_strings import escaped, unescaped
from triptych.wires.jsonshape import MAX_DEPTH
from triptych.wires.slot_tables import Members, compiled, free_slots, received_slots
from triptych.wires.slots import Kind, Slot, shown
from triptych.wires.splice import Edit, splice


def strings_of(text: bytes) -> list[str]:
    """Every string in the order of the text, keys and doubles too, as Python reads it."""
    found: list[str] = []

    def visit(value: object) -> None:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, tuple):
            for key, inner in value:
                found.append(key)
                visit(inner)
        elif isinstance(value, list):
            for inner in value:
                visit(inner)

    visit(json.loads(text.decode(), object_pairs_hook=tuple, parse_int=float, strict=False))
    return found


@pytest.mark.parametrize("seed", range(300))
def test_every_string_of_any_json_is_found_in_order(seed: int) -> None:
    writer = JsonWriter(seed)
    text = (writer.white() + writer.value() + writer.white()).encode()
    found = [slot.text(text) for slot in free_slots(text)]
    assert found == [string for string in strings_of(text) if string]


@pytest.mark.parametrize("seed", range(300))
def test_a_string_put_into_a_slot_changes_that_string_only(seed: int) -> None:
    writer = JsonWriter(seed)
    text = ('{"a":' + writer.value() + ',"b":[' + writer.value() + ',"c"]}').encode()
    slots = free_slots(text)
    index = random.Random(seed).randrange(len(slots))
    slot = slots[index]
    new = "".join(random.Random(seed).choices([*CHARS, '"', "\\", "\n", "\x00"], k=7))
    changed = splice(text, [Edit(slot.start, slot.end, escaped(new))])
    assert changed.startswith(text[: slot.start]) and changed.endswith(text[slot.end :])
    expected = strings_of(text)
    places = [place for place, string in enumerate(expected) if string]
    expected[places[index]] = new
    assert strings_of(changed) == expected


@pytest.mark.parametrize("seed", range(400))
def test_what_is_no_json_is_refused_and_nothing_else_is(seed: int) -> None:
    pick = random.Random(seed)
    text = JsonWriter(seed).value()
    for _ in range(pick.randrange(1, 3)):
        at = pick.randrange(len(text) + 1)
        if pick.random() < 0.5:
            text = text[:at] + text[at + 1 :]
        else:
            text = text[:at] + pick.choice([*'{}[]",:0\\ e-.', "null", '"a"', '"a":']) + text[at:]
    try:
        expected = [string for string in strings_of(text.encode()) if string]
    except ValueError:
        with pytest.raises(NotJson):
            free_slots(text.encode())
        return
    assert [slot.text(text.encode()) for slot in free_slots(text.encode())] == expected


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", "{", "}", "[", "]", "[1", '{"a":1', "1,", "1 2", "{},", "{} {}", "[1,]", "[,1]", "[1 2]"],
        *['{"a"}', '{"a":}', '{"a":1,}', "{1:2}", '["a":1]', "[}", "{]", '{"a":[}]', '"a":1', "nul", "01"],
        *['"', '"\\"', '"\\x"', '"\\u12"', "'a'", "NaN", "[1]]", "\xef\xbb\xbf1", '{"a":1 "b":2}', "//"],
    ],
)  # fmt: skip
def test_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(NotJson):
        free_slots(text.encode("latin-1"))


def test_a_string_at_top_level_is_a_slot_without_a_path() -> None:
    assert free_slots(b' "a\\n" ') == [Slot((), 2, 5, Kind.TEXT)]


def test_a_key_written_with_escapes_is_the_key_it_spells() -> None:
    body = rb'{"messages":[{"r\u006fle":"user","c\u006fntent":"hello"}]}'
    assert [(shown(slot.path), slot.text(body)) for slot in text_slots(body)] == [
        ("messages[0].content", "hello")
    ]


def test_a_key_that_occurs_twice_is_read_twice() -> None:
    body = (
        b'{"system":"one","messages":[{"role":"user","content":"a","content":[{"text":"b"}]}],"system":"two"}'
    )
    assert [slot.text(body) for slot in text_slots(body)] == ["one", "a", "b", "two"]


def test_an_unknown_member_is_inspected_with_its_key() -> None:
    body = '{"Größe":{"Ada\\u0020L":["x",[{"y":"z"}]]}}'.encode()
    assert [(shown(s.path), s.kind, s.is_key, s.text(body)) for s in text_slots(body)] == [
        ("Größe", Kind.NAME, True, "Größe"),
        ("Größe.Ada L", Kind.NAME, True, "Ada L"),
        ("Größe.Ada L[0]", Kind.TEXT, False, "x"),
        ("Größe.Ada L[1][0].y", Kind.NAME, True, "y"),
        ("Größe.Ada L[1][0].y", Kind.TEXT, False, "z"),
    ]


def test_text_where_an_object_or_a_number_should_be_is_inspected() -> None:
    body = b'{"max_tokens":"a b","tools":"c","tool_choice":["d"],"messages":[["e",{"content":"f"}]]}'
    assert [slot.text(body) for slot in text_slots(body)] == ["a b", "c", "d", "e", "f"]


def test_objects_where_an_ignored_string_should_be_are_inspected() -> None:
    body = b'{"messages":[{"role":{"a":"b"},"content":[{"type":["c d"],"id":[["e f"]]}]}]}'
    assert [slot.text(body) for slot in text_slots(body)] == ["a", "b", "c d", "e f"]


@pytest.mark.parametrize(
    "identifier",
    [
        "toolu_01A09q90qw90lq917835lq9",
        "call-1",
        "call_1123-45-67890",
        "gpt-4o-2024-05-13",
        "9b2c7d1e-0a4f-4b6e-8f13-2d5c7e9a1b3f",
        "m-1@2024",
        "1",
    ],
)
def test_an_identifier_is_ignored(identifier: str) -> None:
    body = json.dumps({"messages": [{"content": [{"type": "tool_use", "id": identifier}]}]}).encode()
    assert text_slots(body) == []


@pytest.mark.parametrize(
    "identifier",
    [
        "Ada Lovelace",
        "123-45-6789",
        "4155550123",
        "1980-01-02",
        "ada@x.org, Ada",
        "ada.l@x.org",
        "ada@1x.org",
        "call_ssn_123-45-6789",
        "call.415-555-0142",
        "x" * 300,
        "é",
    ],
)
def test_what_is_no_identifier_is_inspected_where_one_should_be(identifier: str) -> None:
    body = json.dumps({"messages": [{"content": [{"type": "tool_use", "id": identifier}]}]}).encode()
    assert [(slot.kind, slot.text(body)) for slot in text_slots(body)] == [(Kind.TEXT, identifier)]


def test_depth_is_bounded_like_everywhere() -> None:
    deep = b"[" * MAX_DEPTH + b'"a"' + b"]" * MAX_DEPTH
    assert [slot.text(deep) for slot in free_slots(deep)] == ["a"]
    with pytest.raises(NotJson):
        free_slots(b"[" + deep + b"]")


def test_a_text_nested_without_end_is_refused_without_recursion() -> None:
    with pytest.raises(NotJson):
        free_slots(b'{"a":[' * 1_000_000)


def test_large_texts_are_read_in_linear_time() -> None:
    escapes = b'"' + b"\\n\\u00e9a" * 1_000_000 + b'"'
    assert [slot.end - slot.start for slot in free_slots(escapes)] == [len(escapes) - 2]
    quotes = b'"' + b'\\"' * 1_000_000
    with pytest.raises(NotJson):
        free_slots(quotes)
    for white in (b"[" + b" " * 1_000_000, b'{"a":1,' + b"\n" * 1_000_000, b" " * 1_000_000):
        with pytest.raises(NotJson):
            free_slots(white)
    assert len(free_slots(b"[" + b'"a",' * 100_000 + b'"a"]')) == 100_001


def test_a_broken_request_is_the_clients_and_a_broken_answer_the_providers_fault() -> None:
    with pytest.raises(Failure) as refused:
        text_slots(b'{"messages":')
    assert refused.value.kind is FailureKind.INVALID_BODY
    with pytest.raises(Failure) as broken:
        answer_slots(b"<html>")
    assert broken.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


# Kinds that depend on the type beside them.


def source(*members: str) -> bytes:
    return ('{"messages":[{"content":[{"type":"document","source":{' + ",".join(members) + "}}]}]}").encode()


TEXT, BASE64, DATA = '"type":"text"', '"type":"base64"', '"data":"SGk="'


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ([TEXT, DATA], Kind.TEXT),
        ([DATA, TEXT], Kind.TEXT),
        ([DATA, '"media_type":"text/plain"', '"t\\u0079pe":"te\\u0078t"'], Kind.TEXT),
        ([BASE64, DATA], Kind.OPAQUE),
        ([DATA, BASE64], Kind.OPAQUE),
        ([DATA], Kind.OPAQUE),
        ([TEXT, DATA, BASE64], Kind.OPAQUE),
        ([BASE64, DATA, TEXT], Kind.OPAQUE),
        ([TEXT, DATA, TEXT], Kind.TEXT),
        ([DATA, '"type":["text"]'], Kind.OPAQUE),
        ([DATA, '"x":{"type":"text"}'], Kind.OPAQUE),
        ([TEXT, '"x":{"type":"base64"}', DATA], Kind.TEXT),
    ],
)
def test_data_is_text_only_when_its_one_type_says_so(members: list[str], kind: Kind) -> None:
    body = source(*members)
    assert [slot.kind for slot in text_slots(body) if slot.path[-1] == "data"] == [kind]


def test_the_tag_handed_in_counts_where_the_text_names_none() -> None:
    root = compiled(
        {"event": Members(tag="type", switches={"delta": (Kind.TEXT, {"audio": Kind.OPAQUE})})}, "event"
    )
    assert [slot.kind for slot in received_slots(b'{"delta":"QQ=="}', root, "audio")] == [Kind.OPAQUE]
    assert [slot.kind for slot in received_slots(b'{"delta":"QQ==","type":"x"}', root, "audio")] == [
        Kind.TEXT
    ]
    assert [slot.kind for slot in received_slots(b'{"delta":"QQ=="}', root)] == [Kind.TEXT]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.com/data:x", Kind.URL),
        ("dat", Kind.URL),
        ("data:image/png;base64,QUJD", Kind.OPAQUE),
        ("DATA:,Ada", Kind.OPAQUE),
        (r"\u0064at\u0061:text/plain,Ada", Kind.OPAQUE),
        (r"\n data:text/plain,Ada", Kind.OPAQUE),
        ("d" + r"\u0061ta:" + "A" * 1000, Kind.OPAQUE),
    ],
)
def test_a_data_url_is_opaque_however_it_is_spelled(url: str, kind: Kind) -> None:
    body = source('"type":"url"', f'"url":"{url}"')
    assert [slot.kind for slot in text_slots(body)] == [kind]


# Strings


@pytest.mark.parametrize("seed", range(100))
def test_what_is_escaped_is_unescaped_to_itself(seed: int) -> None:
    pick = random.Random(seed)
    text = "".join(pick.choices([*CHARS, '"', "\\", "\b", "\x01", "\ud83d", "\ude00", "\udcff"], k=9))
    inside = escaped(text)
    inside.decode()
    assert unescaped(inside) == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@pytest.mark.parametrize("escape", ESCAPES)
def test_every_escape_is_decoded(escape: str) -> None:
    assert unescaped(escape.encode()) == json.loads(f'"{escape}"')


def test_bytes_that_are_not_utf8_are_read_as_replacement_characters() -> None:
    assert unescaped(b"a\xffb") == "a\ufffdb"
    assert unescaped(b"a\xff\\n") == "a\ufffd\n"


# Tables


@pytest.mark.parametrize(
    "members",
    [Members(text="a", word="a"), Members(text="a", holds={"nothing": "a"}), Members(others="nothing")],
)
def test_a_table_that_contradicts_itself_is_refused(members: Members) -> None:
    with pytest.raises(ValueError, match=r"twice|no kind of object"):
        compiled({"root": members}, "root")


def test_the_wire_exports_what_guards_use() -> None:
    assert messages_wire.text_slots is text_slots
    assert walk(b"{}", REQUEST) == []
