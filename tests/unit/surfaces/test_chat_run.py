"""A run tells its caller that it lives, and stops telling when it is over."""

import asyncio

import pytest

from tests.devices.in_loop import in_loop
from tests.unit.surfaces.test_messages_dialect import exchange
from triptych.core.call import Headers
from triptych.core.response import Response
from triptych.core.target import Model, Target
from triptych.surfaces.clinical import run as run_module
from triptych.surfaces.clinical.run import ChatReply, Run
from triptych.wires import native


class Heard:
    """A reply that keeps what it was told."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.starts = 0
        self.disconnected = False

    @property
    def started(self) -> bool:
        return bool(self.pieces)

    @property
    def bytes_out(self) -> int:
        return sum(map(len, self.pieces))

    def start(self, status: int, headers: Headers) -> None:
        self.starts += 1

    def write(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def respond(self, response: Response) -> None:
        raise AssertionError("a stream was begun")

    def finish(self, piece: bytes = b"") -> None:
        self.pieces.append(piece)

    def abort(self) -> None:
        raise AssertionError("nothing went wrong")


def begun(heard: Heard, body: bytes = b'{"message":"hi"}') -> Run:
    one = exchange(b"{}")
    one.model, one.target = Model("m", (Target("p", "m"),)), Target("p", "m")
    reply = ChatReply(heard)
    made = Run(one, reply, lambda: "E")
    made.asked = native.parse_request(body)
    made.announce()
    made.begin()
    reply.start(200, ())
    return made


@in_loop
async def test_a_quiet_stream_is_kept_alive_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "PING_S", 0.01)
    heard = Heard()
    run = begun(heard)
    async with asyncio.timeout(30):
        while heard.pieces.count(b": ping\n\n") < 3:
            await asyncio.sleep(0.01)
    run.close()
    said = len(heard.pieces)
    await asyncio.sleep(0.05)
    assert len(heard.pieces) == said
    assert [piece.split(b"\n")[0] for piece in heard.pieces[:2]] == [
        b"event: run.created",
        b"event: run.started",
    ]
    assert heard.starts == 1


@in_loop
async def test_a_comment_comes_when_nothing_was_said_for_fifteen_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever was said since the last comment: the silence is counted from the last word."""
    waits: list[float] = []
    clock = [1_000.0]
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(run_module, "monotonic", lambda: clock[0])
    monkeypatch.setattr(
        loop, "call_later", lambda delay_s, call: waits.append(delay_s) or loop.call_soon(str)
    )
    heard = Heard()
    run = begun(heard)
    assert waits == [15.0]
    clock[0] += 4.0
    run._reply.write(b"event: message.delta\n\n")
    clock[0] += 11.0
    run._ping()
    assert b": ping\n\n" not in heard.pieces
    assert waits.pop() == 4.0
    clock[0] += 4.0
    run._ping()
    assert heard.pieces[-1] == b": ping\n\n"
    assert waits.pop() == 15.0


@in_loop
async def test_a_plain_answer_tells_nothing_on_the_way() -> None:
    heard = Heard()
    run = begun(heard, b'{"message":"hi","stream":false}')
    assert (run.events, heard.pieces) == (None, [])
