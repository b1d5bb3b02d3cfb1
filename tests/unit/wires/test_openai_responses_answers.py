import json

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import MAX_PLAUSIBLE_TOKENS, NO_USAGE, Usage, UsageSource
from triptych.wires.openai_responses import read_answer

TEXT = "x" * 400


def answer(usage: object, **fields: object) -> bytes:
    output = [{"type": "message", "content": [{"type": "output_text", "text": TEXT}]}]
    return json.dumps({"object": "response", "output": output, "usage": usage, **fields}).encode()


def counts(input_tokens: object, output_tokens: object, **cached: object) -> dict[str, object]:
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, "input_tokens_details": cached}


def test_the_providers_counts_are_taken_over_without_overlap() -> None:
    usage = {
        **counts(125, 70, cached_tokens=100, cache_write_tokens=20),
        "output_tokens_details": {"reasoning_tokens": 30},
        "total_tokens": 195,
    }
    assert read_answer(answer(usage)) == Usage(5, 70, 100, 20, 30, UsageSource.PROVIDER)


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}])
def test_details_need_not_be_reported(details: object) -> None:
    usage = {"input_tokens": 5, "output_tokens": 7, "input_tokens_details": details}
    assert read_answer(answer(usage)) == Usage(5, 7, source=UsageSource.PROVIDER)


@pytest.mark.parametrize("lie", [-1, 1.5, "7", None, True, MAX_PLAUSIBLE_TOKENS + 1, 10**40, [], {}])
def test_a_count_that_lies_becomes_an_estimate(lie: object) -> None:
    assert read_answer(answer(counts(5, lie))) == Usage(5, 100, source=UsageSource.ESTIMATE)
    usage = read_answer(answer(counts(lie, 7)), request_bytes=44)
    assert usage == Usage(11, 7, source=UsageSource.ESTIMATE)


@pytest.mark.parametrize("lie", [-1, 1.5, "7", 10**40])
def test_a_cache_count_that_lies_counts_nothing_and_is_labelled(lie: object) -> None:
    assert read_answer(answer(counts(5, 7, cached_tokens=lie))) == Usage(5, 7, source=UsageSource.ESTIMATE)


def test_more_from_the_cache_than_there_was_is_a_lie() -> None:
    usage = read_answer(answer(counts(5, 7, cached_tokens=9)))
    assert (usage.input_tokens + usage.cache_read_tokens, usage.source) == (5, UsageSource.ESTIMATE)


def test_reasoning_is_never_more_than_the_output() -> None:
    usage = {**counts(5, 7), "output_tokens_details": {"reasoning_tokens": 900}}
    assert read_answer(answer(usage)).reasoning_tokens == 7


@pytest.mark.parametrize("usage", [None, 5, [], "text", {}])
def test_without_usage_the_text_is_measured(usage: object) -> None:
    assert read_answer(answer(usage), request_bytes=40) == Usage(10, 100, source=UsageSource.ESTIMATE)


def test_summaries_arguments_and_refusals_are_measured_too() -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "x" * 40}], "content": None},
        {"type": "function_call", "arguments": "x" * 32},
        {"type": "message", "content": [{"type": "refusal", "refusal": "x" * 8}]},
    ]
    assert read_answer(answer(None, output=output)).output_tokens == 20


@pytest.mark.parametrize("output", [None, 5, "text", [5], [{"content": 5}]])
def test_output_of_any_shape_gives_an_estimate(output: object) -> None:
    usage = read_answer(answer(None, output=output))
    assert usage.source == UsageSource.ESTIMATE
    assert usage.output_tokens >= 0


def test_a_response_that_failed_counts_what_the_provider_counts() -> None:
    assert read_answer(answer(None, status="failed", output=[]), request_bytes=400) == NO_USAGE
    assert read_answer(answer(counts(5, 0), status="failed")) == Usage(5, 0, source=UsageSource.PROVIDER)


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"<html></html>", b'{"usage":{"input_to', b"[]", b"null", b'"x"', b"{}x", b"[" * 5000],
)
def test_what_is_not_a_json_object_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(Failure) as caught:
        read_answer(body)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
