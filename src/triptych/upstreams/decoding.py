"""Decoding of answers that come compressed although ``identity`` was asked for.

Incremental and bounded: what a step may produce is limited before it is produced, and an answer
that inflates too much is refused. One coding only (RFC 9110 section 8.4.1): ``gzip``, ``x-gzip``,
``deflate`` (with or without the zlib frame, as both are sent in practice), ``zstd`` (RFC 8878;
window at most 8 MiB, RFC 9659).
"""

import zlib
from typing import Any, Protocol

from triptych.core.call import Headers, UpstreamAnswer
from triptych.core.failure import Failure, FailureKind

MAX_RATIO = 100
RATIO_FREE_BYTES = 1024 * 1024
_STEP_BYTES = 256 * 1024
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
# A zstd block of 4 bytes may stand for 128 KiB and the library offers no bound on output: small
# slices of input keep a step below 8 MiB.
_ZSTD_SLICE_BYTES = 256


class _Decoder(Protocol):
    def feed(self, data: bytes) -> None:
        """Hand in more of the encoded bytes."""
        ...

    def step(self) -> bytes:
        """Some of what they decode to; b"" when more must be fed. Raises ValueError."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the encoded bytes could end here."""
        ...


class _ZlibDecoder:
    """gzip (any number of members) and deflate."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inflate: Any = None
        self._pending = b""
        self._begun = False

    def feed(self, data: bytes) -> None:
        self._pending += data

    def step(self) -> bytes:
        while self._pending:
            if self._inflate is None:
                window_bits = self._window_bits()
                if window_bits is None:
                    return b""
                self._inflate = zlib.decompressobj(window_bits)
                self._begun = True
            inflate = self._inflate
            try:
                data: bytes = inflate.decompress(self._pending, _STEP_BYTES)
            except zlib.error as error:
                raise ValueError(f"broken {self._coding}") from error
            if inflate.eof:
                self._pending = inflate.unused_data
                self._inflate = None
                if self._pending and self._coding == "deflate":
                    raise ValueError("bytes after the end of deflate")
            else:
                self._pending = inflate.unconsumed_tail
            if data:
                return data
        return b""

    @property
    def complete(self) -> bool:
        return self._begun and self._inflate is None and not self._pending

    def _window_bits(self) -> int | None:
        """How to read what comes; None when two bytes are needed to tell and only one is there."""
        if self._coding == "gzip":
            return 16 + zlib.MAX_WBITS
        if len(self._pending) < 2:
            return None
        first, second = self._pending[0], self._pending[1]
        framed = first & 0x0F == 8 and (first << 8 | second) % 31 == 0
        return zlib.MAX_WBITS if framed else -zlib.MAX_WBITS


class _ZstdDecoder:
    """zstd, any number of frames."""

    def __init__(self) -> None:
        # Imported here: a gateway whose providers keep to identity never needs it.
        import zstandard

        self._error = zstandard.ZstdError
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._frame: Any = None
        self._pending = memoryview(b"")
        self._begun = False

    def feed(self, data: bytes) -> None:
        self._pending = memoryview(bytes(self._pending) + data)

    def step(self) -> bytes:
        while self._pending:
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
                self._begun = True
            piece, self._pending = self._pending[:_ZSTD_SLICE_BYTES], self._pending[_ZSTD_SLICE_BYTES:]
            try:
                data: bytes = self._frame.decompress(piece)
            except self._error as error:
                raise ValueError("broken zstd") from error
            if self._frame.eof:
                self._pending = memoryview(self._frame.unused_data + bytes(self._pending))
                self._frame = None
            if data:
                return data
        return b""

    @property
    def complete(self) -> bool:
        return self._begun and self._frame is None and not self._pending


class DecodedAnswer:
    """An answer whose body is decoded while it is read; implements ``UpstreamAnswer``."""

    def __init__(self, answer: UpstreamAnswer, decoder: _Decoder, headers: Headers) -> None:
        self.headers = headers
        self._answer = answer
        self._decoder = decoder
        self._bytes_in = 0
        self._bytes_out = 0
        self._failure: str | None = None

    @property
    def status(self) -> int:
        return self._answer.status

    async def read(self) -> bytes:
        """See ``UpstreamAnswer.read``. Also raises Failure(UPSTREAM_INVALID_RESPONSE) for bytes
        that do not decode or inflate too much, and UPSTREAM_INTERRUPTED for a body that ends
        before its coding does."""
        while True:
            try:
                data = self._decoder.step()
            except ValueError as error:
                raise self._refused() from error
            if data:
                self._bytes_out += len(data)
                if self._bytes_out > self._bytes_in * MAX_RATIO + RATIO_FREE_BYTES:
                    raise self._refused()
                return data
            encoded = await self._answer.read()
            if not encoded:
                # A body without a byte is what a coding of nothing is often sent as.
                if self._bytes_in and not self._decoder.complete:
                    raise Failure(FailureKind.UPSTREAM_INTERRUPTED)
                return b""
            self._bytes_in += len(encoded)
            self._decoder.feed(encoded)

    def close(self) -> None:
        """See ``UpstreamAnswer.close``."""
        self._answer.close()

    def _refused(self) -> Failure:
        self._answer.close()
        return Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)


def decoded(answer: UpstreamAnswer) -> UpstreamAnswer:
    """The answer itself when it is not encoded, else one that decodes it; ``content-encoding``
    and the ``content-length`` of the encoded bytes are dropped then.

    Raises Failure(UPSTREAM_INVALID_RESPONSE) for an unknown coding or several, the answer closed.
    """
    for name, _ in answer.headers:
        if name == b"content-encoding":
            break
    else:
        return answer
    values = b",".join(value for name, value in answer.headers if name == b"content-encoding")
    codings = [c for c in values.decode("latin-1").lower().replace(" ", "").split(",") if c]
    codings = [coding for coding in codings if coding != "identity"]
    headers = [field for field in answer.headers if field[0] not in (b"content-encoding", b"content-length")]
    decoder: _Decoder
    if codings in (["gzip"], ["x-gzip"]):
        decoder = _ZlibDecoder("gzip")
    elif codings == ["deflate"]:
        decoder = _ZlibDecoder("deflate")
    elif codings == ["zstd"]:
        decoder = _ZstdDecoder()
    elif not codings:
        return answer
    else:
        answer.close()
        raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)
    return DecodedAnswer(answer, decoder, headers)
