"""Amazon Bedrock's answers as bytes, encoded here on our own: what the upstream decodes must not be
encoded by the same code. Source: https://smithy.io/2.0/aws/amazon-eventstream.html"""

import json
import struct
from base64 import b64encode
from zlib import crc32

from tests.devices.faulty_behaviours import Behaviour, Exchange

EVENT_STREAM = b"application/vnd.amazon.eventstream"


def string_header(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


def message(headers: bytes, payload: bytes) -> bytes:
    """One message with right checksums around ``headers`` as they are."""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return body + struct.pack(">I", crc32(body))


def named(payload: bytes, **headers: str) -> bytes:
    """A message with string headers; ``message_type`` stands for ``:message-type``."""
    lines = [string_header(":" + name.replace("_", "-"), value) for name, value in headers.items()]
    return message(b"".join(lines), payload)


def chunk(data: bytes) -> bytes:
    """One part of a model's answer, padded as Bedrock does."""
    payload = b'{"bytes":"%b","p":"abcdefghijklmnop"}' % b64encode(data)
    return named(payload, event_type="chunk", content_type="application/json", message_type="event")


def exception(name: str, sentence: str) -> bytes:
    payload = json.dumps({"message": sentence}).encode()
    return named(payload, exception_type=name, content_type="application/json", message_type="exception")


def data_of(event: bytes) -> bytes:
    """The JSON in a server-sent event of one data line."""
    return event.split(b"data: ", 1)[1].removesuffix(b"\n\n")


def streams(*pieces: bytes, whole: bool = True) -> Behaviour:
    """Answer with these bytes of an event stream, each in a write of its own; ``whole=False`` closes
    the connection after the last, its framing unfinished."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: " + EVENT_STREAM + b"\r\nx-amzn-requestid: aws-1\r\n"
            b"x-amzn-bedrock-content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for piece in pieces:
            await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        if whole:
            await exchange.send(b"0\r\n\r\n")
        else:
            exchange.close()

    return behave


def answers(status: int, body: bytes, *fields: str) -> Behaviour:
    """A plain JSON answer."""

    async def behave(exchange: Exchange) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", "content-type: application/json", "x-amzn-requestid: aws-1"]
        lines += [f"content-length: {len(body)}", *fields, "", ""]
        await exchange.send("\r\n".join(lines).encode() + body)

    return behave
