"""Answers written byte by byte: behaviours for the device's queue."""

import asyncio
from typing import Literal

from tests.devices.faulty_behaviours import Behaviour, Exchange

OK = b"HTTP/1.1 200 OK\r\n"


def raw(
    *pieces: bytes, then: Literal["keep", "close", "reset", "hang"] = "keep", gap_s: float = 0
) -> Behaviour:
    """Send each piece in a write of its own, then do as said."""

    async def behave(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.send(piece)
            if gap_s or len(pieces) > 1:
                await asyncio.sleep(gap_s)
        if then == "close":
            exchange.close()
        elif then == "reset":
            # A reset overtakes bytes still unread: give them a moment.
            await asyncio.sleep(0.03)
            exchange.reset()
        elif then == "hang":
            await exchange.hang()

    return behave


def sized(body: bytes, *fields: bytes) -> bytes:
    """A whole 200 answer with content-length."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return OK + lines + b"content-length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    """A whole chunked 200 answer."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return OK + b"transfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n" + trailers + b"\r\n"
