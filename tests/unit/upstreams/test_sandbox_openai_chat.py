import asyncio
import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from triptych.core.call import UpstreamCall, header
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import UsageSource
from triptych.upstreams.sandbox import SandboxUpstream, sandbox_model_ids
from triptych.wires.openai_chat import ChatStream, read_answer

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["celsius", "kelvin"]},
                "days": {"type": "integer"},
            },
            "required": ["city", "unit"],
        },
    },
}
OTHER = {"type": "function", "function": {"name": "other"}}
ASK_USAGE = {"include_usage": True}
# Status, type and code: https://platform.openai.com/docs/guides/error-codes.
ERRORS = {
    "upstream_overloaded": (503, "server_error", "overloaded"),
    "upstream_rate_limited": (429, "requests", "rate_limit_exceeded"),
    "upstream_error": (500, "server_error", None),
    "upstream_bad_request": (400, "invalid_request_error", None),
}


class Got:
    """One answer, read to its end."""

    def __init__(self, status: int, headers: Any, chunks: list[bytes], failure: Failure | None) -> None:
        self.status = status
        self.headers = headers
        self.chunks = chunks
        self.body = b"".join(chunks)
        self.failure = failure

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> list[Any]:
        """Of each event, in its only form; the end is the string ``[DONE]``."""
        found = []
        for block in self.body.decode().removesuffix("\n\n").split("\n\n"):
            text = block.removeprefix("data: ")
            assert "\n" not in text
            found.append(text if text == "[DONE]" else json.loads(text))
        return found

    @property
    def parsed(self) -> list[ChatCompletionChunk]:
        """Every chunk, as the official types have it."""
        assert self.data[-1] == "[DONE]"
        return [ChatCompletionChunk.model_validate(data, strict=True) for data in self.data[:-1]]

    @property
    def text(self) -> str:
        return "".join(chunk.choices[0].delta.content or "" for chunk in self.parsed if chunk.choices)


def ask(model: str, text: object = "Hello sandbox world", *, stream: bool = False,
        idle_timeout_s: float = 5, body: bytes | None = None, **fields: object) -> Got:  # fmt: skip
    request = {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}
    sent = json.dumps({**request, **fields}).encode() if body is None else body

    async def exchange() -> Got:
        sandbox = SandboxUpstream(idle_timeout_s=idle_timeout_s, pace_s=0, first_byte_delay_s=0)
        until = asyncio.get_running_loop().time() + 30
        call = UpstreamCall("openai-chat", "/v1/chat/completions", b"", (), sent, model, stream, until)
        answer = await sandbox.call(call)
        chunks: list[bytes] = []
        failure = None
        try:
            while chunk := await answer.read():
                chunks.append(chunk)
        except Failure as raised:
            failure = raised
        answer.close()
        return Got(answer.status, answer.headers, chunks, failure)

    return asyncio.run(exchange())


def test_echo_answers_with_the_last_user_text_as_the_official_types_have_it() -> None:
    got = ask("sandbox-echo")
    answer = ChatCompletion.model_validate(got.json, strict=True)
    assert got.status == 200
    assert header(got.headers, b"content-type") == b"application/json"
    assert answer.id.startswith("chatcmpl-sandbox-")
    assert (answer.model, answer.object) == ("sandbox-echo", "chat.completion")
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("stop", "Hello sandbox world")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        4,
        4,
        8,
    )
    assert read_answer(got.body).source == UsageSource.PROVIDER


def test_the_same_request_gets_the_same_answer_and_another_one_other_ids() -> None:
    assert ask("sandbox-echo").body == ask("sandbox-echo").body
    assert ask("sandbox-echo").json["id"] != ask("sandbox-echo", "other").json["id"]


def test_a_stream_has_the_providers_grammar_word_by_word() -> None:
    got = ask("sandbox-echo", stream=True)
    assert header(got.headers, b"content-type") == b"text/event-stream; charset=utf-8"
    chunks = got.parsed
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, None, "stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)
    assert got.text == "Hello sandbox world"
    assert len(got.chunks) == 5


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": None}])
def test_a_stream_reports_its_usage_only_when_asked(options: object) -> None:
    assert b'"usage"' not in ask("sandbox-echo", stream=True, stream_options=options).body


