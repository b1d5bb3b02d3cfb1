import json

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import MAX_PLAUSIBLE_TOKENS
from triptych.wires.openai_responses import ResponsesRequest, parse_request, rewrite_request

GOOD = {"model": "m", "input": "hi"}
ITEM_TYPES = 'must be one of "message", "function_call", "function_call_output", "reasoning"'
REFERENCES = (
    "must not be item_reference: items are not looked up here. Send the item itself, as clients do that are "
    "told store false"
)
ROLES = 'must be one of "user", "assistant", "system", "developer"'
FUNCTION = {"type": "function", "name": "f", "parameters": {}, "strict": True}


def parse(**fields: object) -> ResponsesRequest:
    return parse_request(json.dumps({**GOOD, **fields}).encode())


def refused(body: bytes, kind: FailureKind = FailureKind.INVALID_BODY) -> tuple[str, str | None]:
    with pytest.raises(Failure) as caught:
        parse_request(body)
    assert caught.value.kind is kind
    return caught.value.message, caught.value.param


def refused_with(
    field: str, literal: str, kind: FailureKind = FailureKind.INVALID_BODY
) -> tuple[str, str | None]:
    fields = {**{name: json.dumps(value) for name, value in GOOD.items()}, field: literal}
    return refused(
        ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode(), kind
    )


def rewritten(body: bytes, model: str = "m") -> bytes:
    return rewrite_request(parse_request(body), model)


def test_the_core_fields_are_read() -> None:
    body = json.dumps({**GOOD, "stream": True, "store": False, "metadata": {"user_id": "u1"}}).encode()
    request = parse_request(body)
    assert (request.model, request.stream, request.user_id) == ("m", True, "u1")
    assert (request.store, request.conversation, request.previous_response_id) == (False, None, None)
    assert request.stateless
    assert request.body is body
    assert [member.key for member in request.members] == ["model", "input", "stream", "store", "metadata"]


def test_absent_fields_mean_no() -> None:
    request = parse()
    assert (request.stream, request.store, request.user_id, request.stateless) == (False, False, None, True)


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"store": True}, (True, None, None)),
        ({"conversation": "conv_1"}, (False, "conv_1", None)),
        ({"conversation": {"id": "conv_1", "more": 1}}, (False, "conv_1", None)),
        ({"previous_response_id": "resp_1"}, (False, None, "resp_1")),
        ({"conversation": None, "previous_response_id": "resp_1"}, (False, None, "resp_1")),
    ],
)
def test_what_asks_for_state_is_reported(
    fields: dict[str, object], seen: tuple[bool, str | None, str | None]
) -> None:
    request = parse(**fields)
    assert (request.store, request.conversation, request.previous_response_id) == seen
    assert not request.stateless


def test_null_means_not_given_where_the_vendor_says_so() -> None:
    assert parse(store=None, conversation=None, previous_response_id=None, background=None).stateless


def test_fields_that_are_not_core_are_never_looked_at() -> None:
    body = (
        b'{"model":"m","top_p":"x","big":1e999,"text":5,"input":['
        b'{"type":"reasoning","id":"rs_1","summary":[1e999],"content":null,"role":[]},'
        b'{"type":"function_call","content":5},{"type":"function_call_output","n":1e999},'
        b'{"role":"user","content":[{"type":"new","n":1e999},5]}],'
        b'"tools":[{"type":"function","name":"f","parameters":1e999}]}'
    )
    assert parse_request(body).model == "m"


@pytest.mark.parametrize("literal", ["0", "-1", "1.5", '"5"', "true", "null", "1e999", "[]"])
def test_a_bound_on_tokens_that_is_none_is_the_providers_business(literal: str) -> None:
    body = f'{{"model":"m","input":"hi","max_output_tokens":{literal}}}'.encode()
    assert parse_request(body).max_output_tokens is None
    assert parse(max_output_tokens=7).max_output_tokens == 7
    assert parse(max_output_tokens=10**30).max_output_tokens == MAX_PLAUSIBLE_TOKENS


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "developer", "content": ""}, {"role": "system", "content": []}],
        [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}],
        [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}],
        [{"type": "function_call_output", "call_id": "c", "output": "x"}],
        [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}],
    ],
)
def test_items_of_every_type_are_accepted(items: list[object]) -> None:
    assert parse(input=items).model == "m"


@pytest.mark.parametrize("metadata", [None, 5, [], {}, {"user_id": 5}, {"user_id": None}, "text"])
def test_metadata_of_any_shape_is_accepted_without_a_user(metadata: object) -> None:
    assert parse(metadata=metadata).user_id is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "model"),
        (b'{"input":"x"}', "model"),
        (b'{"model":"m"}', "input"),
        (b'{"model":5,"tools":5}', "input"),
    ],
)
def test_a_missing_field_is_named_and_nothing_else_is_said(body: bytes, field: str) -> None:
    assert refused(body) == (f"{field} is required", field)


