"""Official clients whose model is served on another wire: they cannot tell, whatever the pair."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from tests.clients.scripted_upstream import ScriptedUpstream
from tests.devices.chained import PROVIDER_WIRES, Chain, chain
from tests.devices.gateway import LIVE_KEY, ORG, Gateway, provider

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo"]}, "days": {"type": "integer", "default": 3}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
CALLED = {"city": "Oslo", "days": 3}
LOREM = "lorem ipsum dolor sit amet consectetur adipiscing"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PROVIDERS = pytest.mark.parametrize("served", PROVIDER_WIRES)


@pytest.fixture(scope="module")
def both() -> Iterator[Chain]:
    with chain() as gateways:
        yield gateways


@pytest.fixture
def messages(both: Chain) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=both.front.url, api_key=LIVE_KEY, max_retries=0, timeout=20) as made:
        yield made


@pytest.fixture
def openai_client(both: Chain) -> Iterator[openai.OpenAI]:
    url = both.front.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=LIVE_KEY, max_retries=0, timeout=20) as made:
        yield made


def said(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def gathered(stream: Any) -> tuple[list[Any], Exception | None]:
    """What came, and how it broke."""
    came: list[Any] = []
    items = iter(stream)
    try:
        while True:
            came.append(next(items))
    except StopIteration:
        return came, None
    except Exception as broken:  # noqa: BLE001 - the caller says which it must be
        return came, broken


@PROVIDERS
def test_a_message_is_answered(messages: anthropic.Anthropic, served: str) -> None:
    answer = messages.messages.create(
        model=f"{served}/sandbox-echo",
        max_tokens=100,
        system="Be brief.",
        messages=[{"role": "user", "content": "hello ☃"}],
        extra_body={"temperature": 0.5},
    )
    assert (answer.type, answer.role, said(answer), answer.stop_reason) == (
        "message",
        "assistant",
        "hello ☃",
        "end_turn",
    )
    assert answer.model == "sandbox-echo" and answer.id
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


@PROVIDERS
def test_a_message_is_streamed(messages: anthropic.Anthropic, served: str) -> None:
    with messages.messages.stream(
        model=f"{served}/sandbox-lorem", max_tokens=100, messages=[{"role": "user", "content": "7"}]
    ) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 3 and "".join(pieces) == said(final) == LOREM
    assert final.stop_reason == "end_turn" and final.usage.output_tokens > 0 and final.usage.input_tokens > 0


@PROVIDERS
@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_of_a_message_is_called_and_its_result_read(
    messages: anthropic.Anthropic, served: str, streamed: bool
) -> None:
    asked: Any = {
        "model": f"{served}/sandbox-tool",
        "max_tokens": 200,
        "tools": [{"name": "get_weather", "description": "The weather.", "input_schema": SCHEMA}],
    }
    talk: list[Any] = [{"role": "user", "content": "weather?"}]
    if streamed:
        with messages.messages.stream(messages=talk, **asked) as stream:
            called: Any = stream.get_final_message()
    else:
        called = messages.messages.create(messages=talk, **asked)
    assert called.stop_reason == "tool_use"
    use = next(block for block in called.content if block.type == "tool_use")
    assert (use.name, use.input) == ("get_weather", CALLED) and use.id
    talk += [
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]},
    ]
    assert "sunny" in said(messages.messages.create(messages=talk, **asked))


@PROVIDERS
def test_an_image_and_a_document_in_a_message_are_taken(messages: anthropic.Anthropic, served: str) -> None:
    content: Any = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a page"}},
        {"type": "text", "text": "what is it?"},
    ]
    answer = messages.messages.create(
        model=f"{served}/sandbox-echo", max_tokens=100, messages=[{"role": "user", "content": content}]
    )
    assert said(answer).endswith("what is it?")


@PROVIDERS
def test_tokens_of_a_message_are_counted(messages: anthropic.Anthropic, served: str) -> None:
    raw = messages.messages.with_raw_response.count_tokens(
        model=f"{served}/sandbox-echo", messages=[{"role": "user", "content": "hello " * 100}]
    )
    assert 100 <= raw.parse().input_tokens <= 300
    assert raw.headers.get("x-triptych-estimate") == (None if served == "messages" else "input_tokens")


@PROVIDERS
def test_a_completion_is_created(openai_client: openai.OpenAI, served: str) -> None:
    answer = openai_client.chat.completions.create(
        model=f"{served}/sandbox-echo",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "hello ☃"}]},
        ],
        top_p=0.9,
    )
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, choice.index) == ("hello ☃", "stop", 0)
    assert answer.object == "chat.completion" and answer.model == "sandbox-echo"
    usage = answer.usage
    assert usage and usage.prompt_tokens + usage.completion_tokens == usage.total_tokens > 0


@PROVIDERS
@pytest.mark.parametrize("counted", [False, True])
def test_a_completion_is_streamed(openai_client: openai.OpenAI, served: str, counted: bool) -> None:
    chunks = list(
        openai_client.chat.completions.create(
            model=f"{served}/sandbox-lorem",
            messages=[{"role": "user", "content": "7"}],
            stream=True,
            stream_options={"include_usage": counted},
        )
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == LOREM and len(texts) > 4
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert len({chunk.id for chunk in chunks}) == 1 and {c.object for c in chunks} == {
        "chat.completion.chunk"
    }
    assert (chunks[-1].usage is not None) is counted
    assert bool(chunks[-1].choices) is not counted


@PROVIDERS
@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_of_a_completion_is_called_and_its_result_read(
    openai_client: openai.OpenAI, served: str, streamed: bool
) -> None:
    asked: Any = {
        "model": f"{served}/sandbox-tool",
        "tools": [
            {
                "type": "function",
                "function": {"name": "get_weather", "parameters": SCHEMA, "strict": True},
            }
        ],
    }
    talk: list[Any] = [{"role": "user", "content": "weather?"}]
    if streamed:
        with openai_client.chat.completions.stream(messages=talk, **asked) as stream:
            for _ in stream:
                pass
            called: Any = stream.get_final_completion()
    else:
        called = openai_client.chat.completions.create(messages=talk, **asked)
    choice = called.choices[0]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", CALLED)
    talk += [
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
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    answer = openai_client.chat.completions.create(messages=talk, **asked)
    assert "sunny" in (answer.choices[0].message.content or "")


@PROVIDERS
def test_the_sdk_runs_tools_of_a_message_by_itself(messages: anthropic.Anthropic, served: str) -> None:
    """Its runner asks the vendor to keep the conversation (``thread``), and does without where that is
    refused in the vendor's words."""

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather.

        Args:
            city: Where.
        """
        return f"sunny in {city}"

    runner = messages.beta.messages.tool_runner(
        model=f"{served}/sandbox-tool",
        max_tokens=200,
        tools=[get_weather],
        messages=[{"role": "user", "content": "weather?"}],
    )
    assert "sunny in sample" in said(runner.until_done())


class Weather(pydantic.BaseModel):
    city: str


@PROVIDERS
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_what_the_sdks_parsed_can_be_sent_back_as_they_give_it(
    openai_client: openai.OpenAI, messages: anthropic.Anthropic, served: str
) -> None:
    """Their helpers add to an answer what they made of it, and their users append the whole answer to the
    conversation: as the object it is, or as it dumps itself."""
    echo, tool = f"{served}/sandbox-echo", f"{served}/sandbox-tool"
    ask: Any = {"role": "user", "content": "weather?"}
    chat = openai_client.chat.completions
    parsed: Any = chat.parse(model=echo, messages=[ask], response_format=Weather).choices[0].message
    assert isinstance(parsed.parsed, Weather)
    for sent in (parsed, parsed.model_dump(mode="json", warnings=False)):
        answer = chat.create(model=echo, messages=[ask, sent, {"role": "user", "content": "thanks"}])
        assert answer.choices[0].message.content == "thanks"
    tools: Any = [openai.pydantic_function_tool(Weather)]
    called: Any = chat.parse(model=tool, messages=[ask], tools=tools).choices[0].message
    assert isinstance(called.tool_calls[0].function.parsed_arguments, Weather)
    result: Any = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "sunny"}
    assert "sunny" in str(
        chat.create(model=tool, messages=[ask, called, result], tools=tools).choices[0].message
    )
    response: Any = openai_client.responses.parse(model=echo, input=[ask], text_format=Weather)
    dumped = [item.model_dump(mode="json", warnings=False) for item in response.output]
    assert dumped[-1]["content"][0]["parsed"]
    for items in (response.output, dumped):
        input_: Any = [ask, *items, {"role": "user", "content": "thanks"}]
        assert openai_client.responses.create(model=echo, input=input_).output_text == "thanks"
    message: Any = messages.messages.parse(model=echo, max_tokens=100, messages=[ask], output_format=Weather)
    assert isinstance(message.parsed_output, Weather)
    for content in (message.content, [block.model_dump(mode="json") for block in message.content]):
        talk: Any = [ask, {"role": "assistant", "content": content}, {"role": "user", "content": "thanks"}]
        assert said(messages.messages.create(model=echo, max_tokens=100, messages=talk)) == "thanks"


@PROVIDERS
def test_a_response_is_created(openai_client: openai.OpenAI, served: str) -> None:
    answer = openai_client.responses.create(
        model=f"{served}/sandbox-echo", instructions="Be brief.", input="hello ☃", max_output_tokens=50
    )
    assert (answer.object, answer.status, answer.output_text) == ("response", "completed", "hello ☃")
    assert answer.model == "sandbox-echo" and answer.usage
    assert answer.usage.input_tokens + answer.usage.output_tokens == answer.usage.total_tokens > 0


@PROVIDERS
def test_a_response_is_streamed(openai_client: openai.OpenAI, served: str) -> None:
    with openai_client.responses.stream(model=f"{served}/sandbox-lorem", input="7") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 3 and "".join(deltas) == final.output_text == LOREM


@PROVIDERS
@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_of_a_response_is_called_and_its_result_read(
    openai_client: openai.OpenAI, served: str, streamed: bool
) -> None:
    asked: Any = {
        "model": f"{served}/sandbox-tool",
        "tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}],
    }
    talk: list[Any] = [{"role": "user", "content": "weather?"}]
    if streamed:
        with openai_client.responses.stream(input=talk, **asked) as stream:
            for _ in stream:
                pass
            called: Any = stream.get_final_response()
    else:
        called = openai_client.responses.create(input=talk, **asked)
    call = next(item for item in called.output if item.type == "function_call")
    assert (call.name, json.loads(call.arguments)) == ("get_weather", CALLED)
    talk += [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    assert "sunny" in openai_client.responses.create(input=talk, **asked).output_text


@PROVIDERS
def test_a_providers_error_stays_its_own_and_its_shape_is_named(both: Chain, served: str) -> None:
    client = openai.OpenAI(base_url=both.front.url + "/v1", api_key=LIVE_KEY, max_retries=0)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model=f"{served}/sandbox-error-upstream_overloaded", messages=[{"role": "user", "content": "x"}]
        )
    response = caught.value.response
    named = response.headers.get("x-triptych-upstream-wire")
    assert named == (None if served == "chat" else PROVIDER_WIRES[served])
    assert ("request_id" in response.json()) is (served == "messages")


@PROVIDERS
@pytest.mark.parametrize("model", ["sandbox-error-midstream_overloaded", "sandbox-error-midstream_cut"])
def test_a_translated_stream_that_fails_fails_in_the_callers_wire(
    messages: anthropic.Anthropic, openai_client: openai.OpenAI, served: str, model: str
) -> None:
    name = f"{served}/{model}"
    with (
        pytest.raises(anthropic.APIStatusError),
        messages.messages.stream(
            model=name, max_tokens=9, messages=[{"role": "user", "content": "x"}]
        ) as stream,
    ):
        assert list(stream.text_stream)
    asked: Any = [{"role": "user", "content": "x"}]
    chunks, broken = gathered(openai_client.chat.completions.create(model=name, messages=asked, stream=True))
    assert chunks and isinstance(broken, openai.APIError)
    events, broken = gathered(openai_client.responses.create(model=name, input="x", stream=True))
    kinds = [event.type for event in events]
    # What a provider says itself passes as it is, and the client makes no exception of it.
    assert isinstance(broken, openai.APIError) or (served, kinds[-1]) == ("responses", "error")
    assert "response.output_text.delta" in kinds and "response.completed" not in kinds


def test_what_the_other_wire_has_nothing_for_is_refused_by_name(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        openai_client.chat.completions.create(
            model="messages/sandbox-echo", messages=[{"role": "user", "content": "x"}], seed=7
        )
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "seed")


class Stay(pydantic.BaseModel):
    days: int = pydantic.Field(ge=1, le=9)
    note: str = ""


def test_a_schema_arrives_as_the_other_vendor_takes_it() -> None:
    with ScriptedUpstream([]) as vendor:
        toml = "\n".join(
            provider(f"{vendor.url}/v1", name, name=name, kind=kind)
            for name, kind in (("of-anthropic", "anthropic"), ("of-openai", "openai"))
        )
        with Gateway(toml + ORG) as gateway:
            with (
                openai.OpenAI(base_url=gateway.url + "/v1", api_key=LIVE_KEY) as client,
                suppress(ValueError),
            ):
                client.chat.completions.parse(
                    model="of-anthropic", messages=[{"role": "user", "content": "x"}], response_format=Stay
                )
            with anthropic.Anthropic(base_url=gateway.url, api_key=LIVE_KEY) as other, suppress(ValueError):
                other.messages.parse(
                    model="of-openai",
                    max_tokens=99,
                    messages=[{"role": "user", "content": "x"}],
                    output_format=Stay,
                )
    days = vendor.requests[0].json["output_config"]["format"]["schema"]["properties"]["days"]
    assert "minimum" not in days and days["description"] == "{maximum: 9, minimum: 1}"
    form = vendor.requests[1].json["text"]["format"]
    # An optional property, as Anthropic takes it, is none in a strict schema of OpenAI's.
    assert form["schema"]["additionalProperties"] is False and "note" not in form["schema"]["required"]
    assert form["strict"] is False
