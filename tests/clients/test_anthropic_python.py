"""The official Python client as a black box: only base URL and key are changed."""

import base64
import time
from collections.abc import Iterator

import anthropic
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from tests.contract.inference.world import NO_ACCESS, OTHER_LIMITED, TwoSides, fault_model, world
from tests.devices.gateway import LIVE_KEY, TEST_KEY

HELLO: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hello there"}]
WEATHER: anthropic.types.ToolParam = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Oslo"]},
            "days": {"type": "integer", "default": 3},
        },
        "required": ["city", "days"],
    },
}
PIXEL = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
).decode()


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with world() as both:
        yield both


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def client_of(sides: TwoSides, key: str = TEST_KEY, retries: int = 0) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=sides.gateway.url, api_key=key, max_retries=retries, timeout=20.0)


@pytest.fixture
def client(sides: TwoSides) -> Iterator[anthropic.Anthropic]:
    with client_of(sides) as made:
        yield made


def test_a_message_is_created(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(model="sandbox-echo", max_tokens=64, messages=HELLO)
    assert [block.text for block in answer.content if block.type == "text"] == ["hello there"]
    assert (answer.role, answer.stop_reason, answer.model) == ("assistant", "end_turn", "sandbox-echo")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 2)
    assert answer._request_id is not None and answer._request_id.startswith("req_01")


def test_a_message_of_a_real_provider_is_created(sides: TwoSides) -> None:
    with client_of(sides, LIVE_KEY) as client:
        answer = client.messages.create(
            model="mapped-model", max_tokens=64, messages=HELLO, metadata={"user_id": "u"}
        )
    assert (answer.id, answer.usage.output_tokens) == ("msg_fault", 7)
    assert "metadata" not in sides.upstream.requests[-1].json


def test_a_bearer_token_is_as_good_as_a_key(sides: TwoSides) -> None:
    with anthropic.Anthropic(base_url=sides.gateway.url, auth_token=TEST_KEY, max_retries=0) as client:
        assert client.messages.create(model="sandbox-echo", max_tokens=9, messages=HELLO).type == "message"


def test_limit_headers_and_ids_are_where_the_client_looks(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(model="sandbox-echo", max_tokens=9, messages=HELLO)
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.headers["x-triptych-environment"] == "test"


def test_a_message_is_streamed_event_by_event(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model="sandbox-lorem", max_tokens=64, messages=[{"role": "user", "content": "7"}]
    ) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(texts) == 7
    assert "".join(texts) == "lorem ipsum dolor sit amet consectetur adipiscing"
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 12)


def test_a_raw_stream_has_every_event_in_order(sides: TwoSides) -> None:
    with client_of(sides, LIVE_KEY) as client:
        kinds = [
            event.type
            for event in client.messages.create(
                model="mapped-model", max_tokens=9, messages=HELLO, stream=True
            )
        ]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_a_stream_may_be_left_and_the_client_used_again(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model="sandbox-lorem", max_tokens=999, messages=[{"role": "user", "content": "400"}]
    ) as stream:
        next(iter(stream.text_stream))
    assert client.messages.create(model="sandbox-echo", max_tokens=9, messages=HELLO).type == "message"


def test_a_tool_is_called_and_its_result_answered(client: anthropic.Anthropic) -> None:
    first = client.messages.create(model="sandbox-tool", max_tokens=99, tools=[WEATHER], messages=HELLO)
    assert first.stop_reason == "tool_use"
    (use,) = (block for block in first.content if block.type == "tool_use")
    assert (use.name, use.input) == ("get_weather", {"city": "Oslo", "days": 3})
    second = client.messages.create(
        model="sandbox-tool",
        max_tokens=99,
        tools=[WEATHER],
        messages=[
            *HELLO,
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "rain"}]},
        ],
    )
    assert [block.text for block in second.content if block.type == "text"] == ["The tool returned: rain"]


def test_a_tool_call_is_streamed_in_fragments(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model="sandbox-tool", max_tokens=99, tools=[WEATHER], messages=HELLO
    ) as stream:
        fragments = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert len(fragments) > 1
    (use,) = (block for block in final.content if block.type == "tool_use")
    assert (final.stop_reason, use.input) == ("tool_use", {"city": "Oslo", "days": 3})


def test_pictures_and_documents_go_through_as_they_are(sides: TwoSides) -> None:
    content: list[anthropic.types.ContentBlockParam] = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a page"}},
        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
    ]
    messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": content}]
    with client_of(sides) as client:
        answer = client.messages.create(model="sandbox-echo", max_tokens=99, messages=messages)
        assert [block.text for block in answer.content if block.type == "text"] == ["What is this?"]
        assert answer.usage.input_tokens > 1_600
    with client_of(sides, LIVE_KEY) as client:
        client.messages.create(model="mapped-model", max_tokens=99, messages=messages, system="Be brief.")
    assert sides.upstream.requests[-1].json["messages"] == messages
    assert sides.upstream.requests[-1].json["system"] == "Be brief."


