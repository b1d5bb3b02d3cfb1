import json

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import MAX_PLAUSIBLE_TOKENS, Usage, UsageSource
from triptych.wires.openai_chat import read_answer

TEXT = "x" * 400


def answer(usage: object, message: object = None) -> bytes:
    choice = {"index": 0, "message": message or {"role": "assistant", "content": TEXT}}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def test_the_providers_counts_are_taken_apart_without_overlap() -> None:
    usage = {
        "prompt_tokens": 125,
        "completion_tokens": 70,
        "total_tokens": 195,
        "prompt_tokens_details": {"cached_tokens": 100, "audio_tokens": 0, "cache_write_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0},
    }
    assert read_answer(answer(usage)) == Usage(5, 70, 100, 20, 30, UsageSource.PROVIDER)


@pytest.mark.parametrize("details", [{}, {"prompt_tokens_details": None}, {"prompt_tokens_details": {}}])
def test_caching_need_not_be_reported(details: dict[str, object]) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7, **details}
    assert read_answer(answer(usage)) == Usage(5, 7, source=UsageSource.PROVIDER)


LIES = [-1, 1.5, "7", None, True, MAX_PLAUSIBLE_TOKENS + 1, 10**40, [], {}]


@pytest.mark.parametrize("lie", LIES)
def test_a_count_that_lies_becomes_an_estimate(lie: object) -> None:
    usage = read_answer(answer({"prompt_tokens": 5, "completion_tokens": lie}))
    assert usage == Usage(5, 100, source=UsageSource.ESTIMATE)
    usage = read_answer(answer({"prompt_tokens": lie, "completion_tokens": 7}), request_bytes=44)
    assert usage == Usage(11, 7, source=UsageSource.ESTIMATE)


@pytest.mark.parametrize("lie", [-1, 1.5, "7", True, 10**40, []])
@pytest.mark.parametrize("name", ["cached_tokens", "cache_write_tokens"])
def test_a_cache_count_that_lies_counts_nothing_and_is_labelled(lie: object, name: str) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {name: lie}}
    assert read_answer(answer(usage)) == Usage(5, 7, source=UsageSource.ESTIMATE)


@pytest.mark.parametrize(
    ("cached", "written", "expected"),
    [(6, 0, (0, 5, 0)), (4, 3, (0, 4, 1)), (5, 0, (0, 5, 0)), (0, 9, (0, 0, 5))],
)
def test_parts_never_add_up_to_more_than_the_whole(
    cached: int, written: int, expected: tuple[int, int, int]
) -> None:
    details = {"cached_tokens": cached, "cache_write_tokens": written}
    usage = read_answer(
        answer({"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": details})
    )
    assert (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == expected
    honest = cached + written <= 5
    assert usage.source == (UsageSource.PROVIDER if honest else UsageSource.ESTIMATE)


def test_reasoning_is_part_of_the_output_and_never_more() -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "completion_tokens_details": {"reasoning_tokens": 9},
    }
    assert read_answer(answer(usage)).reasoning_tokens == 7


@pytest.mark.parametrize(
    ("total", "output"),
    [(135, 103), (41, 9), (40, 9), (10**6, 103), (-1, 9), ("135", 9), (None, 9)],
)
def test_reasoning_that_only_the_total_counts_is_output_too(total: object, output: int) -> None:
    """As of xAI's models; a total that is more than its parts alone adds nothing."""
    usage = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": total,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    found = read_answer(answer(usage))
    assert (found.input_tokens, found.output_tokens, found.source) == (32, output, UsageSource.PROVIDER)
    assert found.reasoning_tokens == min(94, output)
    del usage["completion_tokens_details"]
    assert read_answer(answer(usage)).output_tokens == 9


@pytest.mark.parametrize("usage", [None, 5, [], "text", {}])
def test_without_usage_the_text_is_measured(usage: object) -> None:
    assert read_answer(answer(usage), request_bytes=40) == Usage(10, 100, source=UsageSource.ESTIMATE)


def test_numbers_no_machine_can_hold_are_a_lie_too() -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1e999}}'
    assert read_answer(body) == Usage(source=UsageSource.ESTIMATE)


def test_everything_the_model_wrote_is_measured() -> None:
    message = {
        "content": "x" * 40,
        "refusal": None,
        "reasoning_content": "x" * 8,
        "tool_calls": [{"x": "y" * 32}],
    }
    assert read_answer(answer(None, message)).output_tokens == (40 + 8 + len('[{"x": ""}]') + 32) // 4


@pytest.mark.parametrize("choices", ["null", "5", '"text"', "[5]", '[{"message":5}]', '[{"message":{}}]'])
def test_choices_of_any_shape_give_an_estimate(choices: str) -> None:
    usage = read_answer(f'{{"choices":{choices}}}'.encode())
    assert usage.source == UsageSource.ESTIMATE
    assert usage.output_tokens >= 0


def test_half_a_surrogate_pair_is_still_an_answer() -> None:
    body = (
        b'{"choices":[{"message":{"content":"\\ud83d"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    )
    assert read_answer(body) == Usage(1, 2, source=UsageSource.PROVIDER)


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"<html></html>", b'{"usage":{"prompt_to', b"[]", b"null", b'"x"', b"{}x", b"[" * 5000],
)
def test_what_is_not_a_json_object_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(Failure) as caught:
        read_answer(body)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
