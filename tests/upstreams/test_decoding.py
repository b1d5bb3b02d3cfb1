"""Compressed answers: decoded within bounds, refused beyond them."""

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard

from triptych.core.call import Headers, header
from triptych.core.failure import Failure, FailureKind
from triptych.upstreams.decoding import DecodedAnswer, decoded

TEXT = b"".join(b'data: {"n": %d}\n\n' % number for number in range(5000))


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


CODINGS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b"X-GZip", gzip.compress),
    "deflate": (b"deflate", zlib.compress),
    "raw deflate": (b"deflate", raw_deflate),
    "zstd": (b"zstd", zstandard.ZstdCompressor().compress),
}


class Answer:
    """An answer whose pieces are known in advance."""

    def __init__(self, coding: bytes | None, *pieces: bytes) -> None:
        self.status = 200
        self.headers: Headers = [(b"content-type", b"application/json"), (b"content-length", b"9")]
        if coding is not None:
            self.headers = [*self.headers, (b"content-encoding", coding)]
        self.closed = False
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        self.closed = True


def all_of(answer: Answer) -> bytes:
    async def read() -> bytes:
        readable = decoded(answer)
        received = b""
        while data := await readable.read():
            received += data
        return received

    return asyncio.run(read())


def failure_of(answer: Answer) -> FailureKind:
    with pytest.raises(Failure) as caught:
        all_of(answer)
    return caught.value.kind


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("piece_bytes", [1, 7, 1000, 1_000_000])
def test_every_coding_is_decoded_whatever_the_pieces(coding: str, piece_bytes: int) -> None:
    name, compress = CODINGS[coding]
    data = compress(TEXT)
    pieces = [data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)]
    assert all_of(Answer(name, *pieces)) == TEXT


def test_the_headers_no_longer_speak_of_the_coding() -> None:
    answer = decoded(Answer(b"gzip", gzip.compress(b"{}")))
    assert isinstance(answer, DecodedAnswer)
    assert answer.status == 200
    assert list(answer.headers) == [(b"content-type", b"application/json")]


@pytest.mark.parametrize("coding", [None, b"identity", b" Identity ", b""])
def test_an_answer_that_is_not_encoded_is_passed_through_itself(coding: bytes | None) -> None:
    answer = Answer(coding, TEXT)
    assert decoded(answer) is answer
    assert header(answer.headers, b"content-length") == b"9"


@pytest.mark.parametrize("coding", [b"br", b"gzip, gzip", b"gzip, br", b"compress", b"\xff"])
def test_an_unknown_coding_or_several_are_refused(coding: bytes) -> None:
    answer = Answer(coding, b"whatever")
    with pytest.raises(Failure) as caught:
        decoded(answer)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert answer.closed


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_refused_before_it_unfolds(coding: str) -> None:
    name, compress = CODINGS[coding]
    answer = Answer(name, compress(b"\0" * 300_000_000 if coding == "zstd" else b"\0" * 60_000_000))
    assert failure_of(answer) is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert answer.closed


def test_a_bomb_takes_no_memory_of_its_size() -> None:
    import tracemalloc

    answer = Answer(b"zstd", zstandard.ZstdCompressor().compress(b"\0" * 300_000_000))
    tracemalloc.start()
    try:
        failure_of(answer)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_bytes_that_do_not_decode_are_an_invalid_response(coding: str) -> None:
    assert failure_of(Answer(CODINGS[coding][0], b"\xff" * 16)) is FailureKind.UPSTREAM_INVALID_RESPONSE


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_that_ends_before_its_coding_is_an_interruption(coding: str) -> None:
    name, compress = CODINGS[coding]
    assert failure_of(Answer(name, compress(TEXT)[:-5])) is FailureKind.UPSTREAM_INTERRUPTED
    assert failure_of(Answer(name, compress(TEXT)[:1])) is FailureKind.UPSTREAM_INTERRUPTED


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_several_members_are_one_body(coding: str) -> None:
    name, compress = CODINGS[coding]
    data = compress(b"one ") + compress(b"two")
    assert all_of(Answer(name, data)) == b"one two"
    assert all_of(Answer(name, *(data[at : at + 1] for at in range(len(data))))) == b"one two"


@pytest.mark.parametrize("coding", CODINGS)
def test_bytes_after_the_end_are_an_invalid_response(coding: str) -> None:
    name, compress = CODINGS[coding]
    assert failure_of(Answer(name, compress(b"one") + b"garbage")) is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_an_encoded_body_without_a_byte_is_an_empty_body() -> None:
    assert all_of(Answer(b"gzip")) == b""


def test_what_is_flushed_can_be_read_at_once() -> None:
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    first = compressor.compress(b"data: one\n\n") + compressor.flush(zlib.Z_SYNC_FLUSH)
    rest = compressor.compress(b"data: two\n\n") + compressor.flush()

    async def reads() -> list[bytes]:
        answer = decoded(Answer(b"gzip", first, rest))
        return [await answer.read() for _ in range(3)]

    assert asyncio.run(reads()) == [b"data: one\n\n", b"data: two\n\n", b""]
