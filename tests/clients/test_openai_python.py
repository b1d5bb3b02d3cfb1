"""OpenAI's official Python client as a black box: only base URL and key are changed."""

import asyncio
import json
from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel

from tests.contract.inference.world import NO_ACCESS, TwoSides, world
from tests.devices.gateway import LIVE_KEY, TEST_KEY

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there"}]
SEVEN: list[ChatCompletionMessageParam] = [{"role": "user", "content": "7"}]
LOREM = "lorem ipsum dolor sit amet consectetur adipiscing"
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo"]}, "days": {"type": "integer", "default": 3}},
    "required": ["city", "days"],
}
CHAT_TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather.", "parameters": SCHEMA},
}
RESPONSES_TOOL: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather.",
    "parameters": SCHEMA,
    "strict": True,
}
CALLED = {"city": "Oslo", "days": 3}


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with world() as both:
        yield both


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


def client_of(sides: TwoSides, key: str = TEST_KEY, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(base_url=sides.gateway.url + "/v1", api_key=key, max_retries=retries, timeout=20.0)


@pytest.fixture
def client(sides: TwoSides) -> Iterator[openai.OpenAI]:
    with client_of(sides) as made:
        yield made


def test_a_completion_is_created(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="sandbox-echo", messages=HELLO)
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("hello there", "stop")
    assert answer.model == "sandbox-echo"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 2)
    assert answer._request_id is not None and answer._request_id.startswith("req_01")


def test_the_ids_are_where_the_client_looks(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="sandbox-echo", messages=HELLO)
    assert raw.request_id == raw.headers["request-id"]
    assert raw.headers["x-triptych-environment"] == "test"


@pytest.mark.parametrize("asked", [None, False, True])
def test_a_completion_is_streamed_with_its_usage_only_if_asked(
    client: openai.OpenAI, asked: bool | None
) -> None:
    chunks = list(
        client.chat.completions.create(
            model="sandbox-lorem",
            messages=SEVEN,
            stream=True,
            stream_options=openai.omit if asked is None else {"include_usage": asked},
        )
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == LOREM and sum(map(bool, texts)) == 7
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    without_choices = [chunk for chunk in chunks if not chunk.choices]
    assert len(without_choices) == (1 if asked else 0)
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == ([12] if asked else [])


def test_the_streaming_helper_of_the_client_gathers_the_completion(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="sandbox-lorem", messages=SEVEN) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == LOREM


def test_a_function_is_called_and_its_result_answered(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model="sandbox-tool", messages=HELLO, tools=[CHAT_TOOL])
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", CALLED)
    second = client.chat.completions.create(
        model="sandbox-tool",
        tools=[CHAT_TOOL],
        messages=[
            *HELLO,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.function.name, "arguments": call.function.arguments},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.id, "content": "rain"},
        ],
    )
    assert second.choices[0].message.content == "The tool returned: rain"


def test_a_function_call_is_streamed_in_fragments(client: openai.OpenAI) -> None:
    deltas = [
        call
        for chunk in client.chat.completions.create(
            model="sandbox-tool", messages=HELLO, tools=[CHAT_TOOL], stream=True
        )
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    ]
    assert len(deltas) > 2
    arguments = "".join((call.function.arguments or "") if call.function else "" for call in deltas)
    assert json.loads(arguments) == CALLED


def test_a_response_is_created(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="sandbox-echo", input="hello there")
    assert (answer.output_text, answer.status, answer.model) == ("hello there", "completed", "sandbox-echo")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 2)
    assert answer.to_dict()["store"] is False
    assert answer._request_id is not None and answer._request_id.startswith("req_01")