def test_beta_features_and_unknown_fields_are_forwarded(sides: TwoSides) -> None:
    with client_of(sides, LIVE_KEY) as client:
        client.beta.messages.create(
            model="mapped-model",
            max_tokens=9,
            messages=HELLO,
            betas=["of-the-future-2027"],
            extra_body={"new_field": [1]},
            extra_query={"beta": "true"},
        )
    seen = sides.upstream.requests[-1]
    assert seen.target == "/v1/messages?beta=true"
    assert seen.header("anthropic-beta") == "of-the-future-2027"
    assert seen.json["new_field"] == [1]


def test_tokens_are_counted(sides: TwoSides) -> None:
    with client_of(sides) as client:
        assert client.messages.count_tokens(model="sandbox-echo", messages=HELLO).input_tokens == 2
    with client_of(sides, LIVE_KEY) as client:
        assert (
            client.messages.count_tokens(model="mapped-model", messages=HELLO, tools=[WEATHER]).input_tokens
            == 12
        )


def test_the_asynchronous_client_works_too(sides: TwoSides) -> None:
    import asyncio

    async def ask() -> tuple[str, list[str]]:
        async with anthropic.AsyncAnthropic(
            base_url=sides.gateway.url, api_key=TEST_KEY, max_retries=0
        ) as client:
            answer = await client.messages.create(model="sandbox-echo", max_tokens=64, messages=HELLO)
            async with client.messages.stream(model="sandbox-echo", max_tokens=64, messages=HELLO) as stream:
                return answer.type, [text async for text in stream.text_stream]

    assert asyncio.run(ask()) == ("message", ["hello", " there"])


ERRORS = {
    "an unknown key": ("nobody", "sandbox-echo", 401, anthropic.AuthenticationError, "authentication_error"),
    "no API access": (NO_ACCESS, "mapped-model", 403, anthropic.PermissionDeniedError, "permission_error"),
    "a premium model": (LIVE_KEY, "premium-model", 403, anthropic.PermissionDeniedError, "permission_error"),
    "an unknown model": (LIVE_KEY, "no-such-model", 400, anthropic.BadRequestError, "invalid_request_error"),
    "no credits": (
        TEST_KEY,
        "sandbox-error-credits_exhausted",
        402,
        anthropic.APIStatusError,
        "billing_error",
    ),
    "a request limit": (
        TEST_KEY,
        "sandbox-error-rate_limited",
        429,
        anthropic.RateLimitError,
        "rate_limit_error",
    ),
    "a bug of ours": (
        TEST_KEY,
        "sandbox-error-internal_error",
        500,
        anthropic.InternalServerError,
        "api_error",
    ),
    "an empty answer": (
        LIVE_KEY,
        fault_model("empty"),
        502,
        anthropic.InternalServerError,
        "upstream_empty_body",
    ),
    "an unreachable provider": (
        LIVE_KEY,
        "unreachable-model",
        502,
        anthropic.InternalServerError,
        "api_error",
    ),
    "an unavailable provider": (
        LIVE_KEY,
        "unbuilt-model",
        503,
        anthropic.InternalServerError,
        "overloaded_error",
    ),
    "a slow provider": (
        LIVE_KEY,
        fault_model("hang_before_head"),
        504,
        anthropic.InternalServerError,
        "timeout_error",
    ),
    "an overloaded provider": (
        TEST_KEY,
        "sandbox-error-upstream_overloaded",
        529,
        anthropic.APIStatusError,
        "overloaded_error",
    ),
    "a provider that refuses": (
        TEST_KEY,
        "sandbox-error-upstream_bad_request",
        400,
        anthropic.BadRequestError,
        "invalid_request_error",
    ),
}


