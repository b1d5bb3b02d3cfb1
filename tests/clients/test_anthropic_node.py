"""The official Node client as a black box: only base URL and key are changed."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.inference.world import fault_model, world
from tests.devices.gateway import LIVE_KEY, TEST_KEY

FOLDER = Path(__file__).parent / "node"
INSTALLED = FOLDER / "node_modules" / "@anthropic-ai" / "sdk"
LIMIT_S = 240
Outcomes = dict[str, dict[str, Any]]


def test_the_lock_file_names_no_registry_and_every_package_by_its_hash() -> None:
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    assert lock["packages"][""]["dependencies"] == wanted
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {f"node_modules/{name}" for name in wanted} <= set(packages)
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        # Where a package comes from is the business of the machine that installs it.
        assert "resolved" not in entry or entry["resolved"].startswith("https://registry.npmjs.org/"), name


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Outcomes]:
    node = shutil.which("node")
    if node is None or not INSTALLED.is_dir():
        pytest.skip("the Node client is NOT TESTED: install it with `npm ci` in tests/clients/node")
    with world() as sides:
        surroundings = {
            name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")
        }
        done = subprocess.run(
            [node, "scenarios.mjs"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env={
                **surroundings,
                "BASE_URL": sides.gateway.url,
                "TEST_KEY": TEST_KEY,
                "LIVE_KEY": LIVE_KEY,
                "LIVE_MODEL": "mapped-model",
                "CUT_MODEL": fault_model("stream_cut_at:400"),
            },
        )
        assert done.returncode == 0, done.stderr
        found: Outcomes = json.loads(done.stdout)
        rows = sides.gateway.settled_rows(len(sides.gateway.rows()))
        assert rows and all(row["ended_us"] is not None for row in rows)
        yield found


def test_no_scenario_broke(outcomes: Outcomes) -> None:
    assert {name: outcome for name, outcome in outcomes.items() if "broken" in outcome} == {}


def test_a_message_is_created(outcomes: Outcomes) -> None:
    created = outcomes["create"]
    assert (created["texts"], created["stop"]) == (["hello there"], "end_turn")
    assert (created["usage"]["input_tokens"], created["usage"]["output_tokens"]) == (2, 2)
    assert created["requestID"].startswith("req_01")
    assert outcomes["live"] == {"id": "msg_fault"}


def test_a_message_is_streamed(outcomes: Outcomes) -> None:
    assert outcomes["stream"] == {
        "pieces": 7,
        "text": "lorem ipsum dolor sit amet consectetur adipiscing",
        "stop": "end_turn",
    }


def test_a_tool_is_called_and_its_result_answered(outcomes: Outcomes) -> None:
    assert outcomes["tools"] == {
        "stop": "tool_use",
        "name": "get_weather",
        "input": {"city": "Oslo"},
        "texts": ["The tool returned: rain"],
    }
    assert outcomes["streamedTool"] == {"input": {"city": "Oslo"}}


def test_pictures_pass_and_tokens_are_counted(outcomes: Outcomes) -> None:
    assert outcomes["image"]["texts"] == ["What is this?"] and outcomes["image"]["tokens"] > 1_600
    assert outcomes["count"] == {"input_tokens": 2}


ERRORS = {
    "unknownKey": (401, ["AuthenticationError"], "authentication_error"),
    "premium": (403, ["PermissionDeniedError"], "permission_error"),
    "unknownModel": (400, ["BadRequestError"], "invalid_request_error"),
    "noCredits": (402, [], "billing_error"),
    "limited": (429, ["RateLimitError"], "rate_limit_error"),
    "bug": (500, ["InternalServerError"], "api_error"),
    "overloaded": (529, ["InternalServerError"], "overloaded_error"),
    "emptyBody": (502, ["InternalServerError"], "upstream_empty_body"),
    "unknownPath": (404, ["NotFoundError"], "not_found_error"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_the_clients_own_class_for_it(outcomes: Outcomes, name: str) -> None:
    status, classes, type_ = ERRORS[name]
    error = outcomes[name]
    assert (error["status"], error["classes"], error["type"]) == (status, classes, type_)
    assert error["isApiError"] and error["requestID"].startswith("req_01")


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("midstreamError", "overloaded_error"),
        ("midstreamCut", "api_error"),
        ("liveMidstreamCut", "api_error"),
    ],
)
def test_an_error_inside_a_stream_is_raised_and_never_a_silent_end(
    outcomes: Outcomes, name: str, type_: str
) -> None:
    error = outcomes[name]
    assert error["raised"] and error["isApiError"] and error["type"] == type_
    assert error["seen"][0] == "message_start" and "message_stop" not in error["seen"]


def test_waiting_is_obeyed_and_spent_credits_are_not_asked_for_again(outcomes: Outcomes) -> None:
    assert outcomes["retriedAsAsked"]["status"] == 429 and outcomes["retriedAsAsked"]["seconds"] >= 1.0
    assert outcomes["notRetried"]["status"] == 402 and outcomes["notRetried"]["seconds"] < 1.0


def test_a_client_may_leave_a_stream(outcomes: Outcomes) -> None:
    assert outcomes["leaves"] == {"seen": 3, "after": ["hello there"]}
