"""The events of a run, from a provider's stream cut anywhere."""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.core.conversation import Answer, Reasoning, Refusal, Stop, Text, ToolCall
from triptych.core.events import AnswerEnded
from triptych.core.failure import Failure
from triptych.core.usage import Usage
from triptych.wires import native
from triptych.wires.anthropic_messages import MessagesStream

USAGE = {"model": "m", "input_tokens": 3, "output_tokens": 2, "sonnet_equivalent_tokens": 5, "cost_usd": 0.1}


def _frame(type_: str, **data: Any) -> bytes:
    return f"event: {type_}\ndata: {json.dumps({'type': type_, **data})}\n\n".encode()


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    pieces = [_frame("content_block_start", index=index, content_block=block)]
    pieces += [_frame("content_block_delta", index=index, delta=delta) for delta in deltas]
    return b"".join((*pieces, _frame("content_block_stop", index=index)))


STREAM = b"".join(
    (
        _frame("message_start", message={"id": "m", "model": "m", "usage": {"input_tokens": 3}}),
        b": comment\n\n",
        _frame("ping"),
        _block(0, {"type": "thinking"}, {"type": "thinking_delta", "thinking": "hm"}),
        _block(
            1, {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in ("né", "\n"))
        ),
        _block(
            2,
            {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            *({"type": "input_json_delta", "partial_json": text} for text in ('{"a"', ":1}")),
        ),
        _block(3, {"type": "text", "text": ""}),
        _frame("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 2}),
        _frame("message_stop"),
    )
)


class Telling:
    def __init__(self) -> None:
        numbers = itertools.count()
        self.events = native.RunEvents(
            "U", model="m", conversation_id="conv_1", created_s=7, new_id=lambda: f"{next(numbers)}"
        )
        self.usages: list[Usage] = []

    def complete(self, ended: AnswerEnded, usage: Usage) -> bytes:
        self.usages.append(usage)
        return self.events.completed(ended, USAGE, None)

    def stream(self) -> native.NativeStream:
        return native.NativeStream(MessagesStream(request_bytes=0), self.events.encode, self.complete)


def told(body: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            event = json.loads(fields["data"])
            assert (event["id"], event["type"]) == (fields["id"], fields["event"])
            found.append((fields["event"], event["data"]))
    return found


def run(chunks: list[bytes]) -> tuple[bytes, Telling]:
    telling = Telling()
    stream = telling.stream()
    body = b"".join(map(stream.feed, chunks))
    assert stream.final is not None
    return body + stream.final, telling


def test_a_stream_becomes_the_events_of_the_page() -> None:
    body, telling = run([STREAM])
    found = told(body)
    place = {"message_id": "msg_U"}
    content = [
        {"type": "text", "text": "né\n"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ]
    assert [type_ for type_, _ in found] == [
        "message.created",
        "message.delta",
        "message.delta",
        "tool_call.created",
        "tool_call.delta",
        "tool_call.delta",
        "tool_call.completed",
        "message.completed",
        "usage.updated",
        "run.completed",
    ]
    data = [one for _, one in found]
    assert data[1] == {**place, "index": 0, "delta": {"text": "né"}}
    assert data[3] == {**place, "index": 1, "object": {"id": "t", "object": "tool_call", "name": "f"}}
    assert data[4] == {**place, "index": 1, "tool_call_id": "t", "delta": {"partial_json": '{"a"'}}
    assert data[6]["object"]["input"] == {"a": 1}
    assert data[7]["object"]["content"] == content == json.loads(msgspec.json.encode(telling.events.content))
    assert data[7]["object"]["stop_reason"] == "tool_use"
    assert data[8] == {"usage": USAGE}
    assert (data[9]["object"]["status"], data[9]["object"]["usage"]) == ("completed", USAGE)
    assert [(usage.input_tokens, usage.output_tokens) for usage in telling.usages] == [(3, 2)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_it_does_not_matter_how_a_stream_is_cut(cuts: list[int]) -> None:
    places = sorted({0, *cuts, len(STREAM)})
    body, _ = run([STREAM[a:b] for a, b in itertools.pairwise(places)])
    whole, _ = run([STREAM])
    assert told(body) == told(whole)


def test_what_was_said_is_kept_of_a_stream_that_broke() -> None:
    telling = Telling()
    telling.stream().feed(STREAM[: STREAM.index(b"content_block_stop", STREAM.index(b":1}"))])
    telling.events.break_off()
    assert [block["type"] for block in telling.events.content] == ["text", "tool_use"]
    telling = Telling()
    telling.stream().feed(STREAM[: STREAM.index(b"content_block_stop", STREAM.index(b"text_delta"))])
    telling.events.break_off()
    assert telling.events.content == [{"type": "text", "text": "né\n"}]


def test_a_second_answer_forgets_the_first() -> None:
    telling = Telling()
    telling.stream().feed(STREAM[: STREAM.index(b"tool_use")])
    telling.events.begin_answer()
    stream = telling.stream()
    stream.feed(STREAM)
    assert [block["type"] for block in telling.events.content] == ["text", "tool_use"]


def test_a_provider_that_breaks_the_grammar_is_a_failure() -> None:
    with pytest.raises(Failure):
        Telling().stream().feed(_frame("content_block_stop", index=0))


def test_a_run_tells_of_its_beginning_and_of_its_failure() -> None:
    events = Telling().events
    found = told(events.created() + events.started() + events.failed({"code": "X"}))
    assert [(type_, data["object"]["status"]) for type_, data in found] == [
        ("run.created", "created"),
        ("run.started", "started"),
        ("run.failed", "failed"),
    ]
    assert found[0][1]["object"] == {
        "id": "run_U",
        "object": "run",
        "status": "created",
        "model": "m",
        "message_id": "msg_U",
        "conversation_id": "conv_1",
        "request_id": "req_U",
        "created": 7,
    }
    assert found[-1][1]["error"] == {"code": "X"}
    assert told(events.error({"code": "Y"})) == [("error", {"error": {"code": "Y"}})]


def test_a_whole_answer_leaves_out_what_was_only_thought() -> None:
    parts = (Reasoning("hm"), Text("a"), Refusal("no"), ToolCall("t", "f", '{"x": 1}'))
    body, content = native.encode_answer(
        Answer(id="p", model="m", parts=parts, stop=Stop.TOOL_CALLS),
        message_id="msg_U",
        conversation_id=None,
        meta={"request_id": "req_U"},
    )
    assert json.loads(body) == {
        "success": True,
        "data": {
            "message": {
                "id": "msg_U",
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "text", "text": "no"},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
                ],
                "stop_reason": "tool_use",
            },
            "conversation_id": None,
        },
        "meta": {"request_id": "req_U"},
    }
    assert [block["type"] for block in content] == ["text", "text", "tool_use"]
