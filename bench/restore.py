"""CPU of a streamed event with restore: ``python -m bench.restore``. No sockets: the wire's own reading of
the stream, and what putting values back adds to it, on one core.

Three streams of 64 deltas each: without a placeholder (the usual event), with one in every eighth delta,
and with every delta cut inside one (the worst: each is held back, put together, and written anew).
"""

import json
import time
from collections.abc import Callable
from typing import Any

from triptych.engines.phi.answers import RestoringStream
from triptych.engines.phi.restore import Restorer
from triptych.engines.phi.streams import StreamRestorer
from triptych.wires.anthropic_messages.stream import MessagesStream
from triptych.wires.guarded import GUARDED
from triptych.wires.openai_chat.stream import ChatStream
from triptych.wires.openai_responses.stream import ResponsesStream

DELTAS = 64
ROUNDS = 60
VALUES = {f"[PERSON_{number}]": f"Ana Lima {number}" for number in range(1, 9)}
METERS: dict[str, Callable[[], Any]] = {
    "anthropic-messages": MessagesStream,
    "openai-chat": lambda: ChatStream(include_usage=True),
    "openai-responses": ResponsesStream,
}


def pieces(kind: str) -> list[str]:
    if kind == "plain":
        return ["a few more words "] * DELTAS
    if kind == "eighth":
        return ["[PERSON_1] said " if place % 8 == 0 else "a few more words " for place in range(DELTAS)]
    return ["PERSON_1] and then ["] * DELTAS


def event(wire: str, text: str, number: int) -> bytes:
    if wire == "anthropic-messages":
        told: dict[str, Any] = {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        }
    elif wire == "openai-chat":
        choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
        told = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [choice],
        }
        return b"data: %b\n\n" % json.dumps(told, separators=(",", ":")).encode()
    else:
        told = {
            "type": "response.output_text.delta",
            "sequence_number": number,
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": text,
            "logprobs": [],
        }
    return b"event: %b\ndata: %b\n\n" % (
        told["type"].encode(),
        json.dumps(told, separators=(",", ":")).encode(),
    )


def event_us(wire: str, kind: str, *, restoring: bool) -> float:
    """The least of several rounds: what the work costs when nobody disturbs it."""
    events = [event(wire, text, number) for number, text in enumerate(pieces(kind))]
    restorer = Restorer(VALUES)
    best = float("inf")
    for _ in range(ROUNDS):
        stream: Any = METERS[wire]()
        stream.feed(event(wire, "", 0))
        if restoring:
            stream = RestoringStream(stream, StreamRestorer(GUARDED[wire], restorer, {}))
        feed = stream.feed
        before_s = time.process_time()
        for one in events:
            feed(one)
        best = min(best, (time.process_time() - before_s) / len(events))
    return best * 1e6


def main() -> None:
    print(f"{'wire':20} {'stream':8} {'relayed':>9} {'restored':>9}  us of CPU an event")
    for wire in METERS:
        for kind in ("plain", "eighth", "cut"):
            plain, restored = (event_us(wire, kind, restoring=restoring) for restoring in (False, True))
            print(f"{wire:20} {kind:8} {plain:9.1f} {restored:9.1f}")


if __name__ == "__main__":
    main()
