import asyncio
import json
import math
import time
from typing import Any

import pytest
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from pydantic import TypeAdapter

from triptych.core.call import UpstreamCall, header
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import UsageSource
from triptych.upstreams.sandbox import SandboxUpstream, sandbox_model_ids
from triptych.wires.anthropic_messages import MessagesStream, read_answer
from triptych.wires.sse import parse_block

EVENTS: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)
WEATHER = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["celsius", "kelvin"]},
            "days": {"type": "integer"},
        },
        "required": ["city", "unit"],
    },
}
UNSEEN = {FailureKind.CLIENT_DISCONNECTED, FailureKind.INTERRUPTED}
ON_THE_WIRE = {
    "upstream_overloaded": 529,
    "upstream_rate_limited": 429,
    "upstream_error": 500,
    "upstream_bad_request": 400,
    "upstream_html": 502,
    "empty_body": 500,
}
# Names that are a kind of failure, but stand for what a provider does on the wire.
SHOWN_BY_A_PROVIDER = {FailureKind.UPSTREAM_ERROR, FailureKind.INVALID_JSON}


def text_block(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


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
    def events(self) -> list[dict[str, Any]]:
        found = []
        for block in self.body.split(b"\n\n")[:-1]:
            event = parse_block(block)
            assert event is not None
            data = json.loads(event.data)
            assert data["type"] == event.type
            found.append(data)
        return found

    @property
    def text(self) -> str:
        return "".join(
            event["delta"]["text"] for event in self.events if event["type"] == "content_block_delta"
        )


def ask(model: str, text: object = "Hello sandbox world", *, stream: bool = False, path: str = "/v1/messages",
        idle_timeout_s: float = 5, pace_s: float = 0, first_byte_delay_s: float = 0, deadline_s: float = 30,
        wire: str = "anthropic-messages", body: bytes | None = None, **fields: object) -> Got:  # fmt: skip
    request = {
        "model": model,
        "max_tokens": 1000,
        "stream": stream,
        "messages": [{"role": "user", "content": text}],
    }
    sent = json.dumps({**request, **fields}).encode() if body is None else body

    async def exchange() -> Got:
        sandbox = SandboxUpstream(
            idle_timeout_s=idle_timeout_s, pace_s=pace_s, first_byte_delay_s=first_byte_delay_s
        )
        until = asyncio.get_running_loop().time() + deadline_s
        answer = await sandbox.call(UpstreamCall(wire, path, b"", (), sent, model, stream, until))
        chunks: list[bytes] = []
        failure = None
        try:
            while chunk := await answer.read():
                chunks.append(chunk)
            assert await answer.read() == b""
        except Failure as raised:
            failure = raised
        answer.close()
        answer.close()
        return Got(answer.status, answer.headers, chunks, failure)

    return asyncio.run(exchange())


def test_echo_answers_with_the_last_user_text_as_the_official_types_have_it() -> None:
    got = ask("sandbox-echo")
    message = Message.model_validate(got.json, strict=True)
    assert got.status == 200
    assert header(got.headers, b"content-type") == b"application/json"
    assert message.id.startswith("msg_sandbox_")
    assert (header(got.headers, b"request-id") or b"").startswith(b"req_sandbox_")
    assert (message.model, message.stop_reason, message.stop_sequence) == ("sandbox-echo", "end_turn", None)
    assert message.content[0].to_dict() == {"type": "text", "text": "Hello sandbox world", "citations": []}
    assert (message.usage.input_tokens, message.usage.output_tokens) == (4, 4)
    assert read_answer(got.body).source == UsageSource.PROVIDER


def test_the_same_request_gets_the_same_answer_and_another_one_other_ids() -> None:
    assert ask("sandbox-echo").body == ask("sandbox-echo").body
    assert ask("sandbox-echo").json["id"] != ask("sandbox-echo", "other").json["id"]


def test_a_stream_has_the_providers_grammar_word_by_word() -> None:
    got = ask("sandbox-echo", stream=True)
    assert header(got.headers, b"content-type") == b"text/event-stream; charset=utf-8"
    types = [event["type"] for event in got.events]
    assert types == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    for event in got.events:
        if event["type"] != "ping":
            EVENTS.validate_python(event, strict=True)
    assert got.text == "Hello sandbox world"
    assert len(got.chunks) == 5
    stream = MessagesStream()
    assert b"".join(map(stream.feed, got.chunks)) + (stream.final or b"") == got.body
    assert stream.ended == "message_stop"
    plain = read_answer(ask("sandbox-echo").body)
    assert stream.usage() == plain


@pytest.mark.parametrize(
    "text", ["", " ", "a  b\n\n c ", "é😀\u2028 data: [DONE]\n\n", "x" * 1000, " " * 200 + "y"]
)
def test_the_streamed_text_is_the_plain_text(text: str) -> None:
    assert ask("sandbox-echo", text, stream=True).text == text
    assert ask("sandbox-echo", text).json["content"][0]["text"] == text


def test_echo_finds_the_last_text_of_a_user() -> None:
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": [text_block("second"), {"type": "image"}, text_block("x")]},
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": [{"type": "tool_result", "content": "no"}]},
    ]
    assert ask("sandbox-echo", messages=messages).json["content"][0]["text"] == "second\nx"


