"""llm-comply, a compliance suite for the three wires, as a black box: every one of its cases passes,
and none is passed over, whatever wire the provider speaks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.devices.chained import PROVIDER_WIRES, chain
from tests.devices.gateway import LIVE_KEY, Gateway

LIMIT_S = 240
ANTHROPIC = ("--auth-header", "x-api-key", "--no-bearer", "-H", "anthropic-version:2023-06-01")
FORMATS = {"anthropic": ANTHROPIC, "openai-chat": (), "open-responses": ()}
CASES = {"anthropic": 9, "openai-chat": 9, "open-responses": 13}
# It guesses from the name of a model whether it thinks.
FAMILY = {"anthropic": "claude-sonnet-4", "openai-chat": "gpt-5", "open-responses": "gpt-5"}
# No compaction here: the suite counts it as a warning.
UNBUILT = {"compact-response"}
PAIRS = [(format_, served) for format_ in FORMATS for served in PROVIDER_WIRES]
MODELS = "".join(
    f'[[models]]\nid = "{family}-by-{served}"\nprovider = "{served}"\nupstream_id = "sandbox-tool"\n'
    for family in sorted(set(FAMILY.values()))
    for served in PROVIDER_WIRES
)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with chain(MODELS) as gateways:
        yield gateways.front


def run(gateway: Gateway, format_: str, model: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "llm_comply.cli", "--format", format_, "--json"]
    to = ["-u", gateway.url + "/v1", "-k", LIVE_KEY, "-m", model]
    done = subprocess.run(
        [*command, *to, *FORMATS[format_]], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("format_", "served"), PAIRS)
def test_every_case_of_the_suite_passes(gateway: Gateway, format_: str, served: str) -> None:
    results = {
        case["id"]: case for case in run(gateway, format_, f"{FAMILY[format_]}-by-{served}")["results"]
    }
    assert len(results) >= CASES[format_]
    unpassed = {name: case for name, case in results.items() if case["status"] != "passed"}
    assert unpassed == {}
    assert {name for name, case in results.items() if "warnings" in case} <= UNBUILT
