import asyncio
import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from triptych.core.call import UpstreamCall, header
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import UsageSource
from triptych.upstreams.sandbox import SandboxUpstream, sandbox_model_ids
from triptych.wires.openai_responses import ResponsesStream, read_answer
from triptych.wires.sse import parse_block

EVENTS: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["celsius", "kelvin"]},
            "days": {"type": "integer"},
        },
        "required": ["city", "unit"],
    },
}
OTHER = {"type": "function", "name": "other", "parameters": None, "strict": None}
ON_THE_WIRE = {
    "upstream_overloaded": 503,
    "upstream_rate_limited": 429,
    "upstream_error": 500,
    "upstream_bad_request": 400,
    "upstream_html": 502,
    "empty_body": 500,
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
    def events(self) -> list[dict[str, Any]]:
        """Every event, each as the official types have it, numbered without a gap."""
        found = []
        for number, block in enumerate(self.body.split(b"\n\n")[:-1]):
            event = parse_block(block)
            assert event is not None
            data = json.loads(event.data)
            EVENTS.validate_json(event.data, strict=True)
            assert (data["type"], data["sequence_number"]) == (event.type, number)
            found.append(data)
        return found

    def texts(self, kind: str = "response.output_text.delta") -> list[str]:
        return [event["delta"] for event in self.events if event["type"] == kind]


def ask(
    model: str,
    asked: object = "Hello sandbox world",
    *,
    stream: bool = False,
    path: str = "/v1/responses",
    idle_timeout_s: float = 5,
    body: bytes | None = None,
    **fields: object,
) -> Got:
    request = {"model": model, "stream": stream, "input": asked}
    sent = json.dumps({**request, **fields}).encode() if body is None else body

    async def exchange() -> Got:
        sandbox = SandboxUpstream(idle_timeout_s=idle_timeout_s, pace_s=0, first_byte_delay_s=0)
        until = asyncio.get_running_loop().time() + 30
        answer = await sandbox.call(
            UpstreamCall("openai-responses", path, b"", (), sent, model, stream, until)
        )
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
    response = Response.model_validate_json(got.body, strict=True)
    assert (got.status, header(got.headers, b"content-type")) == (200, b"application/json")
    assert (header(got.headers, b"request-id") or b"").startswith(b"req_sandbox_")
    assert response.id.startswith("resp_sandbox_")
    assert (response.object, response.model, response.status) == ("response", "sandbox-echo", "completed")
    assert response.output_text == got.json["output_text"] == "Hello sandbox world"
    assert response.output[0].type == "message"
    usage = response.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (4, 4, 8)
    assert read_answer(got.body).source == UsageSource.PROVIDER


def test_the_same_request_gets_the_same_answer_and_another_one_other_ids() -> None:
    assert ask("sandbox-echo").body == ask("sandbox-echo").body
    assert ask("sandbox-echo").json["id"] != ask("sandbox-echo", "other").json["id"]


def test_the_answer_repeats_what_it_was_asked_for() -> None:
    asked = {
        "instructions": "be brief",
        "max_output_tokens": 50,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "store": False,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "tool_choice": "required",
        "tools": [WEATHER],
        "user": None,
    }
    got = ask("sandbox-echo", **asked)
    Response.model_validate_json(got.body, strict=True)
    repeated = {name: got.json[name] for name in asked}
    assert repeated == {**asked, "tools": [{**WEATHER, "description": None}]}


def test_a_stream_has_the_providers_grammar_word_by_word() -> None:
    got = ask("sandbox-echo", stream=True)
    assert header(got.headers, b"content-type") == b"text/event-stream; charset=utf-8"
    events = got.events
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert got.texts() == ["Hello", " sandbox", " world"]
    assert len(got.chunks) == 5
    first, last = events[0]["response"], events[-1]["response"]
    assert (first["status"], first["output"], first["usage"]) == ("in_progress", [], None)
    assert events[2]["item"] == {**last["output"][0], "status": "in_progress", "content": []}
    assert events[-2]["item"] == last["output"][0]
    assert events[-3]["part"] == last["output"][0]["content"][0]
    assert events[-4]["text"] == last["output_text"] == "Hello sandbox world"
    assert {event["item_id"] for event in events if "item_id" in event} == {last["output"][0]["id"]}


def test_the_streamed_response_is_the_plain_one() -> None:
    body = json.dumps({"model": "sandbox-echo", "input": "Hello"}).encode()
    streamed = ask("sandbox-echo", stream=True, body=body)
    assert streamed.events[-1]["response"] == ask("sandbox-echo", body=body).json


def test_our_own_reading_of_the_stream_agrees() -> None:
    for fields in ({"max_output_tokens": 2}, {}):
        got = ask("sandbox-echo", stream=True, **fields)
        stream = ResponsesStream()
        assert b"".join(map(stream.feed, got.chunks)) + (stream.final or b"") == got.body
        assert stream.ended == ("incomplete" if fields else "completed")
        assert stream.usage() == read_answer(ask("sandbox-echo", **fields).body)


@pytest.mark.parametrize(
    "text", ["", " ", "a  b\n\n c ", "é😀\u2028 data: [DONE]\n\n", "x" * 1000, " " * 200 + "y"]
)
def test_the_streamed_text_is_the_plain_text(text: str) -> None:
    assert "".join(ask("sandbox-echo", text, stream=True).texts()) == text
    assert ask("sandbox-echo", text).json["output_text"] == text


def test_echo_finds_the_last_text_of_a_user() -> None:
    items = [
        {"role": "user", "content": "first"},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "second"}, {"type": "input_image"}],
        },
        {"role": "assistant", "content": "no"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "no"},
    ]
    assert ask("sandbox-echo", items).json["output_text"] == "second"


