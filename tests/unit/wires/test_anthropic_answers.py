import json

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import MAX_PLAUSIBLE_TOKENS, Usage, UsageSource
from triptych.wires.anthropic_messages import read_answer

TEXT = "x" * 400


def answer(usage: object, **fields: object) -> bytes:
    content = [{"type": "text", "text": TEXT}]
    return json.dumps({"type": "message", "content": content, "usage": usage, **fields}).encode()


def test_the_providers_counts_are_taken_over_without_overlap() -> None:
    usage = {
        "input_tokens": 5,
        "output_tokens": 70,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
        "cache_creation": {"ephemeral_5m_input_tokens": 20},
        "output_tokens_details": {"thinking_tokens": 30},
        "service_tier": "standard",
    }
    assert read_answer(answer(usage)) == Usage(5, 70, 100, 20, 30, UsageSource.PROVIDER)


@pytest.mark.parametrize("details", [None, {}, [], {"thinking_tokens": None}, {"thinking_tokens": -1}])
def test_what_is_said_of_thinking_changes_no_other_count(details: object) -> None:
    usage = {"input_tokens": 5, "output_tokens": 7, "output_tokens_details": details}
    assert read_answer(answer(usage)) == Usage(5, 7, source=UsageSource.PROVIDER)
    thought = usage | {"output_tokens_details": {"thinking_tokens": 9}}
    assert read_answer(answer(thought)) == Usage(5, 7, 0, 0, 7, UsageSource.PROVIDER)


def test_caching_need_not_be_reported() -> None:
    usage = {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": None}
    assert read_answer(answer(usage)) == Usage(5, 7, source=UsageSource.PROVIDER)


@pytest.mark.parametrize("lie", [-1, 1.5, "7", None, True, MAX_PLAUSIBLE_TOKENS + 1, 10**40, [], {}])
def test_a_count_that_lies_becomes_an_estimate(lie: object) -> None:
    usage = read_answer(answer({"input_tokens": 5, "output_tokens": lie}))
    assert usage == Usage(5, 100, source=UsageSource.ESTIMATE)
    usage = read_answer(answer({"input_tokens": lie, "output_tokens": 7}), request_bytes=44)
    assert usage == Usage(11, 7, source=UsageSource.ESTIMATE)


@pytest.mark.parametrize("lie", [-1, 1.5, "7", 10**40])
def test_a_cache_count_that_lies_counts_nothing_and_is_labelled(lie: object) -> None:
    usage = read_answer(answer({"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": lie}))
    assert usage == Usage(5, 7, source=UsageSource.ESTIMATE)


@pytest.mark.parametrize("usage", [None, 5, [], "text", {}])
def test_without_usage_the_text_is_measured(usage: object) -> None:
    assert read_answer(answer(usage), request_bytes=40) == Usage(10, 100, source=UsageSource.ESTIMATE)


def test_numbers_no_machine_can_hold_are_a_lie_too() -> None:
    body = b'{"content":[],"usage":{"input_tokens":1,"output_tokens":1e999}}'
    assert read_answer(body) == Usage(source=UsageSource.ESTIMATE)


def test_thinking_and_tool_arguments_are_measured_too() -> None:
    content = [{"type": "thinking", "thinking": "x" * 40}, {"type": "tool_use", "input": {"a": "x" * 32}}]
    assert read_answer(answer(None, content=content)).output_tokens == (40 + 41) // 4


@pytest.mark.parametrize("content", [None, 5, "text", [5], [{"text": 5}]])
def test_content_of_any_shape_gives_an_estimate(content: object) -> None:
    usage = read_answer(answer(None, content=content))
    assert usage.source == UsageSource.ESTIMATE
    assert usage.output_tokens >= 0


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"<html></html>", b'{"usage":{"input_to', b"[]", b"null", b'"x"', b"{}x", b"[" * 5000],
)
def test_what_is_not_a_json_object_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(Failure) as caught:
        read_answer(body)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
