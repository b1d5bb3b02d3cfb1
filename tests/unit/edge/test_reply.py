"""How an answer is framed."""

import asyncio

import pytest

from triptych.core.response import Response
from triptych.edge.message import Request
from triptych.edge.reply import Reply, encode_head


class Transport:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def abort(self) -> None:
        self.aborted = True

    @property
    def sent(self) -> bytes:
        return b"".join(self.writes)


class Connection:
    def __init__(self) -> None:
        self.transport = Transport()
        self.disconnected = False
        self.finished: list[Request] = []

    def blocked(self) -> asyncio.Future[None] | None:
        return None

    def answered(self, request: Request) -> None:
        self.finished.append(request)


def reply(
    method: bytes = b"POST", *, keep_alive: bool = True, version_10: bool = False
) -> tuple[Reply, Connection]:
    request = Request("peer")
    request.method, request.keep_alive, request.version_10 = method, keep_alive, version_10
    connection = Connection()
    return Reply(connection, request), connection  # type: ignore[arg-type]


def split(data: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return [line for line in head.split(b"\r\n") if not line.startswith(b"date: ")], body


def test_a_whole_answer_is_one_write_with_its_length() -> None:
    made, connection = reply()
    made.respond(Response(200, ((b"x-a", b"1"),), b"body"))
    assert len(connection.transport.writes) == 1
    assert split(connection.transport.sent) == (
        [b"HTTP/1.1 200 OK", b"x-a: 1", b"content-length: 4"],
        b"body",
    )
    assert (made.complete, made.bytes_out, len(connection.finished)) == (True, 4, 1)


def test_what_has_no_content_by_its_status_has_no_length() -> None:
    made, connection = reply(b"DELETE")
    made.respond(Response(204, ((b"x-a", b"1"),), b""))
    assert split(connection.transport.sent) == ([b"HTTP/1.1 204 No Content", b"x-a: 1"], b"")


def test_a_big_body_is_not_copied_behind_its_head() -> None:
    made, connection = reply()
    body = bytes(100_000)
    made.respond(Response(200, (), body))
    assert connection.transport.writes[1] is body


def test_a_head_request_gets_the_length_and_no_body() -> None:
    made, connection = reply(b"HEAD")
    made.respond(Response(404, (), b"body"))
    assert split(connection.transport.sent) == ([b"HTTP/1.1 404 Not Found", b"content-length: 4"], b"")
    assert made.bytes_out == 0


def test_a_connection_that_will_close_says_so() -> None:
    made, connection = reply(keep_alive=False)
    made.respond(Response(200, (), b""))
    assert split(connection.transport.sent)[0][-1] == b"connection: close"


def test_the_head_of_a_stream_leaves_with_its_first_piece() -> None:
    made, connection = reply()
    made.start(200, ((b"x-a", b"1"),))
    assert connection.transport.writes == [] and not made.started
    made.write(b"first")
    assert made.started
    made.write(b"")
    made.write(b"second piece!!!!")
    made.finish(b"last")
    head, body = split(connection.transport.sent)
    assert head == [b"HTTP/1.1 200 OK", b"x-a: 1", b"transfer-encoding: chunked"]
    assert body == b"5\r\nfirst\r\n10\r\nsecond piece!!!!\r\n4\r\nlast\r\n0\r\n\r\n"
    assert (made.bytes_out, len(connection.finished)) == (25, 1)


def test_a_stream_without_a_last_piece_still_ends() -> None:
    made, connection = reply()
    made.start(200, ())
    made.finish()
    assert split(connection.transport.sent)[1] == b"0\r\n\r\n"


def test_a_stream_to_http_1_0_ends_with_its_connection() -> None:
    made, connection = reply(version_10=True)
    made.start(200, ())
    made.write(b"first")
    made.finish(b"last")
    assert split(connection.transport.sent) == ([b"HTTP/1.1 200 OK", b"connection: close"], b"firstlast")
    assert not connection.finished[0].keep_alive


def test_a_client_of_http_1_0_is_told_that_the_connection_stays() -> None:
    made, connection = reply(version_10=True)
    made.respond(Response(200, (), b"body"))
    assert split(connection.transport.sent)[0] == [
        b"HTTP/1.1 200 OK",
        b"content-length: 4",
        b"connection: keep-alive",
    ]


def test_an_aborted_answer_is_cut_and_not_ended() -> None:
    made, connection = reply()
    made.start(200, ())
    made.write(b"first")
    made.abort()
    assert connection.transport.aborted and made.complete
    assert not connection.transport.sent.endswith(b"0\r\n\r\n") and connection.finished == []


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, b"OK"), (431, b"Request Header Fields Too Large"), (529, b"Overloaded"), (599, b"Status")],
)
def test_every_status_has_a_reason(status: int, line: bytes) -> None:
    assert encode_head(status, (), b"").startswith(b"HTTP/1.1 %d %b\r\ndate: " % (status, line))
