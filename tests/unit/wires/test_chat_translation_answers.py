"""Whole answers of the chat wire."""

import json
from typing import Any

import pytest
from hypothesis import given
from openai.types.chat import ChatCompletion

from tests.unit.wires.chat_strategies import answers
from tests.unit.wires.misplaced_json import misplaced
from triptych.core.conversation import Answer, Citation, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage, UsageSource
from triptych.wires.openai_chat import decode_answer, decode_request, encode_answer, parse_request

ASKED = parse_request(b'{"model":"m","messages":[{"role":"user","content":"x"}]}')
NOW_S = 1_800_000_000
WHOLE: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-5-2025-08-07",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Sunny, says A.",
                "refusal": None,
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {
                            "url": "https://a.test",
                            "title": "A",
                            "start_index": 0,
                            "end_index": 5,
                        },
                    }
                ],
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                    {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 30,
        "completion_tokens": 12,
        "total_tokens": 42,
        "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 4},
    },
    "service_tier": "default",
}


def told(message: dict[str, Any], finish_reason: str | None = "stop", **choice: Any) -> Answer:
    body = {
        "id": "a1",
        "model": "m",
        "choices": [{"message": message, "finish_reason": finish_reason, **choice}],
    }
    return decode_answer(json.dumps(body).encode())


def written(*parts: Any, **fields: Any) -> dict[str, Any]:
    answer = Answer(id="a1", model="m", parts=parts, **fields)
    body: dict[str, Any] = json.loads(encode_answer(answer, ASKED, now_s=NOW_S))
    return body


def call(**fields: Any) -> dict[str, Any]:
    return {"content": None, "tool_calls": [{"id": "c1", "type": "function", "function": fields}]}


def test_an_answer_survives_the_way_through_the_model() -> None:
    answer = decode_answer(json.dumps({**WHOLE, "system_fingerprint": "fp", "brand_new": [1]}).encode())
    assert answer == Answer(
        id="chatcmpl-1",
        model="gpt-5-2025-08-07",
        created_s=1_700_000_000,
        parts=(
            Text("Sunny, says A.", (Citation("https://a.test", "A", None, 0, 5),)),
            ToolCall("c1", "f", '{"a": 1}'),
            ToolCall("c2", "g", "{}"),
        ),
        stop=Stop.TOOL_CALLS,
        usage=Usage(15, 12, 10, 5, 4, UsageSource.PROVIDER),
        service_tier="default",
    )
    assert json.loads(encode_answer(answer, ASKED)) == WHOLE


@pytest.mark.parametrize(
    ("reason", "stop", "back"),
    [
        ("stop", Stop.END, "stop"),
        ("length", Stop.MAX_TOKENS, "length"),
        ("content_filter", Stop.REFUSED, "content_filter"),
        ("model_length", Stop.CONTEXT_WINDOW, "length"),
        ("eos_token", Stop.END, "stop"),
        ("tool_calls", Stop.END, "stop"),
        (None, Stop.END, "stop"),
    ],
)
def test_why_a_text_ended(reason: str | None, stop: Stop, back: str) -> None:
    answer = told({"content": "x"}, reason)
    assert answer.stop is stop
    assert json.loads(encode_answer(answer, ASKED))["choices"][0]["finish_reason"] == back


def test_a_forced_call_ends_with_stop_and_is_a_call_all_the_same() -> None:
    assert told(call(name="f", arguments="{}"), "stop").stop is Stop.TOOL_CALLS
    assert told(call(name="f", arguments="{"), "length").stop is Stop.MAX_TOKENS


def test_a_server_that_tells_the_stop_sequence_is_believed() -> None:
    answer = told({"content": "x"}, "stop", stop_reason="END")
    assert (answer.stop, answer.stop_sequence) == (Stop.SEQUENCE, "END")
    assert told({"content": "x"}, "stop", stop_reason=128001).stop is Stop.END
    assert written(Text("x"), stop=Stop.SEQUENCE)["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_by_either_name(name: str) -> None:
    assert told({"content": "x", name: "hm"}).parts == (Reasoning("hm"), Text("x"))


def test_content_in_parts_is_read() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]},
        {"type": "text", "text": "x"},
        {"type": "refusal", "refusal": "no"},
        {"type": "text", "text": ""},
    ]
    assert told({"content": content}).parts == (Reasoning("hm"), Text("x"), Refusal("no"))


def test_servers_that_leave_things_out_are_understood() -> None:
    answer = decode_answer(
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"f"}},{"id":"",'
        b'"function":{"name":"f","arguments":{"a":[1]}}}]}}]}'
    )
    assert answer == Answer(
        id="",
        model="",
        parts=(ToolCall("call__0", "f", "{}"), ToolCall("call__1", "f", '{"a":[1]}')),
        stop=Stop.TOOL_CALLS,
    )


