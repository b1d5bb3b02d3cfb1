import json
import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.wires.random_json import JsonWriter, random_body
from triptych.core.failure import Failure, FailureKind
from triptych.wires.jsonshape import MAX_DEPTH
from triptych.wires.jsontext import MAX_MEMBERS, check, members


def refusal(body: bytes) -> str:
    """The sentence with which both entry points refuse a body."""
    sentences = set()
    for entry in (check, members):
        with pytest.raises(Failure) as caught:
            entry(body)
        assert caught.value.kind is FailureKind.INVALID_BODY
        sentences.add(caught.value.message)
    (sentence,) = sentences
    return sentence


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it is empty"),
        (b" \r\n\t", "it is empty"),
        (b"\xef\xbb\xbf{}", "it starts with a byte order mark"),
        (b'{"a":"\xff"}', "it is not UTF-8 (byte 6)"),
        (b'{"a":"\xed\xa0\x80"}', "it is not UTF-8 (byte 6)"),
        (b'{"a":"\xc3"}', "it is not UTF-8 (byte 6)"),
        ('{"a":1}'.encode("utf-16"), "it is not UTF-8 (byte 0)"),
        (b'{"a":NaN}', "NaN and Infinity are not JSON (byte 5)"),
        (b'{"a":Infinity}', "NaN and Infinity are not JSON (byte 5)"),
        (b'{"a":-Infinity}', "NaN and Infinity are not JSON (byte 6)"),
        (b'{"a":1} x', "trailing characters (byte 8)"),
        (b'{"a":1}{}', "trailing characters (byte 7)"),
        (b'{"a":[1,]}', "trailing comma in array (byte 8)"),
        (b'{"a":01}', "invalid number (byte 6)"),
        (b'{"a":"\n"}', "invalid character (byte 6)"),
        (b"{'a':1}", "expected '\"' (byte 1)"),
        (b'{"a":[1', "it ends too early (byte 7)"),
        (b'{"a":"x', "it ends too early (byte 7)"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(body: bytes, reason: str) -> None:
    assert refusal(body) == f"The request body is not valid JSON: {reason}."


@pytest.mark.parametrize(
    "half", ["\\ud800", "\\uDBFF", "\\udc00", "\\uDFFF", "\\ud800\\ud800", "\\ud83d\\\\ude00"]
)
@pytest.mark.parametrize(
    "frame", ['{"a":"%s"}', '{"a":{"b":["%sxxxxxxxx"]}}', '{"%s":1}', '{"a":"\\\\%s tail"}']
)
def test_half_a_surrogate_pair_is_refused(half: str, frame: str) -> None:
    body = (frame % half).encode()
    assert refusal(body).startswith("The request body is not valid JSON: lone surrogate escape (byte ")


@pytest.mark.parametrize(
    "text", ["\\ud83d\\ude00", "\\uD83D\\uDE00", "\\\\ud800", "\\\\\\\\udfff", "\\u00e9"]
)
def test_whole_pairs_and_escaped_backslashes_are_text(text: str) -> None:
    check(f'{{"a":"{text}","{text}":[]}}'.encode())


def nested(depth: int, opening: str, closing: str) -> bytes:
    return ('{"a":' + opening * (depth - 1) + "1" + closing * (depth - 1) + "}").encode()


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"x":', "}"), ("[1 , ", "]"), ('["[[\\"}",', "]")]
)
def test_depth_is_counted_exactly(opening: str, closing: str) -> None:
    check(nested(MAX_DEPTH, opening, closing))
    members(nested(MAX_DEPTH, opening, closing))
    sentence = refusal(nested(MAX_DEPTH + 1, opening, closing))
    assert sentence == "The request body nests arrays and objects deeper than 128 levels."


def test_depth_is_counted_exactly_where_many_branches_are_deep() -> None:
    def comb(depth: int) -> bytes:
        branch = "[" * depth + "]" * depth
        return ('{"a":[' + ",".join([branch] * 3) + "]}").encode()

    members(comb(MAX_DEPTH - 2))
    assert refusal(comb(MAX_DEPTH - 1)) == "The request body nests arrays and objects deeper than 128 levels."


