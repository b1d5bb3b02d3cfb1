"""Counts that are all plausible are read in one pass: what it finds is what the careful reading finds."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.core.usage import MAX_PLAUSIBLE_TOKENS, UsageSource
from triptych.wires.anthropic_messages import usage as messages
from triptych.wires.openai_chat import usage as chat
from triptych.wires.openai_responses import usage as responses

USUAL = st.integers(0, 1_000) | st.sampled_from([0, MAX_PLAUSIBLE_TOKENS])
ODD = st.sampled_from([-1, 1.5, 1.0, "5", None, True, [], {}, MAX_PLAUSIBLE_TOKENS + 1, 2**64, 10**40])
COUNT = st.integers(0, 9).flatmap(lambda lot: ODD if lot == 0 else USUAL)


def some(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, COUNT))


def counts(*names: str, **details: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    parts = {name: some(*inner) | st.sampled_from([None, [], 5]) for name, inner in details.items()}
    required = dict.fromkeys(names[:2], COUNT)
    return st.fixed_dictionaries(required, optional=dict.fromkeys(names[2:], COUNT) | parts)


OPENAI_INPUT = ("cached_tokens", "cache_write_tokens")
WIRES = {
    "messages": (
        messages,
        counts(
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            output_tokens_details=("thinking_tokens",),
        ),
    ),
    "chat": (
        chat,
        counts(
            "prompt_tokens",
            "completion_tokens",
            "total_tokens",
            prompt_tokens_details=OPENAI_INPUT,
            completion_tokens_details=("reasoning_tokens",),
        ),
    ),
    "responses": (
        responses,
        counts(
            "input_tokens",
            "output_tokens",
            "total_tokens",
            input_tokens_details=OPENAI_INPUT,
            output_tokens_details=("reasoning_tokens",),
        ),
    ),
}


@pytest.mark.parametrize("wire", WIRES)
def test_both_readings_agree(wire: str) -> None:
    module, usages = WIRES[wire]
    believed = 0

    @settings(max_examples=300, deadline=None)
    @given(usages)
    def agree(usage: dict[str, Any]) -> None:
        nonlocal believed
        body = json.dumps({"status": "completed", "usage": usage}).encode()
        found = module.read_answer(body, request_bytes=400)
        assert found == module._doubtful(body, 400)
        believed += found.source == UsageSource.PROVIDER

    agree()
    assert believed > 30
