import json

import pytest

from tests.unit.wires.random_json import JsonWriter, random_body
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import MAX_PLAUSIBLE_TOKENS
from triptych.wires.openai_chat import STRIPPED_FIELDS, ChatRequest, parse_request, rewrite_request

GOOD = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ROLE_SENTENCE = 'must be one of "system", "developer", "user", "assistant", "tool"'


def parse(**fields: object) -> ChatRequest:
    return parse_request(json.dumps({**GOOD, **fields}).encode())


def refused(body: bytes) -> tuple[str, str | None]:
    with pytest.raises(Failure) as caught:
        parse_request(body)
    assert caught.value.kind is FailureKind.INVALID_BODY
    return caught.value.message, caught.value.param


def refused_with(literal: str, field: str, **others: str) -> tuple[str, str | None]:
    fields = {**{name: json.dumps(value) for name, value in GOOD.items()}, **others, field: literal}
    return refused(("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode())


def test_the_core_fields_are_read() -> None:
    body = json.dumps({**GOOD, "stream": True, "metadata": {"user_id": "u1"}, "user": "u2"}).encode()
    request = parse_request(body)
    assert (request.model, request.stream, request.user_id, request.include_usage) == (
        "m",
        True,
        "u1",
        False,
    )
    assert request.body is body
    assert [member.key for member in request.members] == ["model", "messages", "stream", "metadata", "user"]


@pytest.mark.parametrize(
    ("options", "stream", "asked"),
    [
        ({"include_usage": True}, True, True),
        ({"include_usage": True, "include_obfuscation": False}, True, True),
        ({"include_usage": False}, True, False),
        ({"include_usage": None}, True, False),
        ({}, True, False),
        (None, True, False),
        ({"include_usage": True}, False, False),
    ],
)
def test_whether_a_client_asks_for_the_usage_of_its_stream(
    options: object, stream: bool, asked: bool
) -> None:
    assert parse(stream=stream, stream_options=options).include_usage is asked


def test_fields_that_are_not_core_are_never_looked_at() -> None:
    messages = '[{"role":"user","content":[{"type":"new","n":1e999},{}],"name":5},{"role":"assistant"}]'
    body = f'{{"model":"m","messages":{messages},"n":"x","big":1e999,"tools":5,"stream_options":7}}'.encode()
    assert parse_request(body).model == "m"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "a"}, {"role": "developer"}, {"role": "assistant", "content": None}],
        [{"role": "tool", "tool_call_id": "call_1", "content": "x"}],
        [{"content": "x", "tool_call_id": "call_1", "role": "tool"}],
        [{"role": "user", "content": 5, "tool_call_id": 5}],
        [{"role": "assistant", "tool_calls": [{"id": "call_1"}]}],
    ],
)
def test_content_and_order_of_messages_are_the_providers_business(messages: list[object]) -> None:
    assert parse(messages=messages).model == "m"


@pytest.mark.parametrize(
    "metadata", [None, 5, [], {}, {"user_id": 5}, {"user_id": None}, "text", {"user_id": {}}]
)
def test_metadata_of_any_shape_is_accepted_without_a_user(metadata: object) -> None:
    assert parse(metadata=metadata).user_id is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "model"),
        (b'{"messages":[]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":5}', "messages"),
    ],
)
def test_a_missing_field_is_named_and_nothing_else_is_said(body: bytes, field: str) -> None:
    assert refused(body) == (f"{field} is required", field)


NO_COUNT = ["0", "-1", "1.5", '"5"', "true", "null", "1e999", "[]", "{}"]


def spelled(**literals: str) -> ChatRequest:
    """A request with these fields, spelled like that."""
    start = json.dumps(GOOD)[:-1]
    return parse_request(
        (start + "".join(f',"{name}":{text}' for name, text in literals.items()) + "}").encode()
    )


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("literal", NO_COUNT)
def test_a_bound_on_tokens_that_is_none_is_the_providers_business(field: str, literal: str) -> None:
    request = spelled(**{field: literal})
    assert request.max_output_tokens is None
    assert f'"{field}":{literal}'.encode() in request.body


