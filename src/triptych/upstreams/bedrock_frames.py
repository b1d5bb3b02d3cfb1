"""Amazon's event stream encoding, ``application/vnd.amazon.eventstream``
(https://smithy.io/2.0/aws/amazon-eventstream.html): binary messages with two checksums each.

A message is: its length and its headers' length (4 bytes each, big-endian), the CRC-32 of these
eight bytes, the headers, the payload, and the CRC-32 of everything before.
"""

import struct
from collections.abc import Mapping
from zlib import crc32

import msgspec

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 24 * 1024 * 1024
"""Both are the bounds of the encoding itself."""

_PRELUDE = struct.Struct(">III")
_LENGTHS_BYTES = 8
_CRC = struct.Struct(">I")
_FRAMING_BYTES = _PRELUDE.size + _CRC.size
_LENGTH = struct.Struct(">H")
_BYTE_ARRAY, _STRING = 6, 7
# By type of header value: true, false, byte, short, integer, long, then timestamp and UUID.
_FIXED_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message whose checksums are right."""

    headers: Mapping[str, str]
    """Those whose value is a string; AWS sends no others in a model's answer."""
    payload: bytes


class MessageReader:
    """Feed it what arrives and take the messages that are complete (sans-IO). However the bytes are
    cut, the messages are the same. Memory is bounded by one message and what was fed at once."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._expected_bytes = 0
        # Of the last message: those of a stream are nearly all alike.
        self._headers_seen = b""
        self._headers: Mapping[str, str] = {}

    @property
    def held_bytes(self) -> int:
        """Bytes of messages not taken yet; more than zero at the end means half a message."""
        return len(self._held)

    def feed(self, data: bytes) -> None:
        """Hand in more of the stream."""
        self._held += data

    def take(self) -> Message | None:
        """The next message, or None until more is fed. Raises ValueError for bytes that are none: a
        wrong checksum, a length out of bounds, headers that do not parse."""
        held = self._held
        if not self._expected_bytes:
            if len(held) < _PRELUDE.size:
                return None
            self._expected_bytes = _length_of(held)
        length = self._expected_bytes
        if len(held) < length:
            return None
        message = bytes(held[:length])
        del held[:length]
        self._expected_bytes = 0
        if crc32(message[: -_CRC.size]) != _CRC.unpack_from(message, length - _CRC.size)[0]:
            raise ValueError("the checksum of a message is wrong")
        headers_end = _PRELUDE.size + _PRELUDE.unpack_from(message)[1]
        headers = message[_PRELUDE.size : headers_end]
        if headers != self._headers_seen:
            self._headers = _headers(headers)
            self._headers_seen = headers
        return Message(self._headers, message[headers_end : length - _CRC.size])


def _length_of(held: bytearray) -> int:
    """The message's length in all; looked at before its bytes are waited for."""
    length, headers_bytes, checksum = _PRELUDE.unpack_from(held)
    if crc32(held[:_LENGTHS_BYTES]) != checksum:
        raise ValueError("the checksum of a message's lengths is wrong")
    payload_bytes = length - headers_bytes - _FRAMING_BYTES
    if headers_bytes > MAX_HEADERS_BYTES or not 0 <= payload_bytes <= MAX_PAYLOAD_BYTES:
        raise ValueError("a message's length is out of bounds")
    return int(length)


def _headers(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    try:
        while position < len(data):
            name_start = position + 1
            type_at = name_start + data[position]
            kind = data[type_at]
            position = type_at + 1
            if kind in {_STRING, _BYTE_ARRAY}:
                value_start = position + _LENGTH.size
                position = value_start + _LENGTH.unpack_from(data, position)[0]
                if kind == _STRING:
                    found[data[name_start:type_at].decode()] = data[value_start:position].decode()
            else:
                position += _FIXED_BYTES[kind]
    except (IndexError, KeyError, struct.error) as error:
        raise ValueError("a message's headers do not parse") from error
    if position != len(data):
        raise ValueError("a message's headers are cut short")
    return found
