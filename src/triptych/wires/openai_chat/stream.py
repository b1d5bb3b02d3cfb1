"""A provider's streamed answer on this wire: its regular form, its end, its usage.

The last chunk before the end, with no choices and the usage of them all, is sent because we asked
for it (``stream_options.include_usage``): a client that did not ask does not get it.
"""

import re

import msgspec

from triptych.core.usage import NO_USAGE, Usage
from triptych.wires.estimate import UNREADABLE
from triptych.wires.openai_chat.usage import Counts, read_counts, usage_of
from triptych.wires.relay_stream import MAX_EVENT_BYTES, RelayStream, Verdict
from triptych.wires.sse import Event

_DONE = b"[DONE]"
# With the white space of OpenAI, and with that of servers written in Python.
_NO_USAGE = (b'"usage":null', b'"usage": null')
_BACKSLASH = ord("\\")
# What a model wrote, as the JSON strings of a delta hold it: the usual spellings, then any.
_USUAL_TEXTS = (b'"content":"', b'"arguments":"', b'"content": "', b'"arguments": "')
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_TEXT = re.compile(
    rb'"(?:content|refusal|arguments|reasoning_content|reasoning)"[ \t]?:[ \t]?"((?:[^"\\]++|\\.)*+)"',
    re.DOTALL,
)


class _Chunk(msgspec.Struct):
    choices: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: object = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT = ord("{")


class ChatStream(RelayStream):
    """The terminal event is ``data: [DONE]`` (``ended`` is ``done``), or the provider's own error:
    an event named ``error``, or an object with an ``error`` at top level."""

    __slots__ = ("_chunks", "_counts", "_include_usage", "_request_bytes", "_text_bytes")

    def __init__(
        self, *, include_usage: bool, request_bytes: int = 0, max_event_bytes: int = MAX_EVENT_BYTES
    ) -> None:
        """``include_usage``: the client asked for the usage chunk. ``request_bytes`` is the length
        of the request's body, for an estimate of the input when the provider does not count."""
        super().__init__(max_event_bytes)
        self._include_usage = include_usage
        self._request_bytes = request_bytes
        self._counts: Counts | None = None
        self._chunks = 0
        self._text_bytes = 0

    def _take_delta(self, block: bytes) -> bool:
        """One chunk of a delta without usage, as OpenAI writes it: one line and a blank one. Inside
        a JSON string every quote has a backslash before it: what is found here is no text."""
        if not (
            block.startswith(b"data: {")
            and block.endswith(b"}\n\n")
            and block.find(b"\n") == len(block) - 2
            and block.find(b"\r") < 0
            and block.find(b'"delta"') > 0
            and block.find(b'"error"') < 0
        ):
            return False
        usage = block.rfind(b'"usage"')
        if usage > 0 and not (block.startswith(_NO_USAGE, usage) and block.find(b'"usage"', 0, usage) < 0):
            return False
        self.started = True
        self._chunks += 1
        self._text_bytes += _text_bytes(block)
        return True

    def take_event(self, event: Event) -> Verdict:
        data = event.data
        named_error = event.type == "error"
        if not named_error and data.lstrip().startswith(_DONE):
            self.ended = "done"
            return Verdict.FINAL
        try:
            chunk = _CHUNK.decode(data)
        except UNREADABLE:
            chunk = _Chunk()
        if named_error or chunk.error:
            self.ended = "error"
            self.error_type = _word(chunk.error)
            return Verdict.FINAL
        self._text_bytes += _text_bytes(data)
        choices = _items(chunk.choices)
        if choices:
            self._chunks += 1
        if chunk.usage is msgspec.UNSET or memoryview(chunk.usage)[0] != _OBJECT:
            return Verdict.RELAYED
        # Cumulative where it comes more than once: the last one replaces.
        self._counts = read_counts(chunk.usage) or Counts()
        return Verdict.DROPPED if choices == [] and not self._include_usage else Verdict.RELAYED

    def usage(self) -> Usage:
        """What the provider worked on so far, as far as it can be known.

        The provider's counts when the stream ended with ``[DONE]`` and they are believable; else
        an estimate from the last counts and the length of the text; NO_USAGE when there was
        nothing to count.
        """
        if self._counts is None and not self._chunks:
            return NO_USAGE
        return usage_of(
            self._counts or Counts(),
            request_bytes=self._request_bytes,
            text_bytes=self._text_bytes,
            whole=self.ended == "done",
        )


def _text_bytes(data: bytes) -> int:
    """Bytes of what the model wrote in a chunk, escapes as they stand."""
    for name in _USUAL_TEXTS:
        start = data.find(name)
        if start >= 0:
            start += len(name)
            end = data.find(b'"', start)
            if end > start and data[end - 1] == _BACKSLASH:
                string = _STRING.match(data, start)
                end = string.end() if string else start
            if end > start:
                return end - start
    return sum(map(len, _TEXT.findall(data)))


def _items(raw: msgspec.Raw | msgspec.UnsetType) -> list[msgspec.Raw] | None:
    if raw is msgspec.UNSET:
        return None
    try:
        return _ITEMS.decode(raw)
    except UNREADABLE:
        return None


def _word(error: object) -> str | None:
    """The provider's word for its error: the type, else the code."""
    if isinstance(error, dict):
        for name in ("type", "code"):
            if isinstance(word := error.get(name), str) and word:
                return word
    return None
