"""The official Python client against the clinical surface: only base URL and key are changed."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.contract.clinical.world import Clinic, clinic, fault_model, secret

HELLO: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hello there"}]
TOOL: anthropic.types.ToolParam = {
    "name": "look",
    "description": "Looks.",
    "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
}


@pytest.fixture(scope="module")
def running() -> Iterator[Clinic]:
    with clinic() as one:
        yield one


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def client_of(running: Clinic, org: str = "acme", retries: int = 0) -> anthropic.Anthropic:
    url = running.gateway.url + "/clinical"
    return anthropic.Anthropic(base_url=url, api_key=secret(org), max_retries=retries, timeout=20.0)


def create(client: anthropic.Anthropic, model: str = "mapped-model", **fields: Any) -> Any:
    return client.messages.create(model=model, max_tokens=64, **{"messages": HELLO, **fields})


def test_a_message_is_created_with_our_id_and_our_facts_beside_it(running: Clinic) -> None:
    with client_of(running) as client:
        answer = create(client)
    assert answer._request_id is not None
    assert answer.id == "msg_" + answer._request_id.removeprefix("req_")
    assert answer.model_extra == {"meta": {"request_id": answer._request_id}}
    assert (answer.role, answer.stop_reason) == ("assistant", "end_turn")


def test_what_was_redacted_is_told_and_comes_back(running: Clinic) -> None:
    messages = [{"role": "user", "content": "Write to eleanor.rigby@example.com"}]
    with client_of(running, "guarded-box") as client:
        answer = create(client, "sandbox-echo", messages=messages)
        with client.messages.stream(
            model="sandbox-echo",
            max_tokens=64,
            messages=messages,  # type: ignore[arg-type]
        ) as stream:
            streamed = stream.get_final_message()
    assert answer.content[0].text == messages[0]["content"]
    assert answer.model_extra["meta"]["phi"] == {
        "mode": "redact",
        "entity_types": ["EMAIL_ADDRESS"],
        "redaction_count": 1,
    }
    assert streamed.content[0].type == "text" and streamed.content[0].text == messages[0]["content"]


def test_a_stream_has_our_id_and_adds_up(running: Clinic) -> None:
    with (
        client_of(running) as client,
        client.messages.stream(model="mapped-model", max_tokens=64, messages=HELLO) as stream,
    ):
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
        request_id = stream.response.headers["request-id"]
    assert message.id == "msg_" + request_id.removeprefix("req_")
    assert message.content[0].type == "text" and message.content[0].text == text


def test_a_tool_is_called_and_its_result_goes_on(running: Clinic) -> None:
    with client_of(running, "boxed") as client:
        asked = create(client, "sandbox-tool", tools=[TOOL])
        call = next(block for block in asked.content if block.type == "tool_use")
        assert (asked.stop_reason, call.name) == ("tool_use", "look")
        again = create(
            client,
            "sandbox-echo",
            tools=[TOOL],
            messages=[
                *HELLO,
                {"role": "assistant", "content": asked.content},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "seen"}],
                },
            ],
        )
    assert again.stop_reason == "end_turn"


def test_tokens_are_counted(running: Clinic) -> None:
    with client_of(running) as client:
        counted = client.messages.count_tokens(model="mapped-model", messages=HELLO)
    assert counted.input_tokens > 0


ERRORS: dict[str, tuple[type[anthropic.APIStatusError], str, str, dict[str, Any]]] = {
    "a model nobody has": (anthropic.BadRequestError, "VALIDATION_FAILED", "acme", {"model": "nobody"}),
    "a field of ours": (
        anthropic.BadRequestError,
        "UNSUPPORTED_PARAMETER",
        "acme",
        {"extra_body": {"store": True}},
    ),
    "no agreement": (anthropic.APIStatusError, "BAA_REQUIRED", "unsigned", {}),
    "no credits": (anthropic.APIStatusError, "AI_CREDITS_EXHAUSTED", "exhausted", {}),
    "a scope that is missing": (anthropic.PermissionDeniedError, "MISSING_SCOPE", "scopeless", {}),
    "a retired model": (anthropic.APIStatusError, "MODEL_RETIRED", "acme", {"model": "retired-model"}),
    "a cap that is reached": (anthropic.RateLimitError, "BUDGET_EXCEEDED", "capped", {}),
    "a provider that is overloaded": (
        anthropic.InternalServerError,
        "INFERENCE_UPSTREAM_FAILURE",
        "acme",
        {"model": fault_model("error:529")},
    ),
}


@pytest.mark.parametrize(("class_", "code", "org", "fields"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_of_the_clients_own_class_and_tells_our_code(
    running: Clinic,
    class_: type[anthropic.APIStatusError],
    code: str,
    org: str,
    fields: dict[str, Any],
) -> None:
    with client_of(running, org) as client, pytest.raises(class_) as caught:
        create(client, **fields)
    body: Any = caught.value.body
    assert body["error"]["code"] == body["error"]["hasp_code"] == code
    assert caught.value.request_id == body["error"]["request_id"] == body["meta"]["request_id"]


def test_an_unknown_key_is_an_authentication_error(running: Clinic) -> None:
    url = running.gateway.url + "/clinical"
    with (
        anthropic.Anthropic(base_url=url, api_key="nobody", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        create(client)


def test_a_stream_that_breaks_raises_with_our_code(running: Clinic) -> None:
    model = fault_model("stream_cut_at:900")
    with (
        client_of(running) as client,
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(model=model, max_tokens=64, messages=HELLO) as stream,
    ):
        stream.until_done()
    text = json.dumps(caught.value.body)
    assert "INFERENCE_UPSTREAM_FAILURE" in text


def test_the_client_tries_again_only_what_may_succeed(running: Clinic) -> None:
    seen = len(running.upstream.requests)
    with client_of(running, retries=2) as client:
        with pytest.raises(anthropic.InternalServerError):
            create(client, fault_model("error:529"))
        assert len(running.upstream.requests) == seen + 3
    # A 429 by its status; waiting does not raise a cap.
    with client_of(running, "capped", retries=5) as client, pytest.raises(anthropic.RateLimitError) as caught:
        create(client)
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"
    assert len(running.upstream.requests) == seen + 3
