"""What a provider caches for one org is not to be found by another: the key that a translation makes for
its cache is the org's own."""

import json
from collections.abc import Iterator

import pytest

from tests.contract.inference.state_world import ANA, BOB, EVE, StateSides, state_world


@pytest.fixture(scope="module")
def sides() -> Iterator[StateSides]:
    with state_world() as both:
        yield both


def key_sent(sides: StateSides, caller: str, question: str) -> str:
    body = {
        "model": "gpt",
        "max_tokens": 16,
        "system": [{"type": "text", "text": "the same rules", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": question}],
    }
    sides.ask("POST", "/v1/messages", caller, json.dumps(body).encode())
    return str(sides.sent()["prompt_cache_key"])


def test_the_cache_key_of_a_translation_is_one_for_the_org_and_another_for_every_other(
    sides: StateSides,
) -> None:
    first = key_sent(sides, ANA, "one")
    assert key_sent(sides, ANA, "two") == key_sent(sides, BOB, "three") == first
    assert key_sent(sides, EVE, "one") != first
