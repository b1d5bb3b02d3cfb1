"""Events of the Responses wire: built, read, written and checked."""

import json
from typing import Any

from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.unit.wires.responses_bodies import parsed
from triptych.core.events import Event, PartKind
from triptych.wires import sse
from triptych.wires.openai_responses import EventDecoder, EventEncoder

VENDOR: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
NOW_S = 1_800_000_000


def event(type_: str, **fields: object) -> sse.Event:
    name = type_ if type_ in ("error", "keepalive") else f"response.{type_}"
    return sse.Event(name, json.dumps({"type": name, "sequence_number": 1, **fields}).encode())


TEXT, REASONING, CALL = PartKind.TEXT, PartKind.REASONING, PartKind.TOOL_CALL


def text(delta: str, **fields: object) -> sse.Event:
    return event(
        "output_text.delta", **{"item_id": "i", "output_index": 0, "content_index": 0, **fields}, delta=delta
    )


def heard(*given: sse.Event) -> list[Event]:
    decoder = EventDecoder()
    return [translated for one in given for translated in decoder.decode(one)]


def blocks(stream: bytes) -> list[sse.Event]:
    found = [sse.parse_block(block + b"\n\n") for block in stream.split(b"\n\n")]
    return [one for one in found if one is not None]


def written(events: list[Event]) -> bytes:
    encoder = EventEncoder(parsed(), now_s=NOW_S)
    return b"".join(map(encoder.encode, events))


def told(stream: bytes) -> list[dict[str, Any]]:
    """The events' data, each checked against the vendor's types; the error object is none of them."""
    data = [json.loads(one.data) for one in blocks(stream)]
    for one, block in zip(data, blocks(stream), strict=True):
        if block.type != "error":
            assert one["type"] == block.type
            VENDOR.validate_python(one, strict=True)
    return data
