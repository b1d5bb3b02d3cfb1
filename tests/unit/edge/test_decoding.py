"""Compressed request bodies."""

import gzip
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.core.failure import Failure, FailureKind
from triptych.edge.decoding import inflate


@settings(deadline=None)
@given(st.binary(max_size=5_000))
def test_every_body_survives_every_encoding(body: bytes) -> None:
    assert inflate(gzip.compress(body), b"gzip", 5_000) == body
    assert inflate(zstandard.compress(body), b" ZSTD ", 5_000) == body
    assert inflate(body, b"identity", 0) is body
    assert inflate(body, b"", 0) is body


@pytest.mark.parametrize(("encoding", "pack"), [(b"gzip", gzip.compress), (b"zstd", zstandard.compress)])
def test_the_limit_is_exact(encoding: bytes, pack: type) -> None:
    assert len(inflate(pack(bytes(1_000)), encoding, 1_000)) == 1_000
    with pytest.raises(Failure) as caught:
        inflate(pack(bytes(1_001)), encoding, 1_000)
    assert caught.value.kind is FailureKind.PAYLOAD_TOO_LARGE


@settings(deadline=None)
@given(st.sampled_from([b"gzip", b"zstd"]), st.binary(max_size=300))
def test_damage_is_refused_and_never_crashes(encoding: bytes, junk: bytes) -> None:
    good = gzip.compress(b"x" * 200) if encoding == b"gzip" else zstandard.compress(b"x" * 200)
    for body in (junk, good[:-1], good + b"x" + junk, junk + good):
        if body == good:
            continue
        with pytest.raises(Failure) as caught:
            inflate(body, encoding, 10_000)
        assert caught.value.kind in (FailureKind.INVALID_BODY, FailureKind.PAYLOAD_TOO_LARGE)


def test_a_bomb_is_never_held_in_memory() -> None:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(32)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(Failure) as caught:
            inflate(bomb, b"zstd", 1 << 20)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.kind is FailureKind.PAYLOAD_TOO_LARGE
    # Half a gigabyte is packed in it; one slice of it may be unpacked before the limit is seen.
    assert peak_bytes < 128 << 20


def test_a_window_of_gigabytes_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    body = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=-1)
    packed = body.compress(b"x" * 10_000) + body.flush()
    with pytest.raises(Failure) as caught:
        inflate(packed, b"zstd", 1 << 20)
    assert caught.value.kind is FailureKind.INVALID_BODY
