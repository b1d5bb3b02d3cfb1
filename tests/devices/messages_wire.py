"""The Anthropic Messages wire as the faulty upstream speaks it: deterministic bytes that tests can
compare with what came through the gateway. Source: https://docs.anthropic.com/en/api/messages-streaming"""

import json
from collections.abc import Mapping

USAGE: Mapping[str, object] = {"input_tokens": 12, "output_tokens": 7}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def message(
    model: str = "m", usage: Mapping[str, object] | None = USAGE, text: str = "Hello there."
) -> bytes:
    """A plain answer; ``usage=None`` leaves the field out."""
    body: dict[str, object] = {
        "id": "msg_fault",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }
    if usage is not None:
        body["usage"] = dict(usage)
    return compact(body)


def error(kind: str, sentence: str) -> bytes:
    """An error body in the wire's envelope."""
    return compact({"type": "error", "error": {"type": kind, "message": sentence}})


def event(name: str, data: Mapping[str, object]) -> bytes:
    """One server-sent event as the provider writes it."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), compact({"type": name, **data}))


def stream_events(
    deltas: int = 4, model: str = "m", usage: Mapping[str, object] | None = USAGE, stop: bool = True
) -> list[bytes]:
    """The events of a whole stream: start, block, ping, ``deltas`` text deltas, usage, stop."""
    usage_now = {} if usage is None else {"usage": dict(usage)}
    start: dict[str, object] = {
        "id": "msg_fault",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        **({} if usage is None else {"usage": {**usage, "output_tokens": 1}}),
    }
    events = [
        event("message_start", {"message": start}),
        event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        event("ping", {}),
    ]
    events += [delta(f"word{number} ") for number in range(deltas)]
    events += [
        event("content_block_stop", {"index": 0}),
        event("message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, **usage_now}),
    ]
    if stop:
        events.append(event("message_stop", {}))
    return events


def delta(text: str) -> bytes:
    return event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})


def stream(deltas: int = 4, model: str = "m") -> bytes:
    """A whole stream in one piece."""
    return b"".join(stream_events(deltas, model))
