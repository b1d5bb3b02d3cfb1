"""LangChain's chat models as black boxes, on every wire they speak: only base URL and key are changed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from tests.devices.chained import PROVIDER_WIRES, chain
from tests.devices.gateway import LIVE_KEY, TEST_KEY, Gateway

SANDBOX = "sandbox-*"
LOREM = "lorem ipsum dolor sit amet consectetur adipiscing"
THOUGHTS = "The last message says: hello there"
# The wire LangChain speaks, and model ids: a star stands for what the model does.
SUBJECTS = [(wire, f"{served}/sandbox-*") for wire in PROVIDER_WIRES for served in PROVIDER_WIRES]
every_subject = pytest.mark.parametrize(("wire", "model"), SUBJECTS)
every_wire = pytest.mark.parametrize("wire", PROVIDER_WIRES)


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    rain: bool


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with chain() as gateways:
        yield gateways.front


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_API_BASE",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


def client(
    gateway: Gateway,
    wire: str,
    model: str,
    behaviour: str = "echo",
    *,
    key: str | None = None,
    retries: int = 0,
    **more: Any,
) -> BaseChatModel:
    name = model.replace("*", behaviour)
    key = key or (TEST_KEY if model == SANDBOX else LIVE_KEY)
    if wire == "messages":
        return ChatAnthropic(
            model=name, base_url=gateway.url, api_key=key, max_retries=retries, max_tokens=4096, **more
        )
    return ChatOpenAI(
        model=name,
        base_url=gateway.url + "/v1",
        api_key=key,
        max_retries=retries,
        use_responses_api=wire == "responses",
        stream_usage=True,
        **more,
    )


@every_subject
def test_an_answer_is_created_with_its_usage(gateway: Gateway, wire: str, model: str) -> None:
    answer = client(gateway, wire, model).invoke("hello there")
    assert isinstance(answer, AIMessage)
    assert answer.text == "hello there"
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (2, 2)


@every_subject
def test_an_answer_is_streamed_word_by_word(gateway: Gateway, wire: str, model: str) -> None:
    whole: AIMessageChunk | None = None
    pieces = 0
    for chunk in client(gateway, wire, model, "lorem").stream("7"):
        assert isinstance(chunk, AIMessageChunk)
        pieces += bool(chunk.text)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None and whole.text == LOREM and pieces == 7
    assert whole.usage_metadata is not None and whole.usage_metadata["output_tokens"] == 12


# LangChain keeps its asynchronous clients for the life of the process, whatever becomes of their loop.
ASYNCHRONOUS = """
import asyncio, json, sys
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

async def ask(url, wire, model, key):
    if wire == "messages":
        talker = ChatAnthropic(model=model, base_url=url, api_key=key, max_retries=0)
    else:
        responses = wire == "responses"
        talker = ChatOpenAI(
            model=model, base_url=url + "/v1", api_key=key, max_retries=0, use_responses_api=responses
        )
    answer, chunks = await asyncio.gather(
        talker.ainvoke("hello there"), gathered(talker)
    )
    return [answer.text, chunks]

async def gathered(talker):
    return "".join([chunk.text async for chunk in talker.astream("hello there")])

async def main():
    return await asyncio.gather(*(ask(sys.argv[1], *subject) for subject in json.loads(sys.argv[2])))

