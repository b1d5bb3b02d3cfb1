"""Compressed request bodies, inflated within the size limit (RFC 9110, 8.4)."""

import zlib

from triptych.core.failure import Failure, FailureKind

SUPPORTED = "gzip and zstd"


def inflate(body: bytes, encoding: bytes, limit_bytes: int) -> bytes:
    """The decoded body.

    Raises Failure UNSUPPORTED_MEDIA_TYPE (another or a nested encoding), PAYLOAD_TOO_LARGE (more
    than ``limit_bytes`` inflated; never materialised), INVALID_BODY (damaged data).
    """
    match encoding.strip().lower():
        case b"" | b"identity":
            return body
        case b"gzip" | b"x-gzip":
            return _gunzip(body, limit_bytes)
        case b"zstd":
            return _unzstd(body, limit_bytes)
    raise Failure(
        FailureKind.UNSUPPORTED_MEDIA_TYPE,
        f"Content-Encoding is not supported. Send the body as it is, or with {SUPPORTED}.",
    )


def _gunzip(body: bytes, limit_bytes: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise Failure(FailureKind.INVALID_BODY, "The gzip body is damaged.") from None
    if len(text) > limit_bytes:
        raise Failure(FailureKind.PAYLOAD_TOO_LARGE)
    if not inflater.eof or inflater.unused_data:
        raise Failure(FailureKind.INVALID_BODY, "The gzip body is damaged.")
    return text


def _unzstd(body: bytes, limit_bytes: int) -> bytes:
    import zstandard

    inflater = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    pieces: list[bytes] = []
    size = 0
    try:
        # In slices: a small frame may stand for gigabytes, and this object has no output bound.
        for start in range(0, len(body), 1024):
            piece = inflater.decompress(body[start : start + 1024])
            size += len(piece)
            if size > limit_bytes:
                raise Failure(FailureKind.PAYLOAD_TOO_LARGE)
            pieces.append(piece)
    except zstandard.ZstdError:
        raise Failure(FailureKind.INVALID_BODY, "The zstd body is damaged.") from None
    if not inflater.eof or inflater.unused_data:
        raise Failure(FailureKind.INVALID_BODY, "The zstd body is damaged.")
    return b"".join(pieces)
