"""What a stream's events say about tokens; knows data, not framing."""

import msgspec

from triptych.core.usage import NO_USAGE, Usage, UsageSource
from triptych.wires.anthropic_messages.usage import read_counts, thinking_tokens
from triptych.wires.estimate import CHARS_PER_TOKEN, UNREADABLE, believable, plausible

# What of a delta's data is not text, about: the shortest form a text delta has.
_DELTA_GRAMMAR_BYTES = len(
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}'
)


class _WithUsage(msgspec.Struct):
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _MessageStart(msgspec.Struct):
    message: _WithUsage


_MESSAGE_START = msgspec.json.Decoder(_MessageStart)
_MESSAGE_DELTA = msgspec.json.Decoder(_WithUsage)


class StreamMeter:
    """Takes over what is believable; counts are cumulative, so a later one replaces."""

    __slots__ = (
        "_cache_read",
        "_cache_write",
        "_input",
        "_last_output",
        "_lied",
        "_output",
        "_reasoning",
        "_request_bytes",
        "delta_bytes",
        "deltas",
    )

    def __init__(self, request_bytes: int) -> None:
        self.deltas = 0
        """``content_block_delta`` events so far; the stream counts them itself, for speed."""
        self.delta_bytes = 0
        """Bytes of their data."""
        self._request_bytes = request_bytes
        self._input: int | None = None
        self._output: int | None = None
        self._last_output: int | None = None
        self._cache_read = self._cache_write = self._reasoning = 0
        self._lied = False

    def message_start(self, data: bytes) -> None:
        try:
            self._count(_MESSAGE_START.decode(data).message.usage)
        except UNREADABLE:
            return

    def message_delta(self, data: bytes) -> None:
        try:
            output_tokens = self._count(_MESSAGE_DELTA.decode(data).usage)
        except UNREADABLE:
            return
        if output_tokens is not None:
            self._last_output = output_tokens

    def _count(self, raw: msgspec.Raw | msgspec.UnsetType) -> int | None:
        counts = read_counts(raw)
        if counts is None:
            return None
        cache_read, cache_write = counts.cache_read_input_tokens, counts.cache_creation_input_tokens
        if (tokens := plausible(counts.input_tokens)) is not None:
            self._input = tokens
        if (tokens := plausible(cache_read)) is not None:
            self._cache_read = tokens
        if (tokens := plausible(cache_write)) is not None:
            self._cache_write = tokens
        self._lied |= not (believable(cache_read) and believable(cache_write))
        self._reasoning = thinking_tokens(counts.output_tokens_details) or self._reasoning
        output_tokens = plausible(counts.output_tokens)
        if output_tokens is not None:
            self._output = output_tokens
        return output_tokens

    def usage(self, *, whole: bool) -> Usage:
        """``whole``: the stream came to its regular end."""
        if self._input is None and self._output is None and not self.deltas:
            return NO_USAGE
        output_tokens = self._last_output
        counted = self._input is not None and output_tokens is not None and not self._lied
        if output_tokens is None:
            text_bytes = self.delta_bytes - self.deltas * _DELTA_GRAMMAR_BYTES
            output_tokens = max(self._output or 0, text_bytes // CHARS_PER_TOKEN, 1 if self.deltas else 0)
        return Usage(
            self._request_bytes // CHARS_PER_TOKEN if self._input is None else self._input,
            output_tokens,
            self._cache_read,
            self._cache_write,
            min(self._reasoning, output_tokens),
            UsageSource.PROVIDER if whole and counted else UsageSource.ESTIMATE,
        )
