"""The event stream encoding: Amazon's own test vectors, every cut, every flipped bit."""

import random
import struct
from zlib import crc32

import pytest

from tests.devices.bedrock_wire import chunk, message, named, string_header
from triptych.upstreams.bedrock_frames import MAX_HEADERS_BYTES, MAX_PAYLOAD_BYTES, Message, MessageReader

# Published with Amazon's SDKs (aws/aws-sdk-js-v3, packages/eventstream-marshaller).
EMPTY = bytes.fromhex("000000100000000005c248eb7d98c8ff")
INT32_HEADER = bytes.fromhex(
    "0000002b0000000e348bec7b086576656e742d6964040000a00c7b27666f6f273a27626172277dd3890285"
)
NO_HEADERS = bytes.fromhex("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936")
ONE_STRING_HEADER = bytes.fromhex(
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
    "7b27666f6f273a27626172277d8d9c08b1"
)
PAYLOAD = b"{'foo':'bar'}"


def read(data: bytes, *cuts: int) -> list[Message]:
    reader = MessageReader()
    found = []
    start = 0
    for end in (*cuts, len(data)):
        reader.feed(data[start:end])
        start = end
        while (taken := reader.take()) is not None:
            found.append(taken)
    assert reader.held_bytes == 0
    return found


@pytest.mark.parametrize(
    ("encoded", "headers", "payload"),
    [
        (EMPTY, {}, b""),
        (INT32_HEADER, {}, PAYLOAD),
        (NO_HEADERS, {}, PAYLOAD),
        (ONE_STRING_HEADER, {"content-type": "application/json"}, PAYLOAD),
    ],
)
def test_amazons_vectors_are_read(encoded: bytes, headers: dict[str, str], payload: bytes) -> None:
    assert read(encoded) == [Message(headers, payload)]


@pytest.mark.parametrize(
    "encoded",
    [
        ONE_STRING_HEADER.replace(b"content-type", b"content+type"),
        ONE_STRING_HEADER[:6] + b"\x01" + ONE_STRING_HEADER[7:],
        b"\x01" + NO_HEADERS[1:],
        NO_HEADERS.replace(b"'}", b"'\x8d"),
    ],
    ids=["headers", "headers' length", "length", "payload"],
)
def test_amazons_corrupted_vectors_are_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="checksum"):
        read(encoded)


def test_every_flipped_bit_is_found() -> None:
    good = chunk(b'{"type":"ping"}')
    for bit in range(len(good) * 8):
        spoiled = bytearray(good)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="checksum"):
            read(bytes(spoiled))


def test_however_the_bytes_are_cut_the_messages_are_the_same() -> None:
    data = EMPTY + ONE_STRING_HEADER + chunk(b'{"type":"ping"}') + NO_HEADERS
    whole = read(data)
    assert len(whole) == 4
    for cut in range(len(data)):
        assert read(data, cut) == whole
    assert read(data, *range(1, len(data))) == whole


def test_half_a_message_is_held_and_said_to_be() -> None:
    reader = MessageReader()
    reader.feed(EMPTY + NO_HEADERS[:-1])
    assert reader.take() == Message({}, b"")
    assert reader.take() is None
    assert reader.held_bytes == len(NO_HEADERS) - 1


def test_values_of_every_type_are_passed_over_and_strings_are_kept() -> None:
    sizes = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
    others = b"".join(bytes([1]) + b"x" + bytes([kind]) + b"\xff" * size for kind, size in sizes.items())
    others += b"\x01b\x06\x00\x03\xff\xfe\xfd"
    data = message(others + string_header(":event-type", "chunk"), PAYLOAD)
    assert read(data) == [Message({":event-type": "chunk"}, PAYLOAD)]


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05ab",
        b"\x01x\x07",
        b"\x01x\x07\x00\x09short",
        b"\x01x\x04\x00\x00",
        b"\x01x\x0a",
        b"\x01x\x07\x00\x02\xff\xff",
    ],
    ids=["name cut", "length cut", "text cut", "integer cut", "no such type", "not UTF-8"],
)
def test_headers_that_do_not_parse_are_refused_though_their_checksum_is_right(headers: bytes) -> None:
    with pytest.raises(ValueError, match=r"headers|codec"):
        read(message(headers, b""))


@pytest.mark.parametrize(
    ("length", "headers_bytes"),
    [
        (15, 0),
        (0, 0),
        (16, 1),
        (16 + MAX_PAYLOAD_BYTES + 1, 0),
        (16 + MAX_HEADERS_BYTES + 1, MAX_HEADERS_BYTES + 1),
        (2**32 - 1, 2**32 - 1),
    ],
)
def test_a_length_out_of_bounds_is_refused_before_its_bytes_are_waited_for(
    length: int, headers_bytes: int
) -> None:
    lengths = struct.pack(">II", length, headers_bytes)
    reader = MessageReader()
    reader.feed(lengths + struct.pack(">I", crc32(lengths)))
    with pytest.raises(ValueError, match="out of bounds"):
        reader.take()


def test_a_large_message_in_small_pieces_is_read_in_linear_time() -> None:
    data = named(random.Random(1).randbytes(4 << 20), event_type="chunk")
    (found,) = read(data, *range(1024, len(data), 1024))
    assert found.payload == data[-(4 << 20) - 4 : -4]
