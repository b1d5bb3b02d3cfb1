"""Where a request begins and ends, on raw sockets: what can be read two ways is refused and the
connection closed, so that no part of one request is ever taken for another."""

import socket
import time
from collections.abc import Iterator

import pytest

from tests.contract.inference.world import TwoSides, world
from tests.contract.raw_client import LIVE, Answer, RawClient, request
from tests.devices.gateway import LIVE_KEY, message

GOOD = message("mapped-model")
KEY = f"x-api-key: {LIVE_KEY}\r\n".encode()
HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\n" + KEY
SIZED = b"content-length: %d\r\n" % len(GOOD)
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
# What a smuggler would like to be taken for a request of its own.
INNER = b"GET /smuggled HTTP/1.1\r\nhost: gateway\r\n\r\n"


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with world() as both:
        yield both


def exchange(
    sides: TwoSides, *pieces: bytes, gap_s: float = 0.0, method: str = "POST"
) -> tuple[Answer, bytes]:
    """The first answer to these bytes, and everything after it up to the end of the connection."""
    with RawClient(sides.port, timeout_s=5.0) as client:
        client.send(*pieces, gap_s=gap_s)
        answer = client.answer(method)
        client.socket.shutdown(socket.SHUT_WR)
        return answer, client.rest()


SMUGGLING = {
    "content-length, then chunked": HEAD + b"content-length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked, then content-length": HEAD + CHUNKED + b"content-length: 4\r\n\r\n0\r\n\r\n",
    "two equal lengths": HEAD + SIZED * 2 + b"\r\n" + GOOD,
    "two different lengths": HEAD + b"content-length: 0\r\n" + SIZED + b"\r\n" + GOOD,
    "a list of lengths": HEAD + b"content-length: %d, %d\r\n\r\n" % (len(GOOD), len(GOOD)) + GOOD,
    "a length with a sign": HEAD + b"content-length: +%d\r\n\r\n" % len(GOOD) + GOOD,
    "a negative length": HEAD + b"content-length: -1\r\n\r\n",
    "a hexadecimal length": HEAD + b"content-length: 0x10\r\n\r\n" + GOOD,
    "a length with an underscore": HEAD + b"content-length: 1_0\r\n\r\n" + GOOD,
    "a length in other digits": HEAD + b"content-length: \xd9\xa1\r\n\r\n",
    "an empty length": HEAD + b"content-length:\r\n\r\n",
    "a length past 64 bits": HEAD + b"content-length: 18446744073709551617\r\n\r\n",
    "a length of 5000 digits": HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\n",
    "gzip, then chunked": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "chunked, then gzip": HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n" + CHUNKS,
    "chunked twice in one field": HEAD + b"transfer-encoding: chunked, chunked\r\n\r\n" + CHUNKS,
    "chunked in two fields": HEAD + CHUNKED * 2 + b"\r\n" + CHUNKS,
    "chunked and identity": HEAD + CHUNKED + b"transfer-encoding: identity\r\n\r\n" + CHUNKS,
    "identity": HEAD + b"transfer-encoding: identity\r\n" + SIZED + b"\r\n" + GOOD,
    "nearly chunked": HEAD + b"transfer-encoding: xchunked\r\n\r\n" + CHUNKS,
    "chunked in quotes": HEAD + b'transfer-encoding: "chunked"\r\n\r\n' + CHUNKS,
    "chunked after a vertical tab": HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n" + CHUNKS,
    "a space before the colon": HEAD + b"transfer-encoding : chunked\r\n\r\n" + CHUNKS,
    "a length with a space before the colon": HEAD + b"content-length : 4\r\n\r\n" + GOOD,
    "a folded field": HEAD + b"x-folded: a\r\n b\r\n" + SIZED + b"\r\n" + GOOD,
    "a folded transfer-encoding": HEAD + b"transfer-encoding:\r\n chunked\r\n\r\n" + CHUNKS,
    "a fold after the request line": b"POST /v1/messages HTTP/1.1\r\n x: y\r\nhost: gateway\r\n\r\n",
    "bare line feeds": (HEAD + SIZED + b"\r\n").replace(b"\r\n", b"\n") + GOOD,
    "one bare line feed": HEAD + b"x-one: a\n" + SIZED + b"\r\n" + GOOD,
    "a bare carriage return": HEAD + b"x-one: a\rb\r\n" + SIZED + b"\r\n" + GOOD,
    "a carriage return instead of a line end": HEAD + b"x-one: a\r" + SIZED + b"\r\n" + GOOD,
    "a NUL in a value": HEAD + b"x-one: a\x00b\r\n" + SIZED + b"\r\n" + GOOD,
    "a NUL in a name": HEAD + b"x-\x00one: a\r\n" + SIZED + b"\r\n" + GOOD,
    "a control character in a forwarded value": HEAD + b"anthropic-beta: a\x01b\r\n" + SIZED + b"\r\n" + GOOD,
    "a field without a name": HEAD + b": a\r\n" + SIZED + b"\r\n" + GOOD,
    "a field without a colon": HEAD + b"x-one\r\n" + SIZED + b"\r\n" + GOOD,
    "a space inside a name": HEAD + b"x one: a\r\n" + SIZED + b"\r\n" + GOOD,
    "a high byte inside a name": HEAD + b"x-\xe9: a\r\n" + SIZED + b"\r\n" + GOOD,
    "no host": b"POST /v1/messages HTTP/1.1\r\n" + KEY + SIZED + b"\r\n" + GOOD,
    "two hosts": HEAD + b"host: other\r\n" + SIZED + b"\r\n" + GOOD,
    "two hosts in HTTP/1.0": HEAD.replace(b"1.1", b"1.0", 1) + b"host: other\r\n" + SIZED + b"\r\n" + GOOD,
    "chunks in HTTP/1.0": HEAD.replace(b"1.1", b"1.0", 1) + CHUNKED + b"\r\n" + CHUNKS,
    "HTTP/2.0 in words": HEAD.replace(b"1.1", b"2.0", 1) + SIZED + b"\r\n" + GOOD,
    "HTTP/1.2": HEAD.replace(b"1.1", b"1.2", 1) + SIZED + b"\r\n" + GOOD,
    "a chunk size that is no number": HEAD + CHUNKED + b"\r\nzz\r\n" + GOOD,
    "a chunk size with 0x": HEAD + CHUNKED + b"\r\n0x5\r\nabcde\r\n0\r\n\r\n",
    "a negative chunk size": HEAD + CHUNKED + b"\r\n-1\r\n" + GOOD,
    "a chunk size with a space before it": HEAD + CHUNKED + b"\r\n 5\r\nabcde\r\n0\r\n\r\n",
    "a chunk size past 64 bits": HEAD + CHUNKED + b"\r\n10000000000000005\r\nabcde\r\n0\r\n\r\n",
    "an empty chunk size": HEAD + CHUNKED + b"\r\n\r\nabcde\r\n0\r\n\r\n",
    "a chunk size line with a bare line feed": HEAD + CHUNKED + b"\r\n5\nabcde\r\n0\r\n\r\n",
    "a chunk extension with a bare line feed": HEAD + CHUNKED + b"\r\n5;a\nabcde\r\n0\r\n\r\n",
    "a chunk longer than its size": HEAD + CHUNKED + b"\r\n3\r\nabcde\r\n0\r\n\r\n",
    "a chunk without its line end": HEAD + CHUNKED + b"\r\n5\r\nabcde0\r\n\r\n",
    "a trailer that is no field": HEAD + CHUNKED + b"\r\n5\r\nabcde\r\n0\r\nx one: a\r\n\r\n",
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING)
def test_a_request_that_could_be_read_two_ways_is_refused_and_nothing_follows_it(
    sides: TwoSides, data: bytes
) -> None:
    before = len(sides.upstream.requests)
    answer, rest = exchange(sides, data + INNER)
    assert (answer.status, answer.header("connection")) == (400, "close")
    # Exactly one answer: the bytes after the fault are nobody's request.
    assert rest == b""
    assert len(sides.upstream.requests) == before
    assert b'"type":"invalid_request_error"' in answer.body
    # The path could be read: the refusal is in its envelope.
    assert answer.body.startswith(b'{"type":"error"')