@pytest.mark.parametrize("comma", [",", ", ", " ,", "\r\n\t,\n "])
@pytest.mark.parametrize("around", ["[%s]", "[ %s ]", "[[%s]]", "[[[[%s]]]]", '[{"a":[%s]}]'])
@pytest.mark.parametrize("place", [0, 7, 16, 39])
def test_the_one_deep_element_of_many_is_found(comma: str, around: str, place: int) -> None:
    levels = around.count("[") + around.count("{")

    def body(depth: int) -> bytes:
        shallow = '{"role":"user","content":[{"text":"[[[{{{ \\"[[ ]"},[],{},[[1]]]}'
        elements = [shallow] * 40
        elements[place] = "[" * depth + "1" + "]" * depth
        return ('{"z":"[","a" : ' + around % comma.join(elements) + "}").encode()

    most = MAX_DEPTH - 1 - levels
    assert [member.key for member in members(body(most))] == ["z", "a"]
    check(body(most))
    assert refusal(body(most + 1)) == "The request body nests arrays and objects deeper than 128 levels."


def test_values_hidden_by_a_key_that_follows_are_measured_too() -> None:
    deep = "[" * 130 + "]" * 130
    hidden = '{"a":[{"b":' + deep + ',"b":1}' + ',{"c":1}' * 200 + "]}"
    assert refusal(hidden.encode()) == "The request body nests arrays and objects deeper than 128 levels."


@pytest.mark.parametrize("cut", range(-4, 5))
@pytest.mark.parametrize("end", ["\\\\", '\\"', '\\\\\\"', "\\u005b", "x"])
def test_strings_are_told_from_structure_wherever_the_text_is_cut_for_reading(cut: int, end: str) -> None:
    slice_bytes = 1 << 20
    before = '{"a":["'
    string = "[" * (slice_bytes - len(before) - len(end) + cut) + end
    deep = "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2)
    members(f'{before}{string}",{deep}]}}'.encode())
    sentence = refusal(f'{before}{string}",[{deep}]]}}'.encode())
    assert sentence == "The request body nests arrays and objects deeper than 128 levels."


def test_brackets_in_the_strings_of_a_large_dense_body_do_not_count_as_depth() -> None:
    assert len(members(b'{"a":[' + b'["[["],' * 400_000 + b"1]}")) == 1


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    texts = ["[" * 200, "\\\\", '\\"[{[{', "{\\n[" * 100, '\\\\\\"' + "[" * 50, "]]]", ""] * 3
    members(('{"a":["' + '","'.join(texts) + '"],"b":"' + "{" * 300 + '"}').encode())


def test_a_bracket_bomb_is_refused_at_once() -> None:
    started = time.thread_time()
    for body in (b"[" * 5_000_000, b'{"a":' * 1_000_000, b'{"a":[' + b"[]," * 1_500_000 + b"1]}"):
        with pytest.raises(Failure):
            members(body)
    assert time.thread_time() - started < 5


def test_a_large_body_of_few_values_passes() -> None:
    text = '{"model":"m","data":"' + 'é\\n\\"[,{' * 200_000 + '"}'
    assert [member.key for member in members(text.encode())] == ["model", "data"]


def test_more_top_level_members_than_anyone_needs_are_refused() -> None:
    body = json.dumps({str(number): 1 for number in range(MAX_MEMBERS + 1)}).encode()
    with pytest.raises(Failure, match="more than 10000 members"):
        members(body)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b" true ", b'[{"a":1}]'])
def test_a_top_level_that_is_no_object_is_refused(body: bytes) -> None:
    check(body)
    with pytest.raises(Failure, match="must be a JSON object"):
        members(body)