print(json.dumps(asyncio.run(main())))
"""


def test_every_wire_works_asynchronously_and_at_the_same_time(gateway: Gateway) -> None:
    subjects = [
        *((wire, model.replace("*", "echo"), LIVE_KEY) for wire, model in SUBJECTS),
        *((wire, "sandbox-echo", TEST_KEY) for wire in PROVIDER_WIRES),
    ]
    done = subprocess.run(
        [sys.executable, "-c", ASYNCHRONOUS, gateway.url, json.dumps(subjects)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["hello there", "hello there"]] * len(subjects)


@every_subject
def test_a_tool_is_called_and_its_result_answered(gateway: Gateway, wire: str, model: str) -> None:
    bound = client(gateway, wire, model, "tool").bind_tools([get_weather])
    question = HumanMessage("hello there")
    first = bound.invoke([question])
    (call,) = first.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "sample"})
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    assert bound.invoke([question, first, result]).text == "The tool returned: rain in sample"
    chunks = [chunk for chunk in bound.stream([question]) if isinstance(chunk, AIMessageChunk)]
    fragments = [piece["args"] or "" for chunk in chunks for piece in chunk.tool_call_chunks]
    assert json.loads("".join(fragments)) == {"city": "sample"}


@every_subject
def test_an_agent_that_signs_what_it_says_goes_on(gateway: Gateway, wire: str, model: str) -> None:
    turns = [HumanMessage("hi", name="ana"), AIMessage("hello", name="weather_agent"), HumanMessage("again")]
    assert client(gateway, wire, model).invoke(turns).text == "again"


@every_subject
def test_a_structured_answer_is_parsed(gateway: Gateway, wire: str, model: str) -> None:
    for method in ("function_calling", "json_schema"):
        structured = client(gateway, wire, model).with_structured_output(Weather, method=method)
        assert structured.invoke("hello there") == Weather(city="sample", rain=True), method


@every_subject
def test_thoughts_are_read_and_taken_along_to_the_next_turn(gateway: Gateway, wire: str, model: str) -> None:
    wanted: dict[str, dict[str, Any]] = {
        "messages": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "chat": {"reasoning_effort": "low"},
        "responses": {
            "reasoning": {"effort": "low", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "output_version": "responses/v1",
        },
    }
    thinker = client(gateway, wire, model, **wanted[wire])
    question = HumanMessage("hello there")
    answer = thinker.invoke([question])
    assert answer.text == "hello there"
    blocks = [block for block in answer.content_blocks if block["type"] == "reasoning"]
    # LangChain reads no thoughts on Chat Completions.
    assert [block["reasoning"] for block in blocks] == ([] if wire == "chat" else [THOUGHTS])
    assert isinstance(answer, AIMessage) and answer.usage_metadata is not None
    if wire != "messages":
        assert answer.usage_metadata["output_token_details"]["reasoning"] == 8
    assert thinker.invoke([question, answer, HumanMessage("again")]).text == "again"


ERRORS = {
    "error-upstream_bad_request": (openai.BadRequestError, anthropic.BadRequestError, 400),
    "error-upstream_rate_limited": (openai.RateLimitError, anthropic.RateLimitError, 429),
    "error-upstream_overloaded": (openai.InternalServerError, anthropic.InternalServerError, None),
}


@every_subject
@pytest.mark.parametrize("behaviour", ERRORS)
def test_a_providers_refusal_is_the_sdks_own_exception(
    gateway: Gateway, wire: str, model: str, behaviour: str
) -> None:
    of_openai, of_anthropic, status = ERRORS[behaviour]
    kind: type[openai.APIStatusError] | type[anthropic.APIStatusError]
    kind = of_anthropic if wire == "messages" else of_openai
    talker = client(gateway, wire, model, behaviour)
    for ask in (talker.invoke, lambda text: list(talker.stream(text))):
        with pytest.raises(kind) as caught:
            ask("hi")
        assert caught.value.status_code == (status or (529 if model.startswith("messages/") else 503))


@every_subject
def test_an_error_inside_a_stream_is_raised_and_never_a_silent_end(
    gateway: Gateway, wire: str, model: str
) -> None:
    seen: list[str] = []
    with pytest.raises((openai.APIError, anthropic.APIError)):
        seen.extend(chunk.text for chunk in client(gateway, wire, model, "error-midstream_cut").stream("hi"))
    assert "".join(seen) and "This answer begins like".startswith("".join(seen))


@every_wire
def test_an_unknown_key_is_the_sdks_authentication_error(gateway: Gateway, wire: str) -> None:
    with pytest.raises((openai.AuthenticationError, anthropic.AuthenticationError)):
        client(gateway, wire, SANDBOX, key="nobody").invoke("hi")


@every_wire
def test_a_rate_limit_is_tried_again_after_as_long_as_it_asks(gateway: Gateway, wire: str) -> None:
    started = time.perf_counter()
    with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)):
        client(gateway, wire, SANDBOX, "error-rate_limited", retries=1).invoke("hi")
    # Retry-After says 1; by themselves the SDKs would wait about half a second.
    assert time.perf_counter() - started >= 1.0


@every_wire
def test_spent_credits_are_not_asked_for_again(gateway: Gateway, wire: str) -> None:
    started = time.perf_counter()
    with pytest.raises((openai.RateLimitError, anthropic.APIStatusError)):
        client(gateway, wire, SANDBOX, "error-credits_exhausted", retries=3).invoke("hi")
    assert time.perf_counter() - started < 2.5, "three more tries would wait longer"