def test_half_an_emoji_is_no_reason_to_lose_an_answer() -> None:
    answer = decode_answer(b'{"id":"a","model":"m","choices":[{"message":{"content":"x\\ud83d"}}]}')
    assert answer.parts == (Text("x\ufffd"),)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":null}',
        b'{"choices":[]}',
        b'{"choices":[{}]}',
        b'{"choices":[{"message":{"content":7}}]}',
        b'{"choices":[{"message":{"content":[{"type":"hologram"}]}}]}',
        b'{"choices":[{"message":{"tool_calls":[{"id":"c"}]}}]}',
        b'{"choices":[{"message":{"tool_calls":[{"id":"c","type":"custom","custom":{"name":"f"}}]}}]}',
        b'{"choices":[{"message":{"content":"x"},"finish_reason":"error"}]}',
        b'{"choices":[{"message":{"content":"x","images":[{"type":"image_url"}]}}]}',
        b'{"choices":[{"message":{"content":null,"audio":{"id":"a","transcript":"x"}}}]}',
        b'{"choices":[{"message":{"content":null,"function_call":{"name":"f","arguments":"{}"}}}]}',
        b'{"choices":[{"message":{"content":"x"},"finish_reason":"insufficient_system_resource"}]}',
    ],
)
def test_what_cannot_be_understood_is_the_providers_failure(body: bytes) -> None:
    with pytest.raises(Failure) as raised:
        decode_answer(body)
    assert raised.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_fields_of_what_was_not_said_are_no_fault() -> None:
    said = b'{"content":"x","images":[],"audio":null,"function_call":{"name":null,"arguments":""}}'
    assert decode_answer(b'{"choices":[{"message":%b}]}' % said).parts == (Text("x"),)


def test_usage_that_is_not_there_is_not_made_up() -> None:
    for usage in (None, {}, [], "much"):
        body = {**WHOLE, "usage": usage}
        answer = decode_answer(json.dumps(body).encode())
        assert answer.usage is None
        assert "usage" not in json.loads(encode_answer(answer, ASKED))
    lied = decode_answer(
        json.dumps({**WHOLE, "usage": {"prompt_tokens": -1, "completion_tokens": 2}}).encode()
    )
    assert lied.usage == Usage(0, 2, source=UsageSource.ESTIMATE)


def test_texts_are_one_text_and_their_citations_keep_their_place() -> None:
    parts = (
        Text("One. "),
        Text("Two.", (Citation("https://a.test", start=0, end=3), Citation("https://b.test", "B", "quoted"))),
    )
    message = written(*parts)["choices"][0]["message"]
    assert message["content"] == "One. Two."
    assert [annotation["url_citation"] for annotation in message["annotations"]] == [
        {"url": "https://a.test", "title": "", "start_index": 5, "end_index": 8},
        {"url": "https://b.test", "title": "B", "start_index": 5, "end_index": 9},
    ]


def test_an_answer_without_a_time_is_of_now() -> None:
    assert written(Text("x"))["created"] == NOW_S
    assert written(Text("x"), created_s=0)["created"] == 0


@pytest.mark.parametrize(
    ("created", "created_s"), [(1.7e9, 1_700_000_000), (-1, None), ("now", None), (10**20, None)]
)
def test_a_time_that_is_none_is_not_told(created: object, created_s: int | None) -> None:
    assert decode_answer(json.dumps({**WHOLE, "created": created}).encode()).created_s == created_s


def test_opaque_reasoning_goes_to_the_client_and_comes_back() -> None:
    reasonings = (
        Reasoning("first", Opaque("anthropic", "sig")),
        Reasoning("", Opaque("anthropic", "sealed", redacted=True)),
        Reasoning("summary", Opaque("openai", "gAAA", id="rs_1")),
        Reasoning("open"),
    )
    message = written(*reasonings, Text("x"))["choices"][0]["message"]
    assert message["reasoning_content"] == "firstsummaryopen"
    assert [block["type"] for block in message["thinking_blocks"]] == [
        "thinking",
        "redacted_thinking",
        "redacted_thinking",
        "thinking",
    ]
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}, message]}
    assert decode_request(json.dumps(asked).encode()).messages[1].parts == (*reasonings, Text("x"))


def test_reasoning_without_anything_opaque_needs_no_blocks() -> None:
    message = written(Reasoning("a"), Reasoning("b"), Refusal("no"))["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": None,
        "refusal": "no",
        "annotations": [],
        "reasoning_content": "ab",
    }


@pytest.mark.parametrize(
    ("id_", "written_id"), [("msg_1", "chatcmpl-msg_1"), ("chatcmpl-1", "chatcmpl-1"), ("", "")]
)
def test_an_id_looks_like_one_of_this_wire(id_: str, written_id: str) -> None:
    assert json.loads(encode_answer(Answer(id=id_, model="m"), ASKED))["id"] == written_id


@given(answers())
def test_what_the_wire_can_say_comes_back_the_same(answer: Answer) -> None:
    body = encode_answer(answer, ASKED)
    assert decode_answer(body) == answer
    ChatCompletion.model_validate_json(body, strict=True)


@given(misplaced(WHOLE))
def test_no_answer_however_wrong_is_more_than_a_failure(body: bytes) -> None:
    try:
        outcome: Answer | Failure = decode_answer(body)
    except Failure as failure:
        outcome = failure
    if isinstance(outcome, Failure):
        assert outcome.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    else:
        assert decode_answer(encode_answer(outcome, ASKED)).id.endswith(outcome.id)