NOT_REQUESTS = {
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in lower case": b"get /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a method nobody knows": b"BREW /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "a NUL in the target": b"GET /heal\x00thz HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a space in the target": b"GET /heal thz HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a high byte in the target": b"GET /healthz?\xff HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a carriage return in the target": b"GET /healthz\rx HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "words": b"hello there\r\n\r\n",
}


@pytest.mark.parametrize("data", NOT_REQUESTS.values(), ids=NOT_REQUESTS)
def test_what_is_no_request_is_a_400_and_the_end(sides: TwoSides, data: bytes) -> None:
    answer, rest = exchange(sides, data)
    assert (answer.status, answer.header("connection"), rest) == (400, "close", b"")
    assert b'"code":"invalid_body"' in answer.body


def test_garbage_after_an_answered_request_gets_an_id_of_its_own(sides: TwoSides) -> None:
    with RawClient(sides.port) as client:
        client.send(request("POST", "/v1/messages", LIVE, body=GOOD))
        first = client.answer()
        client.send(b"\x00garbage\r\n\r\n")
        second = client.answer()
        assert (first.status, second.status) == (200, 400)
        assert first.header("request-id") != second.header("request-id")
        assert client.closed_by_server


def test_a_refused_request_is_answered_once_however_its_body_goes_on(sides: TwoSides) -> None:
    with RawClient(sides.port) as client:
        client.send(b"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\n" + CHUNKED + b"\r\n5\r\nabcde\r\n")
        assert client.answer().status == 401
        client.send(b"not a chunk\r\n")
        assert client.closed_by_server


