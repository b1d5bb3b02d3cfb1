"""Chunks of the chat wire: built, read and written."""

import json
from collections.abc import Iterable
from typing import Any

from tests.devices.fold import check_grammar
from triptych.core.events import Event
from triptych.wires import sse
from triptych.wires.openai_chat import EventDecoder, EventEncoder, parse_request

NOW_S = 1_800_000_000
COUNTED = parse_request(
    b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,'
    b'"stream_options":{"include_usage":true}}'
)
DONE = sse.Event("", b"[DONE]")
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 7},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def event(value: object, type_: str = "") -> sse.Event:
    return sse.Event(type_, json.dumps(value).encode())


def chunk(delta: object = None, finish_reason: str | None = None, **fields: Any) -> sse.Event:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish_reason}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m", "usage": None}
    return event({**head, "choices": [choice], **fields})


def call(index: int | None = 0, **fields: Any) -> sse.Event:
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return chunk({"tool_calls": [{"index": index, "function": function, **fields}]})


ROLE = chunk({"role": "assistant", "content": "", "refusal": None})


def annotation(start: int, end: int) -> dict[str, object]:
    cited = {"url": "https://a.test", "title": "A", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": cited}


def decoded(*events: sse.Event) -> list[Event]:
    decoder = EventDecoder()
    found = [said for one in events for said in decoder.decode(one)]
    check_grammar(found)
    return found


def blocks(stream: bytes) -> list[sse.Event]:
    *found, rest = stream.split(b"\n\n")
    assert rest == b"", "the last event has no end"
    events = list(map(sse.parse_block, found))
    assert None not in events
    return [one for one in events if one is not None]


def written(events: Iterable[Event], asked: Any = COUNTED) -> bytes:
    encoder = EventEncoder(asked, now_s=NOW_S)
    return b"".join(map(encoder.encode, events))


def chunks(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(one.data) for one in blocks(stream) if one.data != b"[DONE]"]
