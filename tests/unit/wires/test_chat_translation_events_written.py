"""Streams of the chat wire as they are written, chunk by chunk."""

import json
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from tests.devices.fold import unfold
from tests.unit.wires.chat_chunks import DONE, NOW_S, blocks, chunks, written
from triptych.core.conversation import Answer, Citation, Opaque, Reasoning, Stop, Text, ToolCall
from triptych.core.events import (
    AnswerEnded,
    AnswerFailed,
    AnswerStarted,
    Delta,
    PartKind,
    PartStarted,
    Pinged,
)
from triptych.core.usage import Usage, UsageSource
from triptych.wires.openai_chat import decode_request, parse_request

PLAIN = parse_request(b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}')
ANSWER = Answer(
    id="msg_1",
    model="claude",
    parts=(Text("Hi"), ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", "")),
    stop=Stop.TOOL_CALLS,
    usage=Usage(13, 9, 7, 0, 2, UsageSource.PROVIDER),
    service_tier="default",
)


def test_the_chunks_are_those_of_the_vendor() -> None:
    stream = written(unfold(ANSWER))
    assert stream.endswith(b"\n\ndata: [DONE]\n\n") and stream.count(b"[DONE]") == 1
    found = chunks(stream)
    assert {(one["id"], one["created"], one["model"], one["object"]) for one in found} == {
        ("chatcmpl-msg_1", NOW_S, "claude", "chat.completion.chunk")
    }
    assert [one["choices"][0]["delta"] for one in found[:-1]] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hi"},
        {
            "tool_calls": [
                {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [one["choices"][0]["finish_reason"] for one in found[:-1]] == [None] * 6 + ["tool_calls"]
    assert [one["usage"] for one in found[:-1]] == [None] * 7
    assert found[-1]["choices"] == [] and found[-1]["service_tier"] == "default"
    assert found[-1]["usage"]["prompt_tokens"] == 20 and found[-1]["usage"]["total_tokens"] == 29
    for one in found:
        ChatCompletionChunk.model_validate(one, strict=True)


def test_the_usage_goes_to_a_caller_that_asked_for_it() -> None:
    found = chunks(written(unfold(ANSWER), PLAIN))
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert not any("usage" in one for one in found)
    uncounted = chunks(written([AnswerStarted("a", "m"), AnswerEnded(Stop.END)]))
    assert uncounted[-1]["choices"][0]["finish_reason"] == "stop"


def test_the_vendors_own_client_reads_the_tier_that_the_provider_tells_at_the_start() -> None:
    begun = [AnswerStarted("a", "m", service_tier="priority"), *unfold(ANSWER)[1:]]
    for stream in (written(begun), written(begun, PLAIN)):
        state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
        for one in chunks(stream):
            state.handle_chunk(ChatCompletionChunk.model_validate(one))
        assert state.get_final_completion().service_tier == "priority"


def test_the_vendors_own_client_puts_the_stream_together() -> None:
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for one in chunks(written(unfold(ANSWER, delta_chars=3))):
        state.handle_chunk(ChatCompletionChunk.model_validate(one))
    whole = state.get_final_completion()
    message = whole.choices[0].message
    assert message.content == "Hi"
    assert [(one.id, one.function.name, one.function.arguments) for one in message.tool_calls or ()] == [
        ("c1", "f", '{"a":1}'),
        ("c2", "g", "{}"),
    ]
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.usage is not None and whole.usage.total_tokens == 29


def test_the_vendors_own_client_puts_several_thoughts_and_cited_texts_together() -> None:
    cited = [Text(f"Text {at}.", (Citation(f"https://{at}.test"),)) for at in range(2)]
    thoughts = [
        Reasoning("one", Opaque("anthropic", "s1")),
        Reasoning("", Opaque("anthropic", "hidden", redacted=True)),
        Reasoning("two", Opaque("anthropic", "s2")),
    ]
    parts = (thoughts[0], thoughts[1], cited[0], ToolCall("c1", "f", "{}"), thoughts[2], cited[1])
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for one in chunks(written(unfold(Answer(id="a", model="m", parts=parts)))):
        state.handle_chunk(ChatCompletionChunk.model_validate(one))
    message = state.get_final_completion().choices[0].message.to_dict()
    assert message["thinking_blocks"] == [
        {"index": 0, "type": "thinking", "thinking": "one", "signature": "s1"},
        {"index": 1, "type": "redacted_thinking", "data": "hidden"},
        {"index": 2, "type": "thinking", "thinking": "two", "signature": "s2"},
    ]
    annotations: Any = message["annotations"]
    assert [one["url_citation"]["url"] for one in annotations] == ["https://0.test", "https://1.test"]
    # And it can be sent back as the client has it.
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}, message]}
    said = decode_request(json.dumps(asked).encode()).messages[-1].parts
    assert [part for part in said if isinstance(part, Reasoning)] == thoughts


def test_texts_that_follow_each_other_are_one_and_their_citations_keep_their_place() -> None:
    cited = Text("Two.", (Citation("https://a.test", start=0, end=3), Citation("https://b.test")))
    found = chunks(written(unfold(Answer(id="a", model="m", parts=(Text("One. "), cited)))))
    deltas = [one["choices"][0]["delta"] for one in found[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == "One. Two."
    (annotations,) = [delta["annotations"] for delta in deltas if "annotations" in delta]
    assert [one["url_citation"] for one in annotations] == [
        {"url": "https://a.test", "title": "", "start_index": 5, "end_index": 8},
        {"url": "https://b.test", "title": "", "start_index": 5, "end_index": 9},
    ]


def test_a_ping_is_a_comment() -> None:
    assert written([Pinged()]) == b": ping\n\n"


@pytest.mark.parametrize(
    ("failed", "type_", "code"),
    [
        (AnswerFailed("overloaded_error", "Busy"), "server_error", "overloaded"),
        (AnswerFailed("rate_limit_error", "Busy"), "rate_limit_error", "rate_limit_exceeded"),
        (AnswerFailed("api_error", "Busy", "E1"), "server_error", "E1"),
        (AnswerFailed("server_error", "Busy"), "server_error", "stream_error"),
    ],
)
def test_a_failure_is_an_error_in_the_callers_words_and_the_end(
    failed: AnswerFailed, type_: str, code: str
) -> None:
    begun = [AnswerStarted("a", "m"), PartStarted(0, PartKind.TEXT), Delta(0, PartKind.TEXT, "x")]
    for before in ([], begun[:1], begun):
        error, done = blocks(written([*before, failed]))[-2:]
        assert error.type == "error" and done == DONE
        assert json.loads(error.data) == {"error": {"message": "Busy", "type": type_, "code": code}}