def test_the_body_of_a_refused_request_is_not_taken_for_the_next_one(sides: TwoSides) -> None:
    with RawClient(sides.port) as client:
        client.send(b"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\ncontent-length: %d\r\n\r\n" % len(INNER))
        assert client.answer().status == 401
        client.send(INNER)
        client.send(request("GET", "/healthz"))
        assert client.answer("GET").body == b'{"status":"ok"}'


ACCEPTED = {
    "in chunks": HEAD + CHUNKED + b"\r\n" + CHUNKS,
    "in chunks of one byte": HEAD
    + CHUNKED
    + b"\r\n"
    + b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD)
    + b"0\r\n\r\n",
    "in chunks with leading zeros": HEAD + CHUNKED + b"\r\n%020x\r\n%b\r\n000\r\n\r\n" % (len(GOOD), GOOD),
    "in chunks with extensions": HEAD
    + CHUNKED
    + b'\r\n%x;a=b;c="d;e"\r\n%b\r\n0;last\r\n\r\n' % (len(GOOD), GOOD),
    "chunked in capitals": HEAD + b"Transfer-Encoding: CHUNKED\r\n\r\n" + CHUNKS,
    "chunked between white space": HEAD + b"transfer-encoding:   chunked  \r\n\r\n" + CHUNKS,
    "a length between white space": HEAD + b"content-length: \t%d \t\r\n\r\n" % len(GOOD) + GOOD,
    "empty lines before the request": b"\r\n\r\n" + HEAD + SIZED + b"\r\n" + GOOD,
    "an empty host": HEAD.replace(b"host: gateway", b"host:") + SIZED + b"\r\n" + GOOD,
    "the absolute form": HEAD.replace(b" /v1", b" http://elsewhere.example:99/v1") + SIZED + b"\r\n" + GOOD,
    "the absolute form with https": HEAD.replace(b" /v1", b" https://u@[::1]/v1") + SIZED + b"\r\n" + GOOD,
    "a percent-encoded path": HEAD.replace(b"/v1/messages", b"/v1/%6dessage%73") + SIZED + b"\r\n" + GOOD,
    "a field value of high bytes": HEAD + b"x-one: \xe9\xff\r\n" + SIZED + b"\r\n" + GOOD,
    "HTTP/1.0": HEAD.replace(b"1.1", b"1.0", 1) + SIZED + b"\r\n" + GOOD,
    "HTTP/1.0 without a host": b"POST /v1/messages HTTP/1.0\r\n" + KEY + SIZED + b"\r\n" + GOOD,
    "an upgrade to h2c": HEAD
    + b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
    + SIZED
    + b"\r\n"
    + GOOD,
    "an upgrade to h2c in chunks": HEAD
    + b"connection: upgrade\r\nupgrade: h2c\r\n"
    + CHUNKED
    + b"\r\n"
    + CHUNKS,
    "an expectation nobody knows": HEAD + b"expect: 200-maybe\r\n" + SIZED + b"\r\n" + GOOD,
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_a_lawful_request_is_served_however_it_is_spelled(sides: TwoSides, data: bytes) -> None:
    answer, rest = exchange(sides, data)
    assert (answer.status, rest) == (200, b"")
    assert sides.upstream.requests[-1].json["messages"] == [{"role": "user", "content": "hello there"}]


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_a_request_may_arrive_in_pieces_of_any_size(sides: TwoSides, data: bytes) -> None:
    step = max(1, len(data) // 23)
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    answer, rest = exchange(sides, *pieces, gap_s=0.001)
    assert (answer.status, rest) == (200, b"")


def test_requests_sent_together_are_answered_in_order(sides: TwoSides) -> None:
    with RawClient(sides.port) as client:
        client.send(
            request("POST", "/v1/messages", LIVE, body=GOOD)
            + request("GET", "/healthz")
            + request("HEAD", "/")
            + request("GET", "/nowhere")
            + request("POST", "/v1/messages", body=GOOD)
            + request("POST", "/v1/messages", LIVE, body=b"{}")
            + request("POST", "/v1/messages", LIVE, "connection: close", body=GOOD)
        )
        methods = ("POST", "GET", "HEAD", "GET", "POST", "POST", "POST")
        assert [client.answer(method).status for method in methods] == [200, 200, 200, 404, 401, 400, 200]
        assert client.closed_by_server


def test_more_requests_together_than_are_held_are_all_answered(sides: TwoSides) -> None:
    with RawClient(sides.port) as client:
        client.send(request("POST", "/v1/messages", LIVE, body=GOOD) + request("GET", "/healthz") * 100)
        assert [client.answer().status for _ in range(101)] == [200] * 101


def test_a_fault_behind_a_good_request_does_not_spoil_its_answer(sides: TwoSides) -> None:
    answer, rest = exchange(sides, request("POST", "/v1/messages", LIVE, body=GOOD) + b"\x00\x00\r\n\r\n")
    assert answer.status == 200
    assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")


def test_nothing_is_answered_after_connection_close(sides: TwoSides) -> None:
    answer, rest = exchange(
        sides, request("GET", "/healthz", "connection: close") + request("GET", "/healthz")
    )
    assert (answer.status, answer.header("connection"), rest) == (200, "close", b"")


def test_http_1_0_closes_after_its_answer_and_gets_no_chunks(sides: TwoSides) -> None:
    body = message("mapped-model", stream=True)
    head = HEAD.replace(b"1.1", b"1.0", 1) + b"content-length: %d\r\n\r\n" % len(body)
    with RawClient(sides.port) as client:
        client.send(head + body)
        answer = client.answer()
        assert "transfer-encoding" not in answer.names and answer.header("connection") == "close"
        assert answer.body.startswith(b"event: message_start\n")
        assert answer.body.endswith(b'data: {"type":"message_stop"}\n\n')


def test_expect_100_continue_asks_for_the_body_only_when_it_is_wanted(sides: TwoSides) -> None:
    expecting = b"expect: 100-Continue\r\n"
    with RawClient(sides.port) as client:
        client.send(HEAD + expecting + SIZED + b"\r\n")
        assert client.answer().status == 100
        client.send(GOOD)
        assert client.answer().status == 200
        client.send(b"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\n" + expecting + SIZED + b"\r\n")
        refused = client.answer()
        assert (refused.status, refused.header("connection")) == (401, "close")
        assert client.closed_by_server


def test_trailers_change_nothing(sides: TwoSides) -> None:
    trailers = (
        b"x-api-key: nobody\r\nauthorization: Bearer nobody\r\ncontent-encoding: gzip\r\n"
        b"anthropic-beta: smuggled\r\nanthropic-version: 1999-01-01\r\nhost: other\r\n"
    )
    with RawClient(sides.port) as client:
        client.send(HEAD + CHUNKED + b"trailer: x-api-key\r\n\r\n" + CHUNKS[:-2] + trailers + b"\r\n")
        assert client.answer().status == 200
        seen = sides.upstream.requests[-1]
        assert (seen.header("anthropic-version"), seen.header("anthropic-beta")) == ("2023-06-01", None)
        client.send(request("GET", "/healthz"))
        assert client.answer().status == 200


@pytest.mark.parametrize("key", [KEY, b""], ids=["with a key", "without a key"])
@pytest.mark.parametrize(
    ("start", "more"),
    [(b"0\r\n", b"x-trailer: 1\r\n"), (b"0\r\nx-trailer: ", b"a"), (b"5;ext=", b"a")],
    ids=["many trailers", "a trailer without end", "an extension without end"],
)
def test_a_flood_in_the_framing_of_a_body_is_cut_off(
    sides: TwoSides, key: bytes, start: bytes, more: bytes
) -> None:
    piece = more * 1000
    with RawClient(sides.port) as client:
        client.send(b"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\n" + key + CHUNKED + b"\r\n" + start)
        # Sending fails once the gateway has closed; without a bound it never would.
        client.socket.settimeout(0.2)
        sent, answered, deadline_s = 0, b"", time.monotonic() + 5
        while time.monotonic() < deadline_s and b"HTTP/1.1 431" not in answered:
            try:
                client.socket.sendall(piece)
                sent += len(piece)
                client.socket.settimeout(0.005)
                received = client.socket.recv(65536)
                answered += received
                if not received:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
            finally:
                client.socket.settimeout(0.2)
        else:
            assert b"HTTP/1.1 431" in answered, f"still reading after {sent} bytes"
        assert sent < 4_000_000
        assert answered.count(b"HTTP/1.1 ") == 1
        assert answered.startswith(b"HTTP/1.1 431" if key else b"HTTP/1.1 401")


@pytest.mark.parametrize("size", [60_000, 65_000])
def test_headers_within_the_limit_pass_however_they_are_cut(sides: TwoSides, size: int) -> None:
    head = (
        HEAD
        + b"x-one: "
        + b"a" * (size // 2)
        + b"\r\nx-two: "
        + b"b" * (size // 2 - 200)
        + b"\r\n"
        + SIZED
        + b"\r\n"
    )
    third = len(head) // 3
    for pieces in ((head + GOOD,), (head[:third], head[third : 2 * third], head[2 * third :] + GOOD)):
        answer, _ = exchange(sides, *pieces, gap_s=0.02)
        assert answer.status == 200


@pytest.mark.parametrize(
    "endless",
    [
        HEAD + b"x-one: " + b"a" * 70_000,
        HEAD + b"x-" + b"a" * 70_000,
        HEAD + b"x: y\r\n" * 12_000,
        b"POST /v1/messages?" + b"a" * 70_000,
        b"\r\n" * 40_000,
    ],
    ids=["a value", "a name", "fields", "a target", "empty lines"],
)
def test_a_head_without_end_is_a_431_as_soon_as_it_is_too_long(sides: TwoSides, endless: bytes) -> None:
    with RawClient(sides.port, timeout_s=5.0) as client:
        client.send(endless)
        answer = client.answer()
        assert (answer.status, answer.header("connection")) == (431, "close")
        assert client.closed_by_server


TRUST = {
    "a forwarded client": ("x-forwarded-for: 127.0.0.1", "forwarded: for=127.0.0.1", "x-real-ip: 127.0.0.1"),
    "another host": ("x-forwarded-host: admin", "x-forwarded-proto: https", "x-forwarded-prefix: /admin"),
    "another path": ("x-original-url: /healthz", "x-rewrite-url: /healthz", "x-forwarded-path: /healthz"),
    "another method": ("x-http-method-override: GET", "x-method-override: GET", "x-http-method: GET"),
    "a user": (
        "x-forwarded-user: ana",
        "x-remote-user: ana",
        "remote-user: ana",
        "x-authenticated-user: ana",
    ),
    "a client certificate": ("x-ssl-client-verify: SUCCESS", "x-forwarded-client-cert: Subject=ana"),
    "an org of ours": ("x-triptych-org: acme", "x-org-id: acme", "x-triptych-environment: live"),
}


@pytest.mark.parametrize("fields", TRUST.values(), ids=TRUST)
def test_no_header_of_a_proxy_changes_a_decision(sides: TwoSides, fields: tuple[str, ...]) -> None:
    refused, plain = sides.ask(*fields), sides.ask()
    assert (refused.status, refused.normalised) == (plain.status, plain.normalised) == (401, plain.normalised)
    served = sides.ask(LIVE, *fields)
    assert served.status == 200
    forwarded = {name for name, _ in sides.upstream.requests[-1].headers}
    assert forwarded.isdisjoint(field.partition(":")[0] for field in fields)
    missing = sides.ask(*fields, method="GET", target="/nowhere")
    assert missing.status == 404


def test_the_query_is_forwarded_and_cannot_leave_its_line(sides: TwoSides) -> None:
    for written, forwarded in (
        ("beta=true", "beta=true"),
        ("a=1&a=2&b=%0d%0aX-Evil:%201", "a=1&a=2&b=%0d%0aX-Evil:%201"),
        ("%00%zz", "%00%zz"),
        ("a?b/c:d@e", "a?b/c:d@e"),
    ):
        answer = sides.ask(LIVE, target=f"/v1/messages?{written}")
        assert answer.status == 200
        seen = sides.upstream.requests[-1]
        assert seen.target == f"/v1/messages?{forwarded}"
        assert seen.header("x-evil") is None


@pytest.mark.parametrize("written", [
    f"api_key={LIVE_KEY}", f"KEY=another-{LIVE_KEY[::-1]}", f"x={LIVE_KEY}", f"x=Bearer%20{LIVE_KEY}",
    LIVE_KEY, f"x={LIVE_KEY}".replace("acme", "%61cme"), "access%5Ftoken=t",
])  # fmt: skip
@pytest.mark.parametrize("field", [f"x-api-key: {LIVE_KEY}", f"authorization: Bearer {LIVE_KEY}"])
def test_a_key_in_the_query_goes_no_further(sides: TwoSides, written: str, field: str) -> None:
    for query, forwarded in ((f"beta=true&{written}&a=%20%2F&&b", "?beta=true&a=%20%2F&&b"), (written, "")):
        assert sides.ask(field, target=f"/v1/messages?{query}").status == 200
        assert sides.upstream.requests[-1].target == f"/v1/messages{forwarded}"


def test_a_path_that_decodes_to_control_characters_stays_text(sides: TwoSides) -> None:
    answer = sides.ask(LIVE, target="/v1/%00%0d%0ax-evil:%201%ff", body=GOOD)
    assert answer.status == 404 and "x-evil" not in answer.names
    assert b"POST /v1/\\u0000\\r\\nx-evil: 1\xef\xbf\xbd" in answer.body