def test_a_real_model_id_answers_like_echo_under_that_id() -> None:
    got = ask("claude-sonnet-4-6", "hi").json
    assert (got["model"], got["content"][0]["text"]) == ("claude-sonnet-4-6", "hi")


@pytest.mark.parametrize("stream", [False, True])
def test_max_tokens_cut_the_text(stream: bool) -> None:
    got = ask("sandbox-echo", "0123456789é", stream=stream, max_tokens=2)
    message = got.json if not stream else {**got.events[-2]["delta"], **got.events[-2]}
    text = got.text if stream else message["content"][0]["text"]
    assert (text, message["stop_reason"], message["usage"]["output_tokens"]) == ("01234567", "max_tokens", 2)


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_stop_sequence_in_the_text_ends_it(stream: bool) -> None:
    got = ask("sandbox-echo", "one two three", stream=stream, stop_sequences=["three", "two", ""])
    message = got.events[-2]["delta"] if stream else got.json
    text = got.text if stream else message["content"][0]["text"]
    assert (text, message["stop_reason"], message["stop_sequence"]) == ("one ", "stop_sequence", "two")


@pytest.mark.parametrize(("text", "words"), [("give me 7 words", 7), ("words please", 64), ("0", 0)])
def test_lorem_says_as_many_words_as_asked(text: str, words: int) -> None:
    assert len(ask("sandbox-lorem", text).json["content"][0]["text"].split()) == words
    assert len(ask("sandbox-lorem", text, stream=True).text.split()) == words


def test_lorem_is_bounded_by_max_tokens() -> None:
    got = ask("sandbox-lorem", "999999", max_tokens=3).json
    assert (len(got["content"][0]["text"]), got["stop_reason"]) == (12, "max_tokens")


def test_lorem_is_paced_only_when_streamed() -> None:
    started = time.perf_counter()
    ask("sandbox-lorem", "10", pace_s=60)
    assert time.perf_counter() - started < 30
    started = time.perf_counter()
    ask("sandbox-lorem", "10", pace_s=0.02, stream=True)
    assert time.perf_counter() - started > 0.2


def test_tool_calls_the_first_tool_with_its_required_arguments() -> None:
    got = ask("sandbox-tool", tools=[WEATHER, {"name": "other"}])
    message = Message.model_validate(got.json, strict=True)
    assert message.stop_reason == "tool_use"
    block = message.content[0]
    assert block.type == "tool_use"
    assert (block.name, block.input) == ("get_weather", {"city": "sample", "unit": "celsius"})
    assert block.id.startswith("toolu_sandbox_")