@pytest.mark.parametrize("literal", [*NO_COUNT, "9" * 30])
def test_a_number_of_answers_that_is_none_is_the_providers_business(literal: str) -> None:
    assert spelled(n=literal).choices == (MAX_PLAUSIBLE_TOKENS if literal.startswith("9") else 1)


def test_of_two_bounds_on_tokens_the_greater_one_is_reckoned_with() -> None:
    assert spelled(max_tokens="7", max_completion_tokens="9").max_output_tokens == 9
    assert spelled(max_tokens="7", max_completion_tokens="1e999").max_output_tokens == 7
    for huge in (str(2**63 - 1), str(2**63), "9" * 30):
        assert spelled(max_tokens=huge).max_output_tokens == MAX_PLAUSIBLE_TOKENS


@pytest.mark.parametrize("literal", ['""', "null", "5", "[]", "{}", "true"])
def test_the_model_is_a_non_empty_string(literal: str) -> None:
    assert refused_with(literal, "model") == ("model must be a non-empty string", "model")


@pytest.mark.parametrize("literal", ["null", "0", "1", '"true"', "[]"])
def test_stream_is_a_boolean(literal: str) -> None:
    assert refused_with(literal, "stream") == ("stream must be true or false", "stream")


@pytest.mark.parametrize("literal", ["[]", "[ ]", "{}", "null", '"hi"', "5"])
def test_messages_are_a_non_empty_array(literal: str) -> None:
    assert refused_with(literal, "messages") == ("messages must be a non-empty array", "messages")


@pytest.mark.parametrize(
    ("message", "path", "what"),
    [
        ("5", "messages[1]", "must be an object"),
        ("null", "messages[1]", "must be an object"),
        ("{}", "messages[1].role", "is required"),
        ('{"content":"x"}', "messages[1].role", "is required"),
        ('{"role":"function","content":"x"}', "messages[1].role", ROLE_SENTENCE),
        ('{"role":null}', "messages[1].role", ROLE_SENTENCE),
        ('{"role":5}', "messages[1].role", ROLE_SENTENCE),
        ('{"role":"tool","content":"x"}', "messages[1].tool_call_id", "is required"),
        ('{"role":"tool","tool_call_id":5}', "messages[1].tool_call_id", "must be a string"),
        ('{"role":"tool","tool_call_id":null}', "messages[1].tool_call_id", "must be a string"),
    ],
)
def test_a_wrong_message_is_named_by_its_path(message: str, path: str, what: str) -> None:
    assert refused_with(f'[{{"role":"user"}}, {message}]', "messages") == (f"{path} {what}", path)


@pytest.mark.parametrize("literal", ["5", '"x"', "[]", "true"])
def test_the_options_of_a_stream_are_an_object(literal: str) -> None:
    assert refused_with(literal, "stream_options", stream="true") == (
        "stream_options must be an object",
        "stream_options",
    )


@pytest.mark.parametrize("literal", ["1", '"true"', "[]", "{}"])
def test_include_usage_is_a_boolean(literal: str) -> None:
    assert refused_with(f'{{"include_usage":{literal}}}', "stream_options", stream="true") == (
        "stream_options.include_usage must be true or false",
        "stream_options.include_usage",
    )


def test_an_option_of_a_stream_does_not_occur_twice() -> None:
    options = '{"include_usage":true,"include_usage":false}'
    assert refused_with(options, "stream_options", stream="true")[1] == "stream_options"


def test_refusals_quote_nothing_of_the_prompt() -> None:
    assert "canary" not in refused_with('[{"role":"canary-7","content":"canary-7"}]', "messages")[0]


def test_a_request_that_is_no_json_is_refused_as_such() -> None:
    assert refused(b'{"model":"m"')[0] == "The request body is not valid JSON: it ends too early (byte 12)."
    assert "more than once" in refused(b'{"model":"m","model":"m"}')[0]


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b',"stream":false,"stream_options":{"include_usage":false}',
        b',"stream":true,"stream_options":{ "include_usage" : true }',
    ],
)
def test_a_request_with_nothing_to_change_is_relayed_as_the_same_object(rest: bytes) -> None:
    body = b'{ "model":"m", "messages":[{"role":"user","content":"x"}], "x":1.50 ' + rest + b"}"
    assert rewrite_request(parse_request(body), "m") is body