def test_a_response_is_streamed_event_by_event(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="sandbox-lorem", input="7", stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 7,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == LOREM
    assert last.response.usage is not None and last.response.usage.output_tokens == 12


def test_the_streaming_helper_of_the_client_gathers_the_response(client: openai.OpenAI) -> None:
    with client.responses.stream(model="sandbox-lorem", input="7") as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(texts) == final.output_text == LOREM


def test_a_function_of_a_response_is_called_and_its_result_answered(client: openai.OpenAI) -> None:
    first = client.responses.create(model="sandbox-tool", input="hello there", tools=[RESPONSES_TOOL])
    (call,) = (item for item in first.output if item.type == "function_call")
    assert (call.name, json.loads(call.arguments)) == ("get_weather", CALLED)
    second = client.responses.create(
        model="sandbox-tool",
        tools=[RESPONSES_TOOL],
        input=[
            {"role": "user", "content": "hello there"},
            {
                "type": "function_call",
                "call_id": call.call_id,
                "name": call.name,
                "arguments": call.arguments,
            },
            {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
        ],
    )
    assert second.output_text == "The tool returned: rain"


def test_the_asynchronous_client_works_too(sides: TwoSides) -> None:
    async def ask() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(
            base_url=sides.gateway.url + "/v1", api_key=TEST_KEY, max_retries=0
        ) as client:
            answer = await client.chat.completions.create(model="sandbox-echo", messages=HELLO)
            events = await client.responses.create(model="sandbox-echo", input="hello there", stream=True)
            texts = [event.delta async for event in events if event.type == "response.output_text.delta"]
            return answer.choices[0].message.content, "".join(texts)

    assert asyncio.run(ask()) == ("hello there", "hello there")


def test_a_stream_may_be_left_and_the_client_used_again(client: openai.OpenAI) -> None:
    with client.responses.create(model="sandbox-lorem", input="400", stream=True) as stream:
        next(iter(stream))
    assert client.responses.create(model="sandbox-echo", input="hi").output_text == "hi"


def run(client: openai.OpenAI, wire: str, model: str, *, stream: bool) -> None:
    """One request on a wire, a stream read to its end."""
    if wire == "chat":
        if stream:
            list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
        else:
            client.chat.completions.create(model=model, messages=HELLO)
    elif stream:
        list(client.responses.create(model=model, input="hello there", stream=True))
    else:
        client.responses.create(model=model, input="hello there")


SANDBOX = "sandbox-error-"
# Key, model, then what is expected: the status, the client's class, type and code.
Expected = tuple[str, str, int, type[openai.APIStatusError], str, str | None]
ERRORS: dict[str, Expected] = {
    "no API access": (
        NO_ACCESS,
        "mapped-model",
        403,
        openai.PermissionDeniedError,
        "permission_error",
        "model_access_denied",
    ),
    "an unknown model": (
        LIVE_KEY,
        "no-such-model",
        400,
        openai.BadRequestError,
        "invalid_request_error",
        "model_not_found",
    ),
    "no credits": (
        TEST_KEY,
        SANDBOX + "credits_exhausted",
        429,
        openai.RateLimitError,
        "insufficient_quota",
        "insufficient_quota",
    ),
    "a request limit": (
        TEST_KEY,
        SANDBOX + "rate_limited",
        429,
        openai.RateLimitError,
        "rate_limit_error",
        "rate_limit_exceeded",
    ),
    "a bug of ours": (
        TEST_KEY,
        SANDBOX + "internal_error",
        500,
        openai.InternalServerError,
        "server_error",
        "internal_error",
    ),
    "an empty body": (
        TEST_KEY,
        SANDBOX + "empty_body",
        502,
        openai.InternalServerError,
        "server_error",
        "upstream_empty_body",
    ),
    "an unreachable provider": (
        TEST_KEY,
        SANDBOX + "unreachable",
        502,
        openai.InternalServerError,
        "server_error",
        "upstream_unreachable",
    ),
    "a slow provider": (
        TEST_KEY,
        SANDBOX + "timeout",
        504,
        openai.InternalServerError,
        "server_error",
        "upstream_timeout",
    ),
    "a provider that refuses": (
        TEST_KEY,
        SANDBOX + "upstream_bad_request",
        400,
        openai.BadRequestError,
        "invalid_request_error",
        None,
    ),
    "a provider that limits": (
        TEST_KEY,
        SANDBOX + "upstream_rate_limited",
        429,
        openai.RateLimitError,
        "requests",
        "rate_limit_exceeded",
    ),
}


@pytest.mark.parametrize("wire", ["chat", "responses"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("expected", ERRORS.values(), ids=ERRORS)
def test_an_error_is_the_clients_own_exception_for_it(
    sides: TwoSides, wire: str, stream: bool, expected: Expected
) -> None:
    key, model, status, kind, type_, code = expected
    with client_of(sides, key) as client, pytest.raises(kind) as caught:
        run(client, wire, model, stream=stream)
    error = caught.value
    assert (error.status_code, error.type, error.code) == (status, type_, code)
    assert error.request_id is not None and error.request_id.startswith("req_01")


@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_an_unknown_key_is_the_clients_authentication_error(sides: TwoSides, wire: str) -> None:
    with client_of(sides, "nobody") as client, pytest.raises(openai.AuthenticationError) as caught:
        run(client, wire, "sandbox-echo", stream=False)
    assert caught.value.status_code == 401
    assert caught.value.response.content == b'{"error":"Unauthorized"}'


def test_a_request_too_large_is_the_clients_own_exception(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model="sandbox-echo", input="x" * 52_428_800)
    assert caught.value.status_code == 413
    assert caught.value.body == {"message": "Request body too large. Maximum size is 50 MB."}


def test_an_unknown_path_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="sandbox-echo", input="x")
    assert caught.value.code == "unknown_url"


def test_an_error_inside_a_completion_is_raised_and_never_a_silent_end(client: openai.OpenAI) -> None:
    seen: list[str] = []
    chunks = client.chat.completions.create(model="sandbox-error-midstream_cut", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as caught:
        seen.extend(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "".join(seen) == "This answer begins like"[: len("".join(seen))] and seen
    assert caught.value.message == "upstream stream interrupted"
    assert (caught.value.type, caught.value.code) == ("server_error", "stream_error")


def test_an_error_inside_a_response_is_raised_and_never_a_silent_end(client: openai.OpenAI) -> None:
    seen: list[str] = []
    events = client.responses.create(model="sandbox-error-midstream_cut", input="hello", stream=True)
    with pytest.raises(openai.APIError) as caught:
        seen.extend(event.type for event in events)
    assert seen[0] == "response.created" and "response.completed" not in seen
    assert caught.value.message == "upstream stream interrupted"
    assert (caught.value.type, caught.value.code) == ("server_error", "stream_error")


def test_a_providers_own_error_reaches_the_reader_of_either_stream(client: openai.OpenAI) -> None:
    overloaded = "sandbox-error-midstream_overloaded"
    with pytest.raises(openai.APIError) as caught:
        run(client, "chat", overloaded, stream=True)
    assert (caught.value.type, caught.value.code) == ("server_error", "overloaded")
    # OpenAI's own error event has no `error` in it: its client hands it on as an event.
    events = list(client.responses.create(model=overloaded, input="hello", stream=True))
    last = [event for event in events if event.type == "error"][-1]
    assert last.code == "server_is_overloaded"
    assert not any(event.type == "response.completed" for event in events)


def attempts(
    sides: TwoSides, monkeypatch: pytest.MonkeyPatch, wire: str, model: str
) -> tuple[int, list[float]]:
    """How many requests the client makes for a 429, and how long it waits between them."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    with client_of(sides, retries=2) as client, pytest.raises(openai.RateLimitError) as caught:
        run(client, wire, model, stream=False)
    monkeypatch.undo()
    return int(caught.value.response.request.headers["x-stainless-retry-count"]) + 1, slept


@pytest.mark.parametrize("wire", ["chat", "responses"])
@pytest.mark.parametrize("kind", ["credits_exhausted", "budget_exceeded", "quota_exceeded"])
def test_a_quota_that_is_used_up_is_not_asked_for_again(
    sides: TwoSides, monkeypatch: pytest.MonkeyPatch, wire: str, kind: str
) -> None:
    assert attempts(sides, monkeypatch, wire, SANDBOX + kind) == (1, [])


@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_a_rate_limit_is_tried_again_after_as_long_as_it_asks(
    sides: TwoSides, monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    made, slept = attempts(sides, monkeypatch, wire, SANDBOX + "rate_limited")
    assert made == 3 and len(slept) == 2
    # Retry-After says 1; by itself the client would wait about half a second.
    assert all(wait_s >= 1.0 for wait_s in slept)


class Place(BaseModel):
    city: str
    days: int


def test_a_structured_answer_is_parsed_by_the_client(client: openai.OpenAI) -> None:
    completion = client.chat.completions.parse(model="sandbox-echo", messages=HELLO, response_format=Place)
    assert completion.choices[0].message.parsed == Place(city="sample", days=1)
    response = client.responses.parse(model="sandbox-echo", input="hello there", text_format=Place)
    assert response.output_parsed == Place(city="sample", days=1)


def test_reasoning_is_counted_summarized_and_goes_back(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="sandbox-echo", messages=HELLO, reasoning_effort="low")
    assert completion.usage is not None and completion.usage.completion_tokens_details is not None
    assert completion.usage.completion_tokens_details.reasoning_tokens == 8
    with client.responses.stream(
        model="sandbox-echo",
        input="hello there",
        reasoning={"effort": "low", "summary": "auto"},
        include=["reasoning.encrypted_content"],
    ) as stream:
        summary = [event.delta for event in stream if event.type == "response.reasoning_summary_text.delta"]
        first = stream.get_final_response()
    assert "".join(summary) == "The last message says: hello there"
    thoughts = first.output[0]
    assert thoughts.type == "reasoning" and thoughts.encrypted_content
    again = client.responses.create(
        model="sandbox-echo",
        input=[
            {"role": "user", "content": "hello there"},
            *[item.to_dict() for item in first.output],
            {"role": "user", "content": "again"},
        ],
    )
    assert again.output_text == "again"


def test_models_are_listed(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert "sandbox-echo" in listed and len(listed) == len(set(listed))
    assert client.models.retrieve("sandbox-echo").object == "model"