def test_a_streamed_tool_call_comes_in_fragments_of_its_arguments() -> None:
    events = ask("sandbox-tool", tools=[WEATHER], stream=True).events
    for event in events:
        if event["type"] != "ping":
            EVENTS.validate_python(event, strict=True)
    assert events[1]["content_block"]["input"] == {}
    fragments = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
    assert len(fragments) > 1
    assert json.loads("".join(fragments)) == {"city": "sample", "unit": "celsius"}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize("content", ["21 degrees", [{"type": "text", "text": "21 degrees"}]])
def test_tool_speaks_about_the_result_it_got(content: object) -> None:
    result = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": content}]
    got = ask("sandbox-tool", result, tools=[WEATHER]).json
    assert got["content"][0]["text"] == "The tool returned: 21 degrees"
    assert got["stop_reason"] == "end_turn"


def test_tool_choice_is_respected() -> None:
    tools = [WEATHER, {"name": "other"}]
    chosen = ask("sandbox-tool", tools=tools, tool_choice={"type": "tool", "name": "other"}).json
    assert (chosen["content"][0]["name"], chosen["content"][0]["input"]) == ("other", {})
    assert ask("sandbox-tool", tools=tools, tool_choice={"type": "none"}).json["stop_reason"] == "end_turn"
    assert ask("sandbox-tool").json["content"][0]["type"] == "text"


def test_count_tokens_counts_everything_that_is_sent() -> None:
    def count(**fields: object) -> int:
        got = ask("sandbox-echo", path="/v1/messages/count_tokens", **fields)
        return MessageTokensCount.model_validate(got.json, strict=True).input_tokens

    assert count() == 4
    assert count(system="x" * 400) == 104
    assert count(system=[{"type": "text", "text": "x" * 400}]) == 104
    assert count(tools=[WEATHER]) > 40
    picture = [{"role": "user", "content": [{"type": "image", "source": {"data": "A" * 9_999}}]}]
    assert count(messages=picture) == 1_601
    assert count() == ask("sandbox-echo").json["usage"]["input_tokens"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"messages":5}', b'{"messages":[{"role":"user","content":"\xff"}]}']
)
def test_a_body_that_is_no_request_is_refused_as_the_provider_would(body: bytes) -> None:
    got = ask("sandbox-echo", body=body)
    assert (got.status, got.json["error"]["type"]) == (400, "invalid_request_error")


def test_a_wire_that_is_not_spoken_is_unavailable() -> None:
    with pytest.raises(Failure) as caught:
        ask("sandbox-echo", wire="smoke-signals")
    assert caught.value.kind is FailureKind.SERVICE_UNAVAILABLE


@pytest.mark.parametrize(("name", "status"), ON_THE_WIRE.items())
@pytest.mark.parametrize("stream", [False, True])
def test_failures_of_a_provider_look_as_on_the_wire(name: str, status: int, stream: bool) -> None:
    got = ask(f"sandbox-error-{name}", stream=stream)
    assert got.status == status
    if name == "upstream_html":
        assert header(got.headers, b"content-type") == b"text/html; charset=utf-8"
        assert got.body.startswith(b"<html>")
    elif name == "empty_body":
        assert got.body == b""
    else:
        assert got.json["type"] == "error"
        assert got.json["error"]["type"].endswith("_error")
    assert header(got.headers, b"retry-after") == (b"1" if status == 429 else None)


def test_an_empty_answer_is_200_without_a_body() -> None:
    got = ask("sandbox-error-empty_answer")
    assert (got.status, got.body) == (200, b"")


def test_invalid_json_is_cut_in_half() -> None:
    got = ask("sandbox-error-invalid_json", stream=True)
    assert got.status == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(got.body)