def test_the_usage_comes_in_a_chunk_of_its_own_before_the_end() -> None:
    got = ask("sandbox-echo", stream=True, stream_options=ASK_USAGE)
    *others, last = got.parsed
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (4, 4)
    assert all(data["usage"] is None for data in got.data[:-2])
    assert others[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("asked", [False, True])
def test_the_wire_relays_the_stream_and_drops_the_usage_nobody_asked_for(asked: bool) -> None:
    got = ask("sandbox-echo", stream=True, stream_options=ASK_USAGE)
    stream = ChatStream(include_usage=asked)
    relayed = b"".join(map(stream.feed, got.chunks)) + (stream.final or b"")
    blocks = got.body.split(b"\n\n")
    assert relayed == (got.body if asked else b"\n\n".join(blocks[:-3] + blocks[-2:]))
    assert stream.ended == "done"
    assert stream.usage() == read_answer(ask("sandbox-echo").body)


@pytest.mark.parametrize(
    "text", ["", " ", "a  b\n\n c ", "é😀\u2028 data: [DONE]\n\n", "x" * 1000, " " * 200 + "y"]
)
def test_the_streamed_text_is_the_plain_text(text: str) -> None:
    assert ask("sandbox-echo", text, stream=True).text == text
    assert ask("sandbox-echo", text).json["choices"][0]["message"]["content"] == text


def test_echo_finds_the_last_text_of_a_user() -> None:
    part = {"type": "text", "text": "second"}
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": [part, {"type": "image_url"}, {"type": "text", "text": "x"}]},
        {"role": "assistant", "content": "no"},
        {"role": "tool", "tool_call_id": "call_1", "content": "no"},
    ]
    got = ask("sandbox-echo", messages=messages).json
    assert got["choices"][0]["message"]["content"] == "second\nx"


def test_a_real_model_id_answers_like_echo_under_that_id() -> None:
    got = ask("gpt-5-mini", "hi").json
    assert (got["model"], got["choices"][0]["message"]["content"]) == ("gpt-5-mini", "hi")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("bound", [{"max_tokens": 2}, {"max_tokens": 9, "max_completion_tokens": 2}])
def test_a_bound_on_tokens_cuts_the_text(stream: bool, bound: dict[str, int]) -> None:
    got = ask("sandbox-echo", "0123456789é", stream=stream, **bound)
    choice = got.data[-2]["choices"][0] if stream else got.json["choices"][0]
    assert choice["finish_reason"] == "length"
    assert (got.text if stream else choice["message"]["content"]) == "01234567"


@pytest.mark.parametrize("stop", ["two", ["three", "two", ""]])
def test_the_first_stop_sequence_in_the_text_ends_it(stop: object) -> None:
    choice = ask("sandbox-echo", "one two three", stop=stop).json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one ", "stop")


def test_lorem_says_as_many_words_as_asked() -> None:
    assert len(ask("sandbox-lorem", "give me 7 words", stream=True).text.split()) == 7


def test_tool_calls_the_first_tool_with_its_required_arguments() -> None:
    answer = ChatCompletion.model_validate(ask("sandbox-tool", tools=[WEATHER, OTHER]).json, strict=True)
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "sample", "unit": "celsius"}
    assert call.id.startswith("call_sandbox_")


