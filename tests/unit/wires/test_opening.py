"""What comes before the model's first words, on each wire."""

import json

import pytest

from tests.devices.openings import WIRES, Wire, chat_event
from triptych.wires.opening import bears_content, begins_readable


def named(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
def test_an_opening_bears_nothing_and_what_follows_does(wire: Wire) -> None:
    assert not bears_content(b"".join(wire.opening))
    assert not bears_content(b"\xef\xbb\xbf" + b"".join(wire.opening).replace(b"\n", b"\r\n"))
    assert bears_content(b"".join([*wire.opening, wire.content[0]]))
    for event in wire.content:
        assert bears_content(event), event


@pytest.mark.parametrize(
    "events",
    [
        b"",
        b": keep-alive\n\n",
        b": ping\r\r",
        b"event: ping\n\n",
        b'data: {"type":"message_start","message":{}}\n\n',
        named("content_block_start", content_block={"type": "thinking", "thinking": "", "signature": ""}),
        named("content_block_start", content_block={"type": "text", "text": "", "citations": []}),
        named("response.queued", response={}),
        chat_event('{"role":"assistant"}'),
        chat_event('{"content":null,"tool_calls":[],"refusal":null}'),
        b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n',
    ],
)
def test_these_open(events: bytes) -> None:
    assert not bears_content(events)


@pytest.mark.parametrize(
    "events",
    [
        named("content_block_start", content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}),
        named("content_block_start", content_block={"type": "text", "text": "Hi"}),
        named("content_block_start", content_block={"type": "redacted_thinking", "data": "x"}),
        named("content_block_start"),
        named("message_delta", delta={}),
        named("message_stop"),
        named("response.function_call_arguments.delta", delta="{"),
        named("response.completed", response={}),
        named("response.failed", response={}),
        named("something_new"),
        chat_event('{"content":"x"}'),
        chat_event('{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}'),
        chat_event('{"refusal":"No."}'),
        chat_event('{"reasoning_content":"Hm"}'),
        chat_event("{}", '"stop"'),
        b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"error":{"message":"x"}}\n\n',
        b"data: [DONE]\n\n",
        b"data: not json\n\n",
        b"data: [1]\n\n",
        b'data: {"choices":{}}\n\n',
        b'data: {"choices":[7]}\n\n',
        b'data: {"choices":[{"delta":7}]}\n\n',
        b"data: \xff\n\n",
        b"data: " + b"[" * 5000 + b"\n\n",
        b": comment\n\nhalf a line",
    ],
)
def test_these_do_not(events: bytes) -> None:
    assert bears_content(events)


@pytest.mark.parametrize("data", [b"not json", b"[1]", b"\xff", b"[" * 5000, b'{"{"'])
def test_what_is_no_event_is_told_from_content(data: bytes) -> None:
    broken = b"data: " + data + b"\n\n"
    opening, content = b"".join(WIRES[0].opening), WIRES[0].content[0]
    assert not begins_readable(broken) and not begins_readable(opening + broken + content)
    assert begins_readable(opening + content + broken), "then the client has words to keep"


@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
def test_a_stream_as_it_should_be_is_readable(wire: Wire) -> None:
    for events in (b"", b": ping\n\n", b"data: [DONE]\n\n", *wire.opening, *wire.content, wire.error):
        assert begins_readable(events), events
