"""Whole answers of the Responses wire."""

import json
from typing import Any

import pytest
from hypothesis import given
from openai.types.responses import Response

from tests.unit.wires.misplaced_json import misplaced
from tests.unit.wires.responses_bodies import ANSWER, BODY, COUNTS, parsed
from tests.unit.wires.responses_strategies import answers
from triptych.core.conversation import Answer, Citation, Opaque, Reasoning, Stop, Text, ToolCall
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import UsageSource
from triptych.wires.openai_responses import ResponsesRequest, decode_answer, encode_answer


def decoded(**fields: object) -> Answer:
    return decode_answer(json.dumps({**BODY, **fields}).encode())


def written(answer: Answer, request: ResponsesRequest | None = None, *, now_s: int = 0) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode_answer(answer, request or parsed(), now_s=now_s))
    return body


def test_an_answer_of_the_provider_is_understood() -> None:
    assert decoded() == ANSWER


def test_an_answer_survives_the_way_there_and_back() -> None:
    assert decode_answer(encode_answer(ANSWER, parsed())) == ANSWER


@pytest.mark.parametrize(
    ("fields", "stop"),
    [
        ({"output": []}, Stop.END),
        ({"status": None, "output": []}, Stop.END),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, Stop.MAX_TOKENS),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, Stop.REFUSED),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, Stop.MAX_TOKENS),
        ({"status": "incomplete", "incomplete_details": None}, Stop.MAX_TOKENS),
    ],
)
def test_an_answer_says_why_it_ended(fields: dict[str, object], stop: Stop) -> None:
    assert decoded(**fields).stop is stop


def test_what_an_answer_does_not_tell_is_not_made_up() -> None:
    body = b'{"id":"r","model":"m","output":[]}'
    assert decode_answer(body) == Answer(id="r", model="m")
    assert decoded(usage=None, service_tier="ultrafast").usage is None
    assert decoded(service_tier="ultrafast").service_tier is None
    assert decoded(created_at=1e300).created_s is decoded(created_at=-1).created_s is None


def test_counts_that_nobody_believes_are_labelled() -> None:
    usage = decoded(usage={**COUNTS, "output_tokens": -1}).usage
    assert usage is not None
    assert usage.source == UsageSource.ESTIMATE


def test_open_reasoning_is_shown_reasoning() -> None:
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
    empty = {"type": "reasoning", "id": "rs_2", "summary": []}
    assert decoded(output=[item, empty]).parts == (Reasoning("hm"),)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"id":"r"}',
        b'{"id":"r","model":"m","output":{}}',
        b'{"id":"r","model":"m","output":[{"type":"web_search_call"}]}',
        b'{"id":"r","model":"m","output":[{"type":"message","content":[{"type":"output_audio"}]}]}',
        b'{"id":"r","model":"m","output":[{"type":"function_call","arguments":"{}"}]}',
        b'{"id":"r","model":"m","output":[],"status":"in_progress"}',
    ],
)
def test_what_is_no_whole_answer_is_refused(body: bytes) -> None:
    with pytest.raises(Failure) as raised:
        decode_answer(body)
    assert raised.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_a_response_that_failed_is_the_providers_error() -> None:
    with pytest.raises(Failure) as raised:
        decoded(status="failed", error={"code": "server_error", "message": "secret"})
    assert raised.value.kind is FailureKind.UPSTREAM_ERROR
    assert "secret" not in raised.value.message


def test_the_vendors_client_reads_what_is_written() -> None:
    body = written(ANSWER)
    response = Response.model_validate(body, strict=True)
    assert response.output_text == body["output_text"] == "See there"
    assert response.status == "completed"
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert [item.id for item in response.output] == ["rs_1", "msg_resp_1_1", "fc_resp_1_2"]
    assert body["usage"] == COUNTS
    assert set(BODY) - set(body) == {"billing"}