def test_a_streamed_tool_call_comes_in_fragments_of_its_arguments() -> None:
    chunks = ask("sandbox-tool", tools=[WEATHER], stream=True).parsed
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert len(calls) > 2
    assert calls[0].function is not None
    assert (calls[0].function.name, calls[0].type, calls[0].function.arguments) == (
        "get_weather",
        "function",
        "",
    )
    assert all(call.id is None and call.index == 0 for call in calls[1:])
    fragments = [call.function.arguments or "" for call in calls if call.function is not None]
    assert json.loads("".join(fragments)) == {"city": "sample", "unit": "celsius"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("content", ["21 degrees", [{"type": "text", "text": "21 degrees"}]])
def test_tool_speaks_about_the_result_it_got(content: object) -> None:
    result = {"role": "tool", "tool_call_id": "call_1", "content": content}
    got = ask("sandbox-tool", messages=[{"role": "user", "content": "hi"}, result], tools=[WEATHER]).json
    assert got["choices"][0]["message"]["content"] == "The tool returned: 21 degrees"
    assert got["choices"][0]["finish_reason"] == "stop"


def test_tool_choice_is_respected() -> None:
    tools = [WEATHER, OTHER]
    choice = {"type": "function", "function": {"name": "other"}}
    chosen = ask("sandbox-tool", tools=tools, tool_choice=choice).json["choices"][0]["message"]
    assert chosen["tool_calls"][0]["function"] == {"name": "other", "arguments": "{}"}
    for forbidden in ({"tools": tools, "tool_choice": "none"}, {}):
        assert ask("sandbox-tool", **forbidden).json["choices"][0]["finish_reason"] == "stop"


def test_everything_that_is_sent_counts_as_input() -> None:
    def count(**fields: object) -> int:
        return int(ask("sandbox-echo", **fields).json["usage"]["prompt_tokens"])

    assert count() == 4
    assert count(messages=[{"role": "system", "content": "x" * 400}]) == 100
    assert count(tools=[WEATHER]) > 40
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_999}}
    assert count(messages=[{"role": "user", "content": [picture]}]) == 1_601
    assert count(messages=[{"role": "user", "content": [{"type": "file", "file": {}}]}]) == 3_001
    assert count(messages=[{"role": "assistant", "tool_calls": [{"id": "x" * 400}]}]) > 100


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"messages":5}', b'{"messages":[{"role":"user","content":"\xff"}]}']
)
def test_a_body_that_is_no_request_is_refused_as_the_provider_would(body: bytes) -> None:
    got = ask("sandbox-echo", body=body)
    assert got.status == 400
    assert got.json["error"].keys() == {"message", "type", "param", "code"}
    assert got.json["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(("name", "expected"), ERRORS.items())
@pytest.mark.parametrize("stream", [False, True])
def test_failures_of_a_provider_look_as_on_the_wire(
    name: str, expected: tuple[int, str, str | None], stream: bool
) -> None:
    got = ask(f"sandbox-error-{name}", stream=stream)
    error = got.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (got.status, error["type"], error["code"]) == expected
    assert header(got.headers, b"retry-after") == (b"1" if got.status == 429 else None)


def test_an_overloaded_provider_says_so_inside_the_stream_and_ends_it() -> None:
    got = ask("sandbox-error-midstream_overloaded", stream=True)
    assert got.data[-1] == "[DONE]"
    assert got.data[-2]["error"]["code"] == "overloaded"
    assert len(got.data) == 1 + 4 + 2
    stream = ChatStream(include_usage=False)
    assert b"".join(map(stream.feed, got.chunks)) + (stream.final or b"") == got.body
    assert (stream.ended, stream.error_type) == ("error", "server_error")
    assert ask("sandbox-error-midstream_overloaded").status == 503


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("midstream_cut", FailureKind.UPSTREAM_INTERRUPTED), ("midstream_stall", FailureKind.UPSTREAM_TIMEOUT)],
)
def test_an_answer_breaks_off_in_the_middle(name: str, kind: FailureKind, stream: bool) -> None:
    got = ask(f"sandbox-error-{name}", stream=stream, idle_timeout_s=0.05)
    assert got.status == 200
    assert got.failure is not None
    assert got.failure.kind is kind
    assert b"[DONE]" not in got.body
    if stream:
        assert got.data[-1]["choices"][0]["delta"]["content"]
    else:
        assert 0 < len(got.body) < len(ask("sandbox-echo").body) + 20


def failure_of(model: str, stream: bool) -> Failure | None:
    try:
        ask(model, stream=stream, idle_timeout_s=0.001)
    except Failure as failure:
        return failure
    return None


def test_every_model_id_answers_or_fails_as_on_the_other_wires() -> None:
    names = {"unreachable": "upstream_unreachable", "timeout": "upstream_timeout"}
    failed = 0
    for model in sandbox_model_ids():
        for stream in (False, True):
            failure = failure_of(model, stream)
            if failure is not None:
                name = model.removeprefix("sandbox-error-")
                assert failure.kind == names.get(name, name)
                failed += 1
    assert failed > 50