HEAD = b'{"model":"m","messages":[{"role":"user"}],"stream":true'


@pytest.mark.parametrize(
    ("rest", "rewritten"),
    [
        (b"}", b',"stream_options":{"include_usage":true}}'),
        (b' , "x" : 1e999 \n}\n', b' , "x" : 1e999,"stream_options":{"include_usage":true} \n}\n'),
        (b',"metadata":{"a":1} }', b',"stream_options":{"include_usage":true} }'),
        (b',"stream_options":null}', b',"stream_options":{"include_usage":true}}'),
        (b',"stream_options":{}}', b',"stream_options":{"include_usage":true}}'),
        (b',"stream_options": { } ,"x":1}', b',"stream_options": {"include_usage":true } ,"x":1}'),
        (
            b',"stream_options": {"include_usage" :false, "y":1.0}}',
            b',"stream_options": {"include_usage" :true, "y":1.0}}',
        ),
        (
            b',"stream_options":{"y":{}, "include_usage": null }}',
            b',"stream_options":{"y":{}, "include_usage": true }}',
        ),
        (
            b',"stream_options":{ "y":[1] }}',
            b',"stream_options":{ "y":[1],"include_usage":true }}',
        ),
        (
            b',"stream_option\\u0073":{"include_us\\u0061ge":false}}',
            b',"stream_option\\u0073":{"include_us\\u0061ge":true}}',
        ),
    ],
)
def test_a_stream_is_made_to_report_its_usage(rest: bytes, rewritten: bytes) -> None:
    assert rewrite_request(parse_request(HEAD + rest), "m") == HEAD + rewritten


def test_the_model_is_written_as_json() -> None:
    body = b'{"messages":[{"role":"user"}],"stream":true,"model":"m"}'
    rewritten = rewrite_request(parse_request(body), 'a"b\\é')
    assert json.loads(rewritten)["model"] == 'a"b\\é'
    assert rewritten.endswith(b',"stream_options":{"include_usage":true}}')


def test_every_byte_outside_the_declared_edits_survives_in_4000_random_bodies() -> None:
    stripped = frozenset(STRIPPED_FIELDS)
    optional = (*STRIPPED_FIELDS, "tools", "temperature", "user", "response_format")
    writer = JsonWriter(20260103)
    pick = writer.random
    untouched = 0
    for _ in range(4_000):
        fixed = {"messages": '[{"role":"user", "content":"h\\u00e9 [{,"}]'}
        stream = pick.choice(["true", "false", None])
        if stream is not None:
            fixed["stream"] = stream
        white = [writer.white() for _ in range(4)]
        options = pick.choice([None, "null", "true", "false", "other"])
        if options == "other":
            fixed["stream_options"] = '{"é":[ ]' + white[0] + "}"
            asked = '{"é":[ ],"include_usage":true' + white[0] + "}"
        elif options is not None:
            shape = "{" + white[0] + '"include_usage"' + white[1] + ":" + white[2] + "%s" + white[3] + "}"
            fixed["stream_options"], asked = shape % options, shape % "true"
        body = random_body(writer, {**fixed, "model": writer.spelled("old-model")}, optional)
        text = body.text
        target = pick.choice(["old-model", "new/é-model"])
        request = parse_request(text)
        out = rewrite_request(request, target)
        edits = {"model": f'"{target}"'} if target != "old-model" else {}
        if stream == "true" and options is not None:
            edits["stream_options"] = asked
        for piece in body.pieces:
            if piece.key in edits:
                piece.core = piece.core.removesuffix(piece.value) + edits[piece.key]
        assert request.include_usage is (stream == "true" and options == "true")
        if stream == "true" and options is None:
            last = body.pieces[-1]
            last.after = ',"stream_options":{"include_usage":true}' + last.after
        expected = body.without(stripped)
        assert out == expected
        if body.text == text and not stripped & {piece.key for piece in body.pieces} and expected == text:
            assert out is text
            untouched += 1
    assert untouched > 100
