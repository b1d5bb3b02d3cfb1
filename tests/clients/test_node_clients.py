"""OpenAI's Node client and Vercel's AI SDK as black boxes, on every wire they speak: only base URL and
key are changed. The models are reached over every wire of a provider."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.inference.world import fault_model, world
from tests.devices.chained import PROVIDER_WIRES, chain
from tests.devices.gateway import LIVE_KEY, TEST_KEY, Gateway

pytestmark = pytest.mark.timeout(600)

FOLDER = Path(__file__).parent / "node"
LIMIT_S = 240
# The client's script, and the wires it speaks.
CLIENTS = {"openai": ("chat", "responses"), "ai": ("messages", "chat", "responses")}
# The client, the wire it speaks, the model ids (a star stands for what the model does).
Subject = tuple[str, str, str]
OWN_WIRES = [(client, api) for client, apis in CLIENTS.items() for api in apis]
SUBJECTS: list[Subject] = [
    (client, api, f"{served}/sandbox-*") for client, api in OWN_WIRES for served in PROVIDER_WIRES
]
LOREM = "lorem ipsum dolor sit amet consectetur adipiscing"
# What a provider of the Messages wire does in place of a good stream, and the status the client sees:
# None is an error inside the stream.
FAULTS = {
    fault_model("stream_cut_at:400"): None,
    fault_model("stream_error_event"): None,
    fault_model("json_for_a_stream"): 502,
    fault_model("html:200"): 502,
    fault_model("reset"): 502,
    fault_model("empty:500"): 502,
}
UNFINISHED = "This answer begins like"
Outcome = dict[str, Any]
Outcomes = dict[Subject, dict[str, Outcome]]


def run(node: str, gateway: Gateway, faulty: Gateway, client: str) -> Outcomes:
    """What a client's script made of every scenario; behind ``faulty`` are the FAULTS."""
    subjects = [
        {"api": api, "model": model, "key": LIVE_KEY} for script, api, model in SUBJECTS if script == client
    ]
    surroundings = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "ANTHROPIC_", "AI_"))
    }
    told = {
        "BASE_URL": gateway.url,
        "FAULTY_URL": faulty.url,
        "TEST_KEY": TEST_KEY,
        "LIVE_KEY": LIVE_KEY,
        "SUBJECTS": json.dumps(subjects),
        "FAULTS": json.dumps(list(FAULTS)),
    }
    done = subprocess.run(
        [node, f"{client}.mjs"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**surroundings, **told},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: Outcomes = {}
    for subject, outcomes in json.loads(done.stdout).items():
        api, model = subject.split(" ")
        found[client, api, model] = outcomes
    return found


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    node = shutil.which("node")
    if node is None or not all((FOLDER / "node_modules" / name).is_dir() for name in ("openai", "ai")):
        pytest.skip("the Node clients are NOT TESTED: install them with `npm ci` in tests/clients/node")
    with chain() as gateways, world() as sides:
        gateway = gateways.front
        found: Outcomes = {}
        for client in CLIENTS:
            found |= run(node, gateway, sides.gateway, client)
        rows = gateway.settled_rows(len(gateway.rows()))
        assert rows and all(row["ended_us"] is not None for row in rows)
    return found


every_subject = pytest.mark.parametrize("subject", SUBJECTS, ids=" ".join)
every_client = pytest.mark.parametrize(("client", "api"), OWN_WIRES)


@every_subject
def test_no_scenario_broke(outcomes: Outcomes, subject: Subject) -> None:
    broken = {name: outcome for name, outcome in outcomes[subject].items() if "broken" in outcome}
    assert broken == {}


@every_subject
def test_an_answer_is_created_and_streamed(outcomes: Outcomes, subject: Subject) -> None:
    found = outcomes[subject]
    assert (found["create"]["text"], found["create"]["stop"]) == ("hello there", "stop")
    assert found["stream"] == {"raised": False, "text": LOREM, "pieces": 7}
    if subject[0] == "openai":
        assert found["create"]["requestID"].startswith("req_01")
    else:
        assert found["create"]["tokens"] == [2, 2]


@every_subject
def test_a_tool_is_called_and_its_result_answered(outcomes: Outcomes, subject: Subject) -> None:
    found = outcomes[subject]
    assert found["tools"]["input"] == {"city": "Oslo"}
    if subject[0] == "openai":
        assert found["tools"]["streamed"] == {"city": "Oslo"}
        assert found["tools"]["text"] == "The tool returned: rain"
    else:
        spoken = {"text": "The tool returned: rain in Oslo", "steps": 2}
        assert found["tools"] == {**spoken, "input": {"city": "Oslo"}, "output": "rain in Oslo"}
        assert found["streamedTools"] == spoken
        assert found["thoughtBetweenTools"] == spoken


@every_subject
def test_a_conversation_goes_on_with_what_was_answered(outcomes: Outcomes, subject: Subject) -> None:
    if subject[0] == "ai":
        assert outcomes[subject]["conversation"] == "again"


@every_subject
def test_a_structured_answer_is_parsed_by_the_client(outcomes: Outcomes, subject: Subject) -> None:
    found = outcomes[subject]["parsed" if subject[0] == "openai" else "structured"]
    assert found == {"city": "sample", "rain": True}


@every_subject
def test_thinking_is_told_and_counted(outcomes: Outcomes, subject: Subject) -> None:
    thought = outcomes[subject]["thought"]
    assert thought["text"] == "hello there"
    assert thought["tokens"] == 8
    # The AI SDK reads no thoughts on Chat Completions, and OpenAI's client is asked for the text alone.
    if subject[0] == "ai" and subject[1] != "chat":
        assert thought["reasoning"] == "The last message says: hello there"


@every_subject
def test_a_providers_refusal_is_the_clients_own_error(outcomes: Outcomes, subject: Subject) -> None:
    client, _, model = subject
    found = outcomes[subject]
    expected = [
        ("refused", 400, "BadRequestError"),
        ("limited", 429, "RateLimitError"),
        ("overloaded", 529 if model.startswith("messages/") else 503, "InternalServerError"),
    ]
    for name, status, kind in expected:
        error = found[name]
        assert error["raised"] and error["isApiError"] and error["status"] == status, name
        if client == "openai":
            assert error["classes"] == [kind]
            assert error["requestID"].startswith("req_01")
        else:
            assert error["retryable"] is (status != 400)


@every_subject
@pytest.mark.parametrize("name", ["midstreamError", "midstreamCut"])
def test_an_error_inside_a_stream_is_raised_and_never_a_silent_end(
    outcomes: Outcomes, subject: Subject, name: str
) -> None:
    error = outcomes[subject][name]
    assert error["raised"]
    assert error["text"] and UNFINISHED.startswith(error["text"])
    if subject[0] == "openai":
        assert error["isApiError"]
        if name == "midstreamCut":
            assert error["type"] == "server_error"
    else:
        assert error["message"]


REFUSALS = {
    "unknownKey": (401, "AuthenticationError"),
    "unknownModel": (400, "BadRequestError"),
    "noCredits": (429, "RateLimitError"),
    "bug": (500, "InternalServerError"),
}


@every_client
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_of_ours_is_the_clients_own_error(
    outcomes: Outcomes, client: str, api: str, name: str
) -> None:
    status, kind = REFUSALS[name]
    error = outcomes[client, api, "gateway"][name]
    assert error["raised"] and error["isApiError"]
    assert error["status"] == (402 if (api, name) == ("messages", "noCredits") else status)
    if client == "openai":
        assert error["classes"] == [kind]


@every_client
def test_waiting_is_obeyed_and_spent_credits_are_not_asked_for_again(
    outcomes: Outcomes, client: str, api: str
) -> None:
    found = outcomes[client, api, "gateway"]
    assert found["retriedAsAsked"]["status"] == 429
    # Retry-After says 1. By itself OpenAI's client would wait half a second, the AI SDK two.
    assert 1.0 <= found["retriedAsAsked"]["seconds"] < 1.9
    if client == "openai":
        assert found["notRetried"]["status"] == 429 and found["notRetried"]["seconds"] < 1.0


@every_client
@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_provider_is_never_a_silent_end(
    outcomes: Outcomes, client: str, api: str, fault: str
) -> None:
    error = outcomes[client, api, "faulty"][fault]
    assert error["raised"]
    # An error that comes before any text is an answer of its own to the AI SDK, with status 500.
    made_up = client == "ai" and FAULTS[fault] is None and not error["text"]
    assert error["status"] in ([None, 500] if made_up else [FAULTS[fault]])
    if client == "openai":
        assert error["isApiError"]