def test_an_overloaded_provider_says_so_inside_the_stream() -> None:
    got = ask("sandbox-error-midstream_overloaded", stream=True)
    assert got.events[-1] == {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert [event["type"] for event in got.events].count("content_block_delta") == 4
    assert ask("sandbox-error-midstream_overloaded").status == 529


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
    if stream:
        assert got.events[-1]["type"] == "content_block_delta"
    else:
        assert 0 < len(got.body) < len(ask("sandbox-echo").body) + 20


def test_a_stall_ends_at_the_deadline_too() -> None:
    got = ask("sandbox-error-midstream_stall", stream=True, idle_timeout_s=60, deadline_s=0.05)
    assert got.failure is not None
    assert got.failure.kind is FailureKind.UPSTREAM_TIMEOUT


def test_the_first_byte_can_be_slow_but_not_later_than_the_deadline() -> None:
    started = time.perf_counter()
    assert ask("sandbox-error-slow_first_byte", first_byte_delay_s=0.05).status == 200
    assert time.perf_counter() - started >= 0.05
    with pytest.raises(Failure) as caught:
        ask("sandbox-error-slow_first_byte", first_byte_delay_s=60, deadline_s=0.02)
    assert caught.value.kind is FailureKind.UPSTREAM_TIMEOUT


@pytest.mark.parametrize(
    "kind", [kind for kind in FailureKind if kind not in UNSEEN and kind not in SHOWN_BY_A_PROVIDER]
)
def test_every_kind_of_failure_a_client_can_see_has_a_model_id(kind: FailureKind) -> None:
    assert f"sandbox-error-{kind}" in sandbox_model_ids()
    with pytest.raises(Failure) as caught:
        ask(f"sandbox-error-{kind}")
    assert caught.value.kind is kind
    waits = {"rate_limited", "concurrency_exceeded", "budget_exceeded", "credits_exhausted", "quota_exceeded"}
    assert caught.value.retry_after_s == (1 if kind in waits else None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("unreachable", FailureKind.UPSTREAM_UNREACHABLE), ("timeout", FailureKind.UPSTREAM_TIMEOUT)],
)
def test_a_provider_out_of_reach_is_a_failure_before_any_answer(name: str, kind: FailureKind) -> None:
    with pytest.raises(Failure) as caught:
        ask(f"sandbox-error-{name}")
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    "model",
    [
        "sandbox-error-nonsense",
        "sandbox-error-",
        "sandbox-nonsense",
        *(f"sandbox-error-{kind}" for kind in sorted(UNSEEN)),
    ],
)
def test_an_id_the_sandbox_does_not_have_is_not_found(model: str) -> None:
    assert model not in sandbox_model_ids()
    with pytest.raises(Failure, match=f"^Model '{model}' not found.$"):
        ask(model)


def test_model_ids_are_unique_and_every_one_of_them_answers_or_fails() -> None:
    ids = sandbox_model_ids()
    assert len(set(ids)) == len(ids)
    assert ids[:3] == ("sandbox-echo", "sandbox-lorem", "sandbox-tool")
    for model in ids:
        for stream in (False, True):
            failure = failure_of(model, stream)
            if failure is not None:
                names = {"unreachable": "upstream_unreachable", "timeout": "upstream_timeout"}
                name = model.removeprefix("sandbox-error-")
                assert failure.kind == names.get(name, name)


def failure_of(model: str, stream: bool) -> Failure | None:
    try:
        ask(model, stream=stream, idle_timeout_s=0.001)
    except Failure as failure:
        return failure
    return None


def test_a_reader_that_leaves_gets_nothing_more() -> None:
    async def leave() -> bytes:
        until = asyncio.get_running_loop().time() + 5
        body = b'{"messages":[{"role":"user","content":"a b c"}]}'
        call = UpstreamCall("anthropic-messages", "/v1/messages", b"", (), body, "sandbox-echo", True, until)
        answer = await SandboxUpstream(idle_timeout_s=math.inf).call(call)
        assert await answer.read()
        answer.close()
        return await answer.read()

    assert asyncio.run(leave()) == b""