@pytest.mark.parametrize("literal", ['""', "null", "5", "[]", "{}", "true"])
def test_the_model_is_a_non_empty_string(literal: str) -> None:
    assert refused_with("model", literal) == ("model must be a non-empty string", "model")


@pytest.mark.parametrize("field", ["stream", "store"])
@pytest.mark.parametrize("literal", ["0", "1", '"true"', "[]"])
def test_stream_and_store_are_booleans(field: str, literal: str) -> None:
    assert refused_with(field, literal) == (f"{field} must be true or false", field)


def test_stream_is_never_null() -> None:
    assert refused_with("stream", "null") == ("stream must be true or false", "stream")


@pytest.mark.parametrize("literal", ["{}", "null", "5", "true"])
def test_input_is_a_string_or_an_array(literal: str) -> None:
    assert refused_with("input", literal) == ("input must be a string or an array of items", "input")


@pytest.mark.parametrize(
    ("item", "path", "what"),
    [
        ("5", "input[1]", "must be an object"),
        ("null", "input[1]", "must be an object"),
        ('"x"', "input[1]", "must be an object"),
        ('{"type":"web_search_call"}', "input[1].type", ITEM_TYPES),
        ('{"type":"item_reference","id":"x"}', "input[1].type", REFERENCES),
        ('{"type":null,"role":"user","content":"x"}', "input[1].type", ITEM_TYPES),
        ('{"type":5}', "input[1].type", ITEM_TYPES),
        ("{}", "input[1].role", "is required"),
        ('{"id":"x"}', "input[1].role", "is required"),
        ('{"role":"user"}', "input[1].content", "is required"),
        ('{"type":"message","content":"x"}', "input[1].role", "is required"),
        ('{"role":"tool","content":"x"}', "input[1].role", ROLES),
        ('{"role":5,"content":"x"}', "input[1].role", ROLES),
        ('{"role":[],"content":"x"}', "input[1].role", ROLES),
        ('{"role":1e999,"content":"x"}', "input[1].role", ROLES),
        *(
            (
                f'{{"role":"user","content":{content}}}',
                "input[1].content",
                "must be a string or an array of content parts",
            )
            for content in ("5", "null", "{}", "true")
        ),
    ],
)
def test_a_wrong_item_is_named_by_its_path(item: str, path: str, what: str) -> None:
    literal = f'[{{"role":"user","content":"x"}}, {item}]'
    assert refused_with("input", literal) == (f"{path} {what}", path)


@pytest.mark.parametrize("tools", [[], [FUNCTION], [FUNCTION, {"type": "function", "name": "g"}]])
def test_flat_functions_are_accepted(tools: list[object]) -> None:
    assert parse(tools=tools).stateless


@pytest.mark.parametrize(
    ("tool", "path", "what"),
    [
        ("5", "tools[1]", "must be an object"),
        ("{}", "tools[1].type", "is required"),
        ('{"name":"f"}', "tools[1].type", "is required"),
        ('{"type":5}', "tools[1].type", "must be a string"),
        ('{"type":null}', "tools[1].type", "must be a string"),
        ('{"type":"function"}', "tools[1].name", "is required"),
        ('{"type":"function","function":{"name":"f"}}', "tools[1].name", "is required"),
        ('{"type":"function","name":""}', "tools[1].name", "must be a non-empty string"),
        ('{"type":"function","name":5}', "tools[1].name", "must be a non-empty string"),
    ],
)
def test_a_wrong_tool_is_named_by_its_path(tool: str, path: str, what: str) -> None:
    assert refused_with("tools", f"[{json.dumps(FUNCTION)},{tool}]") == (f"{path} {what}", path)


@pytest.mark.parametrize("literal", ["null", "{}", '"x"', "5"])
def test_tools_are_an_array(literal: str) -> None:
    assert refused_with("tools", literal) == ("tools must be an array", "tools")


@pytest.mark.parametrize("type_", ["web_search", "custom", "file_search", "computer_use_preview", ""])
def test_a_tool_of_another_type_is_refused_by_name(type_: str) -> None:
    literal = json.dumps([FUNCTION, {"type": type_, "name": "x"}])
    message, param = refused_with("tools", literal, FailureKind.UNSUPPORTED_TOOL_TYPE)
    assert message == f"The tool type '{type_}' is not supported: use 'function'."
    assert param == "tools[1].type"