def test_malformed_text_that_starts_as_an_array_is_called_malformed() -> None:
    assert refusal(b"[1,}") == "The request body is not valid JSON: invalid character (byte 3)."


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"a":1,"a":1}', "a"),
        (b'{"a":1,"a":2}', "a"),
        (b'{"a":12,"a":1}', "a"),
        (b'{"a":1,"a":12}', "a"),
        (b'{"a":1,"b":2,"a":1}', "a"),
        (b'{"b":1,"a":1, "\\u0061" : 1}', "a"),
        (b'{"model":"x","messages":[],"model":"y"}', "model"),
        (b'{"a":{"b":1},"b":2,"b":2}', "b"),
        # The last value of "a" fits where a careless reader would look for the first.
        (b'{"a":1,"b":11,"a":{"q":1,      "b":2}}', "a"),
        (b'{"":1,"":1}', ""),
        (b'{"a":1,"b":5,"a":1,"b":5,"a\\":1,\\"b":5}', "a"),
        ('{"é":[],"é":[]}'.encode(), "é"),
    ],
)
def test_a_top_level_key_twice_is_refused_by_name(body: bytes, key: str) -> None:
    with pytest.raises(Failure) as caught:
        members(body)
    assert caught.value.kind is FailureKind.INVALID_BODY
    assert f'the key "{key}" more than once at top level' in caught.value.message


def test_a_key_twice_further_down_is_not_our_business() -> None:
    assert len(members(b'{"a":{"b":1,"b":2}}')) == 1


def test_a_key_that_imitates_two_members_is_one_key() -> None:
    body = b'{"a\\":1,\\"b":2,"a":1,"b":3}'
    assert [member.key for member in members(body)] == ['a":1,"b', "a", "b"]
    assert [member.key for member in members(b'{"x\\\\":1}')] == ["x\\"]


def test_spans_are_exact_for_any_spelling() -> None:
    writer = JsonWriter(1)
    for _ in range(2_000):
        body = random_body(writer, {}, ("model", "a b", "metadata"))
        text = body.text
        found = members(text)
        assert [member.key for member in found] == [piece.key for piece in body.pieces]
        for member, piece in zip(found, body.pieces, strict=True):
            assert text[member.key_start : member.value_end].decode() == piece.core
            assert text[member.value_start : member.value_end].decode() == piece.value


_BYTES = list(b'{}[]",:\\ud8001e.-+tfn \n\xc3\xff')
_MUTATIONS = st.lists(st.tuples(st.integers(0, 200), st.sampled_from(_BYTES)), max_size=3)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10_000), _MUTATIONS)
def test_accepts_what_the_standard_library_accepts(seed: int, mutations: list[tuple[int, int]]) -> None:
    text = bytearray(random_body(JsonWriter(seed), {"model": '"m"'}, ("metadata",)).text)
    for place, byte in mutations:
        text[place % len(text)] = byte
    body = bytes(text)
    try:
        check(body)
        accepted = True
    except Failure:
        accepted = False
    assert accepted == _by_the_standard_library(body)


def _by_the_standard_library(body: bytes) -> bool:
    def constant(name: str) -> None:
        raise ValueError(name)

    try:
        # Encoding again finds the halves of surrogate pairs.
        json.dumps(json.loads(body.decode(), parse_constant=constant), ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", r"\u0061", "é"]), st.integers(0, 3000)), max_size=4),
    st.sampled_from([(",", ":"), (", ", ": "), (",", ": ")]),
)
def test_duplicates_are_found_exactly_when_there_are_some(
    pairs: list[tuple[str, int]], separators: tuple[str, str]
) -> None:
    between, after = separators
    written = [(key, JsonWriter(seed).value()) for key, seed in pairs]
    body = ("{" + between.join(f'"{key}"{after}{value}' for key, value in written) + "}").encode()
    keys = [json.loads(f'"{key}"') for key, _ in pairs]
    if len(set(keys)) == len(keys):
        found = members(body)
        assert list(found.keys) == [member.key for member in found] == keys
        values = [body[member.value_start : member.value_end] for member in found]
        assert values == [value.encode() for _, value in written]
        elsewhere = pickle.loads(pickle.dumps(found))
        assert elsewhere == found and list(elsewhere.keys) == keys
    else:
        with pytest.raises(Failure, match="more than once"):
            members(body)