def test_the_response_tells_the_request_again() -> None:
    tools = [
        {
            "type": "function",
            "name": "f",
            "description": "d",
            "parameters": {"type": "object"},
            "strict": False,
        }
    ]
    request = {
        "instructions": "Be brief.",
        "tools": tools,
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "temperature": 0.25,
        "top_p": 0.5,
        "max_output_tokens": 99,
        "prompt_cache_key": "k",
        "user": "u",
        "service_tier": "flex",
        "store": True,
    }
    partial = {"text": {"verbosity": "low"}, "reasoning": {"effort": "high", "summary": None}}
    body = written(ANSWER, parsed(**request, **partial, metadata={"user_id": "u"}))
    assert {name: body[name] for name in request} == {**request, "service_tier": "default"}
    assert body["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert body["reasoning"] == {"effort": "high", "summary": None}
    assert body["metadata"] == {}
    Response.model_validate(body)


def test_what_the_request_does_not_say_is_what_the_vendor_assumes() -> None:
    body = written(Answer(id="a", model="m"), parsed(instructions=None, tool_choice=None), now_s=17)
    assert body == {
        "id": "a",
        "object": "response",
        "created_at": 17,
        "status": "completed",
        "background": False,
        "completed_at": None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": "m",
        "output": [],
        "output_text": "",
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "auto",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


@pytest.mark.parametrize(
    ("stop", "status", "reason"),
    [
        (Stop.END, "completed", None),
        (Stop.SEQUENCE, "completed", None),
        (Stop.TOOL_CALLS, "completed", None),
        (Stop.MAX_TOKENS, "incomplete", "max_output_tokens"),
        (Stop.CONTEXT_WINDOW, "incomplete", "max_output_tokens"),
        (Stop.REFUSED, "incomplete", "content_filter"),
    ],
)
def test_a_stop_is_told_in_the_vendors_words(stop: Stop, status: str, reason: str | None) -> None:
    parts = (ToolCall("c", "f", "{}"), Text("hi"))
    body = written(Answer(id="a", model="m", parts=parts, stop=stop))
    assert body["status"] == status
    assert body["incomplete_details"] == (reason and {"reason": reason})
    assert [item["status"] for item in body["output"]] == ["completed", status]


@pytest.mark.parametrize(
    ("opaque", "content"),
    [
        (Opaque("anthropic", "c2ln"), "anthropic:c2ln"),
        (Opaque("anthropic", "ZGF0", redacted=True), "anthropic-redacted:ZGF0"),
    ],
)
def test_what_another_vendor_sealed_goes_through(opaque: Opaque, content: str) -> None:
    answer = Answer(id="a", model="m", parts=(Reasoning("hm", opaque),))
    body = written(answer)
    (item,) = body["output"]
    assert (item["id"], item["encrypted_content"]) == ("rs_a_0", content)
    assert decode_answer(json.dumps(body).encode()).parts == answer.parts


def test_reasoning_with_nothing_sealed_has_no_field_for_it() -> None:
    answer = Answer(id="a", model="m", parts=(Reasoning("hm"),))
    body = written(answer)
    assert body["output"] == [
        {
            "type": "reasoning",
            "id": "rs_a_0",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "status": "completed",
        }
    ]
    assert decode_answer(json.dumps(body).encode()).parts == answer.parts


def test_what_a_function_does_not_say_is_told_as_null() -> None:
    said = {"type": "function", "name": "f", "defer_loading": False}
    hosted = {"type": "mcp", "server_label": "s"}
    tools = written(ANSWER, parsed(tools=[said, hosted], conversation="c"))["tools"]
    assert tools == [{**said, "description": None, "parameters": None, "strict": None}, hosted]


def test_a_citation_without_a_place_is_about_all_of_its_text() -> None:
    answer = Answer(id="a", model="m", parts=(Text("four", (Citation("https://a.test"),)),))
    (cited,) = written(answer)["output"][0]["content"][0]["annotations"]
    assert cited == {
        "type": "url_citation",
        "url": "https://a.test",
        "title": "",
        "start_index": 0,
        "end_index": 4,
    }


@given(answers())
def test_what_the_wire_can_say_comes_back_as_it_was(answer: Answer) -> None:
    body = encode_answer(answer, parsed())
    assert decode_answer(body) == answer
    Response.model_validate_json(body, strict=True)


@given(misplaced(BODY))
def test_whatever_stands_in_the_place_of_a_value_is_read_or_refused(body: bytes) -> None:
    try:
        answer = decode_answer(body)
    except Failure as failure:
        assert failure.kind is FailureKind.UPSTREAM_INVALID_RESPONSE  # noqa: PT017
        return
    Response.model_validate_json(encode_answer(answer, parsed()), strict=True)