@pytest.mark.parametrize(("key", "model", "status", "kind", "type_"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_is_the_clients_own_exception_for_it(
    sides: TwoSides,
    key: str,
    model: str,
    status: int,
    kind: type[anthropic.APIStatusError],
    type_: str,
    streamed: bool,
) -> None:
    with client_of(sides, key) as client, pytest.raises(kind) as caught:
        client.messages.create(model=model, max_tokens=64, messages=HELLO, stream=streamed)
    error = caught.value
    assert error.status_code == status
    assert isinstance(error.body, dict) and error.body["error"]["type"] == type_
    assert error.request_id is not None and error.request_id.startswith("req_01")


def test_a_request_too_large_is_the_clients_own_exception(sides: TwoSides) -> None:
    with client_of(sides) as client, pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(
            model="sandbox-echo", max_tokens=9, messages=[{"role": "user", "content": "x" * 52_428_800}]
        )
    assert caught.value.status_code == 413
    assert caught.value.body == {"message": "Request body too large. Maximum size is 50 MB."}


def test_an_unknown_path_is_not_found(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.get("/v1/messages/nothing", cast_to=object)
    assert isinstance(caught.value.body, dict) and caught.value.body["error"]["type"] == "not_found_error"


def test_models_are_listed_page_by_page(client: anthropic.Anthropic) -> None:
    listed = [model.id for model in client.models.list(limit=3)]
    assert "sandbox-echo" in listed and len(listed) == len(set(listed)) > 3
    assert client.models.retrieve("sandbox-echo").id == "sandbox-echo"


@pytest.mark.parametrize(
    ("key", "model", "type_"),
    [
        (TEST_KEY, "sandbox-error-midstream_overloaded", "overloaded_error"),
        (TEST_KEY, "sandbox-error-midstream_cut", "api_error"),
        (LIVE_KEY, fault_model("stream_error_event"), "overloaded_error"),
        (LIVE_KEY, fault_model("stream_cut_at:400"), "api_error"),
    ],
)
def test_an_error_inside_a_stream_is_raised_and_never_a_silent_end(
    sides: TwoSides, key: str, model: str, type_: str
) -> None:
    seen = []
    with client_of(sides, key) as client:
        events = client.messages.create(model=model, max_tokens=64, messages=HELLO, stream=True)
        with pytest.raises(anthropic.APIStatusError) as caught:
            # Not a list: what came before the error is what counts.
            seen.extend(event.type for event in events)
    assert seen[0] == "message_start" and "message_stop" not in seen
    assert isinstance(caught.value.body, dict) and caught.value.body["error"]["type"] == type_


def served(sides: TwoSides) -> int:
    """Requests for models that the gateway has answered so far, by its own count."""
    text = sides.ask(method="GET", target="/metrics").body.decode()
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "triptych_requests_total" and sample.labels["endpoint"]
    )


def counted(sides: TwoSides, key: str, model: str, retries: int) -> tuple[int, float, Exception | None]:
    """How many requests the client made, in how many seconds, and what it raised in the end."""
    before = served(sides)
    began_s = time.monotonic()
    raised: Exception | None = None
    with client_of(sides, key, retries) as client:
        try:
            client.messages.create(model=model, max_tokens=64, messages=HELLO)
        except anthropic.APIStatusError as error:
            raised = error
    took_s = time.monotonic() - began_s
    return served(sides) - before, took_s, raised


def test_a_429_is_tried_again_after_as_long_as_it_asks(sides: TwoSides) -> None:
    requests, took_s, raised = counted(sides, TEST_KEY, "sandbox-error-rate_limited", 1)
    assert (requests, isinstance(raised, anthropic.RateLimitError)) == (2, True)
    # Retry-After says 1; by itself the client would wait about half a second.
    assert took_s >= 1.0


def test_our_own_limit_is_obeyed_to_the_second(sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    with client_of(sides, OTHER_LIMITED, retries=1) as client:
        client.messages.create(model="mapped-model", max_tokens=9, messages=HELLO)
        with pytest.raises(anthropic.RateLimitError) as caught:
            client.messages.create(model="mapped-model", max_tokens=9, messages=HELLO)
    asked = int(caught.value.response.headers["retry-after"])
    assert 1 <= asked <= 60
    assert len(slept) == 1 and asked <= slept[0] <= asked + 1


def test_a_402_is_not_tried_again(sides: TwoSides) -> None:
    requests, took_s, raised = counted(sides, TEST_KEY, "sandbox-error-credits_exhausted", 2)
    assert isinstance(raised, anthropic.APIStatusError)
    assert raised.response.headers["x-should-retry"] == "false"
    assert requests == 1 and took_s < 10


def test_what_a_client_can_mend_is_not_tried_again_and_what_may_pass_is(sides: TwoSides) -> None:
    assert counted(sides, TEST_KEY, "sandbox-error-dlp_blocked", 2)[0] == 1
    assert counted(sides, LIVE_KEY, "no-such-model", 2)[0] == 1
    assert counted(sides, LIVE_KEY, fault_model("empty"), 1)[0] == 2
    assert counted(sides, LIVE_KEY, "unbuilt-model", 1)[0] == 2


class Place(BaseModel):
    city: str
    days: int


def test_a_structured_answer_is_parsed_by_the_client(client: anthropic.Anthropic) -> None:
    answer = client.messages.parse(model="sandbox-echo", max_tokens=64, messages=HELLO, output_format=Place)
    assert answer.parsed_output == Place(city="sample", days=1)


def test_thinking_comes_before_the_answer_and_goes_back_with_it(client: anthropic.Anthropic) -> None:
    thinking: anthropic.types.ThinkingConfigParam = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(
        model="sandbox-tool", max_tokens=2048, messages=HELLO, thinking=thinking, tools=[WEATHER]
    ) as stream:
        thoughts = [event.thinking for event in stream if event.type == "thinking"]
        first = stream.get_final_message()
    assert "".join(thoughts) == "The last message says: hello there"
    assert [block.type for block in first.content] == ["thinking", "tool_use"]
    assert first.content[0].type == "thinking" and first.content[0].signature
    result: anthropic.types.ToolResultBlockParam = {
        "type": "tool_result",
        "tool_use_id": first.content[1].id if first.content[1].type == "tool_use" else "",
        "content": "rain",
    }
    second = client.messages.create(
        model="sandbox-tool",
        max_tokens=2048,
        thinking=thinking,
        tools=[WEATHER],
        messages=[
            *HELLO,
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ],
    )
    assert [block.text for block in second.content if block.type == "text"] == ["The tool returned: rain"]
