"""The two event streams, read event by event; a stream that breaks off raises, and never just ends."""

from typing import Any

import httpx2
import msgspec

from triptych.client.errors import ConnectionFailed, StreamFailed
from triptych.client.types import BothSides, ConversationMode, EmotionChunk, Event

MAX_EVENT_BYTES = 16 << 20
_ENDS = frozenset({"run.completed", "run.cancelled"})
_FAILURES = frozenset({"run.failed", "error"})


class EventReader:
    """Native events. The last one is ``run.completed``."""

    def __init__(self, headers: "httpx2.Headers") -> None:
        self._headers = headers
        self.ended = False

    def read(self, event: "httpx2.ServerSentEvent") -> Event | None:
        """None: nothing to tell of. Raises StreamFailed."""
        told = msgspec.json.decode(event.data)
        type_ = told.get("type") or event.event
        data = told.get("data") or {}
        if type_ in _FAILURES:
            self.ended = True
            raise StreamFailed(200, _mapping(data.get("error")), dict(self._headers))
        self.ended = self.ended or type_ in _ENDS
        return Event(type_, told.get("id") or event.id or "", told.get("created") or 0, data)


class ChunkReader:
    """Chunks of a chat with emotions; ``[DONE]`` is the end."""

    def __init__(self, headers: "httpx2.Headers") -> None:
        self._headers = headers
        self.ended = False

    def read(self, event: "httpx2.ServerSentEvent") -> EmotionChunk | None:
        """None: nothing to tell of. Raises StreamFailed."""
        if event.data.strip() == "[DONE]":
            self.ended = True
            return None
        told: dict[str, Any] = msgspec.json.decode(event.data)
        if "error" in told:
            self.ended = True
            raise StreamFailed(200, _mapping(told["error"]), dict(self._headers))
        choices = told.get("choices") or []
        delta = choices[0].get("delta") if choices else None
        emotions, mode = told.get("emotions"), told.get("conversationMode")
        return EmotionChunk(
            raw=told,
            text=(delta or {}).get("content") or "",
            emotions=None if emotions is None else msgspec.convert(emotions, BothSides),
            mode=None if mode is None else msgspec.convert(mode, ConversationMode),
            trajectory=told.get("trajectory"),
            usage=told.get("usage"),
        )


def _mapping(error: Any) -> dict[str, Any]:
    return error if isinstance(error, dict) else {}


def cut_short() -> ConnectionFailed:
    return ConnectionFailed("The stream ended before its last event.")