def test_a_real_model_id_answers_like_echo_under_that_id() -> None:
    got = ask("gpt-5", "hi").json
    assert (got["model"], got["output_text"]) == ("gpt-5", "hi")


@pytest.mark.parametrize("stream", [False, True])
def test_max_output_tokens_cut_the_text(stream: bool) -> None:
    got = ask("sandbox-echo", "0123456789é", stream=stream, max_output_tokens=2)
    if stream:
        assert got.events[-1]["type"] == "response.incomplete"
    response = got.events[-1]["response"] if stream else got.json
    assert (response["output_text"], response["status"]) == ("01234567", "incomplete")
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
    assert response["usage"]["output_tokens"] == 2


@pytest.mark.parametrize(("text", "words"), [("give me 7 words", 7), ("words please", 64), ("0", 0)])
def test_lorem_says_as_many_words_as_asked(text: str, words: int) -> None:
    assert len(ask("sandbox-lorem", text).json["output_text"].split()) == words
    assert len(ask("sandbox-lorem", text, stream=True).texts()) == words


def test_tool_calls_the_first_function_with_its_required_arguments() -> None:
    got = ask("sandbox-tool", tools=[WEATHER, OTHER])
    response = Response.model_validate_json(got.body, strict=True)
    assert (response.status, response.output_text) == ("completed", "")
    call = response.output[0]
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "sample", "unit": "celsius"})
    assert call.call_id.startswith("call_sandbox_")
    assert (call.id or "").startswith("fc_sandbox_")


def test_a_streamed_tool_call_comes_in_fragments_of_its_arguments() -> None:
    got = ask("sandbox-tool", tools=[WEATHER], stream=True)
    events = got.events
    fragments = got.texts("response.function_call_arguments.delta")
    assert len(fragments) > 1
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        *["response.function_call_arguments.delta"] * len(fragments),
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[2]["item"]["arguments"] == ""
    assert "".join(fragments) == events[-3]["arguments"] == events[-2]["item"]["arguments"]
    assert json.loads("".join(fragments)) == {"city": "sample", "unit": "celsius"}
    assert events[-1]["response"]["output"] == [events[-2]["item"]]


@pytest.mark.parametrize("output", ["21 degrees", [{"type": "input_text", "text": "21 degrees"}]])
def test_tool_speaks_about_the_result_it_got(output: object) -> None:
    items = [{"type": "function_call_output", "call_id": "c", "output": output}]
    got = ask("sandbox-tool", items, tools=[WEATHER]).json
    assert got["output_text"] == "The tool returned: 21 degrees"


def test_tool_choice_is_respected() -> None:
    def called(choice: object) -> object:
        got = ask("sandbox-tool", tools=[WEATHER, OTHER], tool_choice=choice)
        Response.model_validate_json(got.body, strict=True)
        return got.json["output"][0].get("name")

    assert called("auto") == called("required") == "get_weather"
    assert called({"type": "function", "name": "other"}) == "other"
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "other"}]}
    assert called(allowed) == "other"
    assert called("none") is None
    assert ask("sandbox-tool").json["output"][0]["type"] == "message"


