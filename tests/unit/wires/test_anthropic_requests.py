import json

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.wires.anthropic_messages import MessagesRequest, parse_request, rewrite_request

GOOD = {"model": "m", "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]}
MAX_TOKENS_SENTENCE = "max_tokens must be an integer between 1 and 9223372036854775807"


def parse(counting: bool = False, **fields: object) -> MessagesRequest:
    return parse_request(json.dumps({**GOOD, **fields}).encode(), counting=counting)


def refused(body: bytes, *, counting: bool = False) -> tuple[str, str | None]:
    with pytest.raises(Failure) as caught:
        parse_request(body, counting=counting)
    assert caught.value.kind is FailureKind.INVALID_BODY
    return caught.value.message, caught.value.param


def refused_with(field: str, literal: str, *, counting: bool = False) -> tuple[str, str | None]:
    fields = {**{name: json.dumps(value) for name, value in GOOD.items()}, field: literal}
    body = "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"
    return refused(body.encode(), counting=counting)


def test_the_core_fields_are_read() -> None:
    body = json.dumps({**GOOD, "stream": True, "metadata": {"user_id": "u1"}}).encode()
    request = parse_request(body, counting=False)
    assert (request.model, request.stream, request.max_tokens, request.user_id) == ("m", True, 16, "u1")
    assert request.body is body
    assert [member.key for member in request.members] == [
        "model",
        "max_tokens",
        "messages",
        "stream",
        "metadata",
    ]


def test_fields_that_are_not_core_are_never_looked_at() -> None:
    literal = '{"role":"user","content":[{"type":"new","n":1e999},{}],"cache":[1e999]}'
    body = f'{{"model":"m","max_tokens":1,"messages":[{literal}],"top_k":"x","big":1e999,"tools":5}}'.encode()
    assert parse_request(body, counting=False).max_tokens == 1


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "assistant", "content": []}],
        [{"role": "user", "content": ""}],
        [{"role": "user", "content": [{"type": "image", "source": {}}]}],
    ],
)
def test_alternation_and_block_types_are_the_providers_business(messages: list[object]) -> None:
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
        (b'{"max_tokens":1}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","max_tokens":1}', "messages"),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}]}', "max_tokens"),
        (b'{"model":5,"messages":[]}', "max_tokens"),
    ],
)
def test_a_missing_field_is_named_and_nothing_else_is_said(body: bytes, field: str) -> None:
    assert refused(body) == (f"{field} is required", field)


NO_MAX_TOKENS = ["0", "-1", "1.5", '"5"', "true", "null", "1e999", "1e2", "1.0", "[]", str(2**63), "9" * 5000]


@pytest.mark.parametrize("literal", NO_MAX_TOKENS)
@pytest.mark.parametrize("counting", [False, True])
def test_max_tokens_is_a_positive_integer_of_64_bits(literal: str, counting: bool) -> None:
    assert refused_with("max_tokens", literal, counting=counting) == (MAX_TOKENS_SENTENCE, "max_tokens")


def test_the_largest_max_tokens_is_accepted() -> None:
    assert parse(max_tokens=2**63 - 1).max_tokens == 2**63 - 1


def test_counting_needs_no_max_tokens() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
    assert parse_request(body, counting=True).max_tokens is None
    assert refused(body) == ("max_tokens is required", "max_tokens")


@pytest.mark.parametrize("literal", ['""', "null", "5", "[]", "{}", "true"])
def test_the_model_is_a_non_empty_string(literal: str) -> None:
    assert refused_with("model", literal) == ("model must be a non-empty string", "model")


@pytest.mark.parametrize("literal", ["null", "0", "1", '"true"', "[]"])
@pytest.mark.parametrize("counting", [False, True])
def test_stream_is_a_boolean(literal: str, counting: bool) -> None:
    assert refused_with("stream", literal, counting=counting) == ("stream must be true or false", "stream")


@pytest.mark.parametrize("literal", ["[]", "[ ]", "{}", "null", '"hi"', "5"])
def test_messages_are_a_non_empty_array(literal: str) -> None:
    assert refused_with("messages", literal) == ("messages must be a non-empty array", "messages")


@pytest.mark.parametrize(
    ("message", "path", "what"),
    [
        ("5", "messages[1]", "must be an object"),
        ("null", "messages[1]", "must be an object"),
        ("{}", "messages[1].role", "is required"),
        ('{"role":"user"}', "messages[1].content", "is required"),
        ('{"role":"tool","content":"x"}', "messages[1].role", 'must be "user" or "assistant"'),
        ('{"role":5,"content":"x"}', "messages[1].role", 'must be "user" or "assistant"'),
        (
            '{"role":"system","content":"x"}',
            "messages[1].role",
            'must be "user" or "assistant": role "system" is not supported, use field "system"',
        ),
        *(
            (
                f'{{"role":"user","content":{content}}}',
                "messages[1].content",
                "must be a string or an array of content blocks",
            )
            for content in ("5", "null", "{}", "true")
        ),
        ('{"role":"user","content":[{},"x"]}', "messages[1].content[1]", "must be an object"),
        ('{"role":"user","content":[[]]}', "messages[1].content[0]", "must be an object"),
    ],
)
def test_a_wrong_message_is_named_by_its_path(message: str, path: str, what: str) -> None:
    literal = f'[{{"role":"user","content":"x"}}, {message}]'
    assert refused_with("messages", literal) == (f"{path} {what}", path)


def test_refusals_quote_nothing_of_the_prompt() -> None:
    literal = '[{"role":"canary-7","content":"canary-7"}]'
    assert "canary" not in refused_with("messages", literal)[0]


def test_a_request_that_is_no_json_is_refused_as_such() -> None:
    assert refused(b'{"model":"m"')[0] == "The request body is not valid JSON: it ends too early (byte 12)."
    assert "more than once" in refused(b'{"model":"m","model":"m"}')[0]


def test_a_request_with_nothing_to_change_is_relayed_as_the_same_object() -> None:
    body = b'{ "model":"m","max_tokens":1, "messages":[{"role":"user","content":"x"}], "x":1.50 }'
    assert rewrite_request(parse_request(body, counting=False), "m") is body


def test_the_model_is_written_as_json() -> None:
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]}'
    rewritten = rewrite_request(parse_request(body, counting=False), 'a"b\\é')
    assert json.loads(rewritten)["model"] == 'a"b\\é'
    assert rewritten.endswith(b',"max_tokens":1,"messages":[{"role":"user","content":"x"}]}')
