"""Bodies that are compressed, and bodies that are too large."""

import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tests.contract.inference.world import TwoSides, world
from tests.contract.raw_client import LIVE, TEST, Answer, RawClient, request
from tests.devices.gateway import Gateway

LIMIT_BYTES = 52_428_800
TOO_LARGE = (413, b'{"message":"Request body too large. Maximum size is 50 MB."}')
GOOD = b'{"model":"mapped-model","max_tokens":8,"messages":[{"role":"user","content":"hello there"}]}'


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with world() as both:
        yield both


# -- compressed bodies ------------------------------------------------------------------------


def _gzip(data: bytes, level: int = 6) -> bytes:
    return gzip.compress(data, level)


ENCODED = {
    "gzip": ("gzip", _gzip(GOOD)),
    "x-gzip": ("X-GZIP", _gzip(GOOD)),
    "zstd": ("zstd", zstandard.compress(GOOD)),
    "zstd of unknown size": ("zstd", zstandard.ZstdCompressor(write_content_size=False).compress(GOOD)),
    "identity": ("identity", GOOD),
}


@pytest.mark.parametrize(("encoding", "body"), ENCODED.values(), ids=ENCODED)
def test_a_compressed_body_is_inflated_and_relayed_plain(sides: TwoSides, encoding: str, body: bytes) -> None:
    answer = sides.ask(LIVE, f"content-encoding: {encoding}", body=body)
    assert answer.status == 200
    seen = sides.upstream.requests[-1]
    assert seen.body == GOOD.replace(b"mapped-model", b"fault-ok")
    assert seen.header("content-encoding") is None


DAMAGED = {
    "no gzip at all": ("gzip", GOOD),
    "nothing as gzip": ("gzip", b""),
    "half of gzip": ("gzip", _gzip(GOOD)[:40]),
    "gzip with a wrong checksum": ("gzip", _gzip(GOOD)[:-8] + bytes(8)),
    "gzip and more": ("gzip", _gzip(GOOD) + b"more"),
    "zlib as gzip": ("gzip", zlib.compress(GOOD)),
    "no zstd at all": ("zstd", GOOD),
    "nothing as zstd": ("zstd", b""),
    "half of zstd": ("zstd", zstandard.compress(GOOD)[:30]),
    "zstd and more": ("zstd", zstandard.compress(GOOD) + b"more"),
}


