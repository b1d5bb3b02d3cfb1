"""What passes an answer on from within the event loop's call promises: the same bytes as reading it."""

import asyncio

import pytest

from tests.devices import messages_wire as wire
from tests.devices.faulty_upstream import FaultyUpstream
from tests.upstreams.conftest import Clients, call_of, failure_of, until
from tests.upstreams.raw import OK, chunked, raw, sized
from triptych.core.call import UpstreamAnswer, pass_on
from triptych.core.failure import FailureKind

pytestmark = pytest.mark.anyio

CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@pytest.fixture(params=["triptych-uvloop", "triptych-asyncio"])
def client_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Taken:
    """The pieces that were handed on; ``last`` is the one after which no more is wanted for now."""

    def __init__(self, last: bytes | None = None) -> None:
        self.pieces: list[bytes] = []
        self._last = last

    def __call__(self, piece: bytes) -> bool:
        self.pieces.append(piece)
        return piece == self._last


async def pushed(answer: UpstreamAnswer) -> list[bytes]:
    taken = Taken()
    assert await pass_on(answer, taken) is False
    return taken.pieces


async def test_a_stream_is_handed_on_event_by_event(clients: Clients, device: FaultyUpstream) -> None:
    answer = await clients.upstream(device.base_url).call(call_of("fault-ok_stream:6:10", stream=True))
    pieces = await pushed(answer)
    assert b"".join(pieces) == wire.stream(6, "fault-ok_stream:6:10")
    assert len(pieces) >= 6


async def test_no_task_is_woken_for_a_piece(clients: Clients, device: FaultyUpstream) -> None:
    device.enqueue(raw(CHUNKED, b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n", gap_s=0.05))
    answer = await clients.upstream(device.base_url).call(call_of())
    tasks: list[asyncio.Task[object] | None] = []

    def take(piece: bytes) -> bool:
        tasks.append(asyncio.current_task())
        return False

    assert await pass_on(answer, take) is False
    assert tasks == [None, None]


async def test_what_came_before_it_is_handed_on_first(clients: Clients, device: FaultyUpstream) -> None:
    device.enqueue(raw(sized(b"hello")))
    answer = await clients.upstream(device.base_url).call(call_of())
    await asyncio.sleep(0.05)
    assert b"".join(await pushed(answer)) == b"hello"
    assert await pushed(answer) == []


async def test_whoever_has_had_enough_reads_the_rest_later(clients: Clients, device: FaultyUpstream) -> None:
    device.enqueue(raw(CHUNKED, b"3\r\none\r\n", b"3\r\ntwo\r\n", b"5\r\nthree\r\n0\r\n\r\n", gap_s=0.05))
    answer = await clients.upstream(device.base_url).call(call_of())
    taken = Taken(last=b"two")
    assert await pass_on(answer, taken) is True
    await asyncio.sleep(0.15)
    assert taken.pieces == [b"one", b"two"]
    assert await pushed(answer) == [b"three"]


async def test_what_the_taker_raises_is_raised_where_it_is_waited_for(
    clients: Clients, device: FaultyUpstream
) -> None:
    device.enqueue(raw(CHUNKED, b"3\r\none\r\n", b"3\r\ntwo\r\n", gap_s=0.05, then="hang"))
    answer = await clients.upstream(device.base_url).call(call_of())

    def take(piece: bytes) -> bool:
        if piece == b"two":
            raise ValueError(piece)
        return False

    with pytest.raises(ValueError, match="two"):
        await pass_on(answer, take)
    answer.close()


async def test_a_broken_answer_hands_on_what_came_of_it(clients: Clients, device: FaultyUpstream) -> None:
    device.enqueue(raw(CHUNKED, b"3\r\none\r\n", b"3\r\ntwo\r\n", gap_s=0.02, then="close"))
    answer = await clients.upstream(device.base_url).call(call_of())
    taken = Taken()
    assert await failure_of(pass_on(answer, taken)) is FailureKind.UPSTREAM_INTERRUPTED
    assert b"".join(taken.pieces) == b"onetwo"


async def test_framing_that_breaks_is_told_after_the_pieces(clients: Clients, device: FaultyUpstream) -> None:
    device.enqueue(raw(CHUNKED, b"3\r\none\r\n", b"nonsense\r\n", gap_s=0.02, then="hang"))
    answer = await clients.upstream(device.base_url).call(call_of())
    taken = Taken()
    assert await failure_of(pass_on(answer, taken)) is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert taken.pieces == [b"one"]


async def test_a_cancelled_push_closes_the_connection_and_hands_on_nothing_more(
    clients: Clients, device: FaultyUpstream
) -> None:
    device.enqueue(raw(CHUNKED, *[b"3\r\none\r\n"] * 40, gap_s=0.02, then="hang"))
    answer = await clients.upstream(device.base_url).call(call_of())
    taken = Taken()
    pushing = asyncio.create_task(pass_on(answer, taken))
    await until(lambda: len(taken.pieces) >= 2)
    pushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pushing
    seen = len(taken.pieces)
    await asyncio.sleep(0.1)
    assert len(taken.pieces) == seen


@pytest.mark.parametrize("body", [chunked(b"he", b"l", b"lo"), sized(b"hello")])
async def test_every_framing_gives_the_same_body(
    clients: Clients, device: FaultyUpstream, body: bytes
) -> None:
    device.enqueue(raw(*(bytes([byte]) for byte in body), gap_s=0.001))
    answer = await clients.upstream(device.base_url).call(call_of())
    assert b"".join(await pushed(answer)) == b"hello"
