"""The framing without sockets: every split of every answer."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.upstreams.raw import OK, chunked, sized
from triptych.core.failure import Failure, FailureKind
from triptych.upstreams.http1_connection import Connection, HttpAnswer

MAX_HEAD_BYTES = 65536


class FakeTransport:
    """The few calls a connection makes to its socket."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.pauses: list[str] = []

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        self.written += b"".join(pieces)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        assert not self.closing
        self.pauses.append("pause")

    def resume_reading(self) -> None:
        assert not self.closing
        self.pauses.append("resume")


class Owner:
    def __init__(self) -> None:
        self.free: list[Connection] = []

    def opened(self, connection: Connection) -> None:
        pass

    def released(self, connection: Connection) -> None:
        self.free.append(connection)

    def lost(self, connection: Connection) -> None:
        pass


class Line:
    """A connection under test, its fake socket and its owner."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.socket = FakeTransport()
        self.owner = Owner()
        self.connection = Connection(self.owner, loop, MAX_HEAD_BYTES)
        self.connection.connection_made(self.socket)  # type: ignore[arg-type]

    def send(self) -> HttpAnswer:
        return self.connection.send(b"POST / HTTP/1.1\r\n", b"{}", head_limit_s=1e9, deadline_s=1e9)

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.socket.closing:
                self.connection.data_received(piece)

    def all_of(self, answer: HttpAnswer) -> bytes:
        async def read() -> bytes:
            received = b""
            while data := await answer.read():
                received += data
            return received

        return self.loop.run_until_complete(read())


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def line(loop: asyncio.AbstractEventLoop) -> Line:
    return Line(loop)


WHOLE = [
    sized(b"hello", b"X-Name:  value \t", b"x-empty:"),
    chunked(b"he", b"llo"),
    chunked(b"hello", trailers=b"x-t: 1\r\n"),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\n" + sized(b"hello"),
]


def test_a_request_is_head_length_and_body_in_one_write(line: Line) -> None:
    line.send()
    assert line.socket.written == b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize("whole", WHOLE)
def test_every_split_gives_the_same_answer_and_a_reusable_connection(
    loop: asyncio.AbstractEventLoop, whole: bytes
) -> None:
    line = Line(loop)
    splits: list[tuple[bytes, ...]] = [(whole[:at], whole[at:]) for at in range(1, len(whole))]
    splits.append(tuple(whole[at : at + 1] for at in range(len(whole))))
    for pieces in splits:
        answer = line.send()
        line.feed(*pieces)
        assert answer.status == 200
        assert line.all_of(answer) == b"hello"
        assert line.owner.free.pop() is line.connection
        assert not line.socket.closing


def test_header_names_are_lower_case_and_values_bare(line: Line) -> None:
    answer = line.send()
    line.feed(WHOLE[0])
    assert list(answer.headers)[:2] == [(b"x-name", b"value"), (b"x-empty", b"")]


@pytest.mark.parametrize(
    ("status", "fields"), [(204, b""), (304, b"content-length: 5\r\n"), (200, b"content-length: 0\r\n")]
)
def test_answers_that_cannot_have_a_body_are_complete_with_the_head(
    line: Line, status: int, fields: bytes
) -> None:
    answer = line.send()
    line.feed(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, fields))
    assert line.all_of(answer) == b""
    assert line.owner.free


@pytest.mark.parametrize(
    "bad",
    [
        b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"transfer-encoding: gzip\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        OK + b"a: b\r\n folded\r\ncontent-length: 0\r\n\r\n",
        OK.replace(b"\r\n", b"\n") + b"content-length: 0\n\n",
        OK + b"x: " + b"a" * MAX_HEAD_BYTES + b"\r\ncontent-length: 2\r\n\r\nok",
        OK + b"x: y\r\n" * (MAX_HEAD_BYTES // 6 + 1) + b"content-length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 4000,
    ],
)
@pytest.mark.parametrize("piece_bytes", [1_000_000, 16_000])
def test_a_head_that_is_none_is_an_invalid_response(line: Line, bad: bytes, piece_bytes: int) -> None:
    answer = line.send()
    line.feed(*(bad[at : at + piece_bytes] for at in range(0, len(bad), piece_bytes)))
    assert line.loop.run_until_complete(answer.head()) is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert line.socket.closing
    assert not line.owner.free


def test_a_head_of_just_the_limit_is_accepted(line: Line) -> None:
    answer = line.send()
    line.feed(OK + b"x: " + b"a" * (MAX_HEAD_BYTES - 100) + b"\r\ncontent-length: 2\r\n\r\nok")
    assert line.all_of(answer) == b"ok"


@pytest.mark.parametrize("endless", [b"x-trailer: " + b"a" * 200_000, b"0" * 200_000, b"1;" + b"e" * 200_000])
def test_framing_without_a_body_is_bounded(line: Line, endless: bytes) -> None:
    answer = line.send()
    start = b"0\r\n" if endless.startswith(b"x-") else b""
    line.feed(OK + b"transfer-encoding: chunked\r\n\r\n" + start)
    line.feed(*(endless[at : at + 16_384] for at in range(0, len(endless), 16_384)))
    assert line.socket.closing
    with pytest.raises(Failure) as caught:
        line.all_of(answer)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_a_broken_chunk_is_an_invalid_response_after_what_came(line: Line) -> None:
    answer = line.send()
    line.feed(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n")
    assert line.loop.run_until_complete(answer.read()) == b"ok"
    with pytest.raises(Failure) as caught:
        line.all_of(answer)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_reading_pauses_above_the_bound_and_goes_on_below(line: Line) -> None:
    answer = line.send()
    line.feed(OK + b"content-length: 1000000\r\n\r\n")
    line.feed(b"x" * 200_000)
    assert line.socket.pauses == []
    line.feed(b"x" * 100_000)
    assert line.socket.pauses == ["pause"]
    assert len(line.loop.run_until_complete(answer.read())) == 300_000
    assert line.socket.pauses == ["pause", "resume"]


def test_a_pause_ends_with_the_answer(line: Line) -> None:
    answer = line.send()
    line.feed(OK + b"content-length: 600000\r\n\r\n", b"x" * 300_000, b"x" * 300_000)
    assert line.socket.pauses == ["pause", "resume"]
    assert len(line.all_of(answer)) == 600_000


def test_the_end_of_an_unframed_body_is_its_end_but_a_reset_is_not(loop: asyncio.AbstractEventLoop) -> None:
    for error in (None, ConnectionResetError()):
        line = Line(loop)
        answer = line.send()
        line.feed(OK + b"\r\nhello")
        line.connection.connection_lost(error)
        if error is None:
            assert line.all_of(answer) == b"hello"
        else:
            assert loop.run_until_complete(answer.read()) == b"hello"
            with pytest.raises(Failure) as caught:
                line.all_of(answer)
            assert caught.value.__cause__ is error