def test_a_tool_type_is_not_quoted_at_any_length() -> None:
    message, _ = refused_with("tools", json.dumps([{"type": "x" * 9999}]), FailureKind.UNSUPPORTED_TOOL_TYPE)
    assert len(message) < 150


def test_mcp_tools_need_a_request_with_state() -> None:
    mcp = {"type": "mcp", "server_label": "x", "server_url": "https://example.com"}
    message, param = refused_with("tools", json.dumps([mcp]), FailureKind.UNSUPPORTED_TOOL_TYPE)
    assert "'mcp'" in message
    assert param == "tools[0].type"
    states: list[dict[str, object]] = [{"store": True}, {"conversation": "c"}, {"previous_response_id": "r"}]
    for state in states:
        assert parse(tools=[mcp], **state).model == "m"


def test_background_is_an_unsupported_parameter() -> None:
    assert refused_with("background", "true", FailureKind.UNSUPPORTED_PARAMETER)[1] == "background"
    assert parse(background=False).model == "m"
    assert refused_with("background", "1") == ("background must be true or false", "background")


@pytest.mark.parametrize("conversation", ["c", {"id": "c"}])
def test_a_conversation_and_a_previous_response_exclude_each_other(conversation: object) -> None:
    body = json.dumps({**GOOD, "conversation": conversation, "previous_response_id": "r"}).encode()
    message, param = refused(body, FailureKind.MUTUALLY_EXCLUSIVE_PARAMETERS)
    assert "previous_response_id and conversation" in message
    assert param == "previous_response_id"


@pytest.mark.parametrize(
    ("field", "literal", "path", "what"),
    [
        *(
            ("conversation", literal, "conversation", 'must be the id of a conversation, or {"id": the same}')
            for literal in ("5", "[]", '""', "true")
        ),
        ("conversation", "{}", "conversation.id", "is required"),
        ("conversation", '{"id":5}', "conversation.id", "must be a non-empty string"),
        ("conversation", '{"id":""}', "conversation.id", "must be a non-empty string"),
        *(
            ("previous_response_id", literal, "previous_response_id", "must be a non-empty string")
            for literal in ("5", "{}", '""', "true")
        ),
    ],
)
def test_what_names_no_state_is_refused(field: str, literal: str, path: str, what: str) -> None:
    assert refused_with(field, literal) == (f"{path} {what}", path)


def test_refusals_quote_nothing_of_the_prompt() -> None:
    for literal in ('[{"role":"canary-7","content":"canary-7"}]', '[{"type":"canary-7"}]'):
        assert "canary" not in refused_with("input", literal)[0]


def test_a_request_that_is_no_json_is_refused_as_such() -> None:
    assert refused(b'{"model":"m"')[0] == "The request body is not valid JSON: it ends too early (byte 12)."
    assert "more than once" in refused(b'{"model":"m","model":"m"}')[0]
    assert refused(b"[]")[0] == "The request body must be a JSON object."


def test_the_provider_is_told_to_keep_nothing() -> None:
    assert rewritten(b'{ "model" : "m" ,\n"input":"x", "n":1.50 }') == (
        b'{ "model" : "m","store":false ,\n"input":"x", "n":1.50 }'
    )
    assert rewritten(b'{"store": true,"model":"m","input":"x"}') == (
        b'{"store": false,"model":"m","input":"x"}'
    )
    assert rewritten(b'{"store" :null,"model":"m","input":"x"}') == (
        b'{"store" :false,"model":"m","input":"x"}'
    )


def test_a_request_with_nothing_to_change_is_relayed_as_the_same_object() -> None:
    body = b'{ "model":"m", "store" : false, "input":"x", "n":1.50 }'
    assert rewritten(body) is body


def test_the_model_is_written_as_json() -> None:
    body = b'{"model":"m","input":"x"}'
    assert rewritten(body, 'a"b\\\xe9') == b'{"model":"a\\"b\\\\\xc3\xa9","store":false,"input":"x"}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"metadata":{"a":1},"model":"m","input":"x"}',
            b'{"model":"n","store":false,"input":"x"}',
        ),
        (
            b'{"model":"m" , "metadata":{}, "litellm_metadata":[],"input":"x"}',
            b'{"model":"n","store":false,"input":"x"}',
        ),
        (
            b'{"input":"x","model":"m","metadata":{}, "proxy_server_request":1 }',
            b'{"input":"x","model":"n","store":false }',
        ),
        (
            b'{"input":"x","metadata":{},"store":true,"model":"m","metadata2":{}}',
            b'{"input":"x","store":false,"model":"n","metadata2":{}}',
        ),
    ],
)
def test_stripped_fields_go_and_every_other_byte_stays(body: bytes, expected: bytes) -> None:
    assert rewritten(body, "n") == expected