@pytest.mark.parametrize(("encoding", "body"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_compressed_body_is_a_400(sides: TwoSides, encoding: str, body: bytes) -> None:
    before = len(sides.upstream.requests)
    answer = sides.ask(LIVE, f"content-encoding: {encoding}", body=body)
    assert answer.status == 400
    error = {"type": "invalid_request_error", "message": f"The {encoding} body is damaged."}
    assert json.loads(answer.body)["error"] == error
    assert len(sides.upstream.requests) == before
    row = sides.row(answer)
    assert row is not None and (row["failure_kind"], row["bytes_in"]) == ("invalid_body", len(body))


@pytest.mark.parametrize(
    "fields",
    [
        ("content-encoding: br",),
        ("content-encoding: deflate",),
        ("content-encoding: compress",),
        ("content-encoding: gzip, gzip",),
        ("content-encoding: gzip", "content-encoding: gzip"),
        ("content-encoding: gzip", "content-encoding: identity"),
        ("content-encoding: aws-chunked",),
    ],
)
def test_any_other_or_nested_encoding_is_a_415(sides: TwoSides, fields: tuple[str, ...]) -> None:
    answer = sides.ask(LIVE, *fields, body=_gzip(_gzip(GOOD)))
    assert answer.status == 415
    sentence = "Content-Encoding is not supported. Send the body as it is, or with gzip and zstd."
    assert json.loads(answer.body)["error"] == {"type": "invalid_request_error", "message": sentence}


def padded(size: int) -> bytes:
    return GOOD + b" " * (size - len(GOOD))


def test_a_bomb_is_a_413_and_the_limit_itself_is_none(sides: TwoSides) -> None:
    over, within = padded(LIMIT_BYTES + 1), padded(LIMIT_BYTES)
    for encoding, pack in (("gzip", lambda data: _gzip(data, 1)), ("zstd", zstandard.compress)):
        answer = sides.ask(LIVE, f"content-encoding: {encoding}", body=pack(over))
        assert (answer.status, answer.body) == TOO_LARGE
        assert sides.ask(TEST, f"content-encoding: {encoding}", body=pack(within)).status == 200
    gigabytes = zstandard.ZstdCompressor(level=1).compressobj()
    bomb = b"".join(gigabytes.compress(bytes(1 << 24)) for _ in range(64)) + gigabytes.flush()
    answer = sides.ask(LIVE, "content-encoding: zstd", body=bomb)
    assert (answer.status, answer.body) == TOO_LARGE
    row = sides.row(answer)
    assert row is not None and (row["status"], row["failure_kind"]) == (413, "payload_too_large")


# -- the hard size -----------------------------------------------------------------------------


def written_in_full(connection: socket.socket, body: bytes) -> Answer:
    """A client that looks for the answer only after its whole body is out."""
    connection.settimeout(30)
    connection.sendall(body)
    client = RawClient.__new__(RawClient)
    client.socket, client._buffer = connection, b""
    return client.answer()


@pytest.mark.parametrize("fields", [(), (LIVE,)], ids=["without a key", "with a key"])
@pytest.mark.parametrize("target", ["/v1/messages", "/v1/chat/completions", "/v1/nope", "/healthz"])
def test_one_byte_too_many_is_refused_before_the_body_is_read(
    sides: TwoSides, target: str, fields: tuple[str, ...]
) -> None:
    with RawClient(sides.port) as client:
        client.send(request("POST", target, *fields, f"content-length: {LIMIT_BYTES + 1}"))
        answer = client.answer()
    known = target in ("/v1/messages", "/v1/chat/completions")
    assert ((answer.status, answer.body) == TOO_LARGE) == known
    assert answer.status == (413 if known else 405 if target == "/healthz" else 404)


def test_the_refusal_is_readable_by_a_client_that_writes_its_whole_body_first(sides: TwoSides) -> None:
    with RawClient(sides.port) as client:
        client.send(request("POST", "/v1/messages", LIVE, f"content-length: {LIMIT_BYTES + 1}"))
        answer = written_in_full(client.socket, padded(LIMIT_BYTES + 1))
    assert (answer.status, answer.body, answer.header("connection")) == (*TOO_LARGE, "close")


def test_chunks_are_counted_too_and_cut_off_at_the_limit(sides: TwoSides) -> None:
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    with RawClient(sides.port) as client:
        client.send(request("POST", "/v1/messages", LIVE, "transfer-encoding: chunked"))
        client.send(*[chunk] * 50)
        client.send(b"1\r\n \r\n")
        # Not a byte more is needed: the end of the body is never sent.
        answer = client.answer()
    assert (answer.status, answer.body, answer.header("connection")) == (*TOO_LARGE, "close")


def test_exactly_the_limit_is_served(sides: TwoSides) -> None:
    for fields, body in (
        (("content-length: 52428800",), padded(LIMIT_BYTES)),
        (("transfer-encoding: chunked",), b"3200000\r\n" + padded(LIMIT_BYTES) + b"\r\n0\r\n\r\n"),
    ):
        with RawClient(sides.port, timeout_s=30) as client:
            client.send(request("POST", "/v1/messages", TEST, *fields), body)
            answer = client.answer()
        assert answer.status == 200
        row = sides.row(answer)
        assert row is not None and row["bytes_in"] == LIMIT_BYTES


def test_a_smaller_limit_is_named_as_it_is() -> None:
    with Gateway(server="max_body_bytes = 1000") as gateway, RawClient(gateway.port) as client:
        body = padded(1000).replace(b"mapped-model", b"sandbox-echo")
        client.send(request("POST", "/v1/messages", TEST, body=body))
        assert client.answer().status == 200
        client.send(request("POST", "/v1/messages", TEST, body=padded(1001)))
        answer = client.answer()
        assert answer.body == b'{"message":"Request body too large. Maximum size is 1000 bytes."}'
        # Little enough is read and thrown away, and the connection goes on.
        client.send(request("GET", "/healthz"))
        assert client.answer().status == 200


def test_the_refusal_of_a_large_body_is_readable_over_tls(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-keyout",
            str(key),
            "-out",
            str(cert),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    server = f'tls_cert = "{cert}"\ntls_key = "{key}"'
    # Readiness is asked over plain HTTP by the device, so the port is watched here instead.
    gateway = Gateway(server=server, folder=tmp_path)
    starter = threading.Thread(target=_start_quietly, args=(gateway,), daemon=True)
    starter.start()
    try:
        connection = _connect(gateway, context)
        connection.sendall(request("POST", "/v1/messages", TEST, f"content-length: {LIMIT_BYTES + 1}"))
        answer = written_in_full(connection, padded(LIMIT_BYTES + 1))
        connection.close()
        assert (answer.status, answer.body) == TOO_LARGE
    finally:
        assert gateway.process is not None
        gateway.process.kill()
        gateway.process.wait(10)
        starter.join(30)


def _start_quietly(gateway: Gateway) -> None:
    try:
        gateway.start()
    except (AssertionError, AttributeError):
        return


def _connect(gateway: Gateway, context: ssl.SSLContext) -> ssl.SSLSocket:
    for _ in range(300):
        try:
            plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
            return context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            time.sleep(0.05)
    raise AssertionError(gateway.log)