def test_tokens_are_counted_of_everything_that_is_sent() -> None:
    def count(text: object = "Hello sandbox world", **fields: object) -> int:
        tokens = ask("sandbox-echo", text, path="/v1/responses/input_tokens", **fields).json["input_tokens"]
        assert tokens == ask("sandbox-echo", text, **fields).json["usage"]["input_tokens"]
        return int(tokens)

    assert count() == count([{"role": "user", "content": "Hello sandbox world"}]) == 4
    assert count(instructions="x" * 400) == 104
    assert count(tools=[WEATHER]) > 40
    assert count([{"role": "user", "content": [{"type": "input_text", "text": "x" * 400}]}]) == 100
    assert count([{"type": "function_call_output", "call_id": "c", "output": "x" * 400}]) == 100
    picture = {"type": "input_image", "image_url": "A" * 9_999}
    assert count([{"role": "user", "content": [picture]}]) == 1_601


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"input":5}', b'{"input":"\xff"}'])
def test_a_body_that_is_no_request_is_refused_as_the_provider_would(body: bytes) -> None:
    got = ask("sandbox-echo", body=body)
    assert (got.status, got.json["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(("name", "status"), ON_THE_WIRE.items())
@pytest.mark.parametrize("stream", [False, True])
def test_failures_of_a_provider_look_as_on_the_wire(name: str, status: int, stream: bool) -> None:
    got = ask(f"sandbox-error-{name}", stream=stream)
    assert got.status == status
    if name == "upstream_html":
        assert got.body.startswith(b"<html>")
    elif name == "empty_body":
        assert got.body == b""
    else:
        assert set(got.json) == {"error"}
        assert set(got.json["error"]) == {"message", "type", "param", "code"}
    assert header(got.headers, b"retry-after") == (b"1" if status == 429 else None)


def test_an_empty_answer_and_half_a_json_are_200() -> None:
    got = ask("sandbox-error-empty_answer")
    assert (got.status, got.body) == (200, b"")
    got = ask("sandbox-error-invalid_json", stream=True)
    assert got.status == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(got.body)


def test_an_overloaded_provider_says_so_inside_the_stream() -> None:
    got = ask("sandbox-error-midstream_overloaded", stream=True)
    assert len(got.texts()) == 4
    assert got.events[-1] == {
        "type": "error",
        "sequence_number": 8,
        "code": "server_is_overloaded",
        "message": "Our servers are currently overloaded. Please try again later.",
        "param": None,
    }
    stream = ResponsesStream()
    for chunk in got.chunks:
        stream.feed(chunk)
    assert (stream.ended, stream.error_type) == ("error", "server_is_overloaded")
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
    if stream:
        assert got.events[-1]["type"] == "response.output_text.delta"
    else:
        assert 0 < len(got.body) < len(ask("sandbox-echo").body)


def test_what_we_end_ourselves_is_as_the_official_types_have_it() -> None:
    got = ask("sandbox-error-midstream_cut", stream=True)
    stream = ResponsesStream()
    for chunk in got.chunks:
        stream.feed(chunk)
    error, failed, _ = stream.failed_frames("upstream stream interrupted", "stream_error").split(b"\n\n")
    assert error.startswith(b"event: error\ndata: ")
    event = parse_block(failed)
    assert event is not None
    ended = EVENTS.validate_json(event.data, strict=True)
    assert ended.type == "response.failed"
    assert ended.sequence_number == len(got.events)
    assert (ended.response.id, ended.response.status) == (got.events[0]["response"]["id"], "failed")
    assert ended.response.error is not None
    assert ended.response.error.message == "upstream stream interrupted"
    untold = parse_block(ResponsesStream().failed_frames("m", "c").split(b"\n\n")[1])
    assert untold is not None
    EVENTS.validate_json(untold.data, strict=True)


def kind_of_failure(model: str, stream: bool) -> str | None:
    try:
        got = ask(model, stream=stream, idle_timeout_s=0.001)
    except Failure as failure:
        return failure.kind
    assert got.status in {200, *ON_THE_WIRE.values()}
    return None


def test_every_model_id_answers_or_fails_as_on_the_other_wires() -> None:
    names = {"unreachable": "upstream_unreachable", "timeout": "upstream_timeout"}
    for model in sandbox_model_ids():
        name = model.removeprefix("sandbox-error-")
        for stream in (False, True):
            assert kind_of_failure(model, stream) in {None, names.get(name, name)}
