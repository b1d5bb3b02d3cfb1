"""The wire to Redis: whole replies out of any pieces, and a connection that ends when it must."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.indexes import needed_redis_url, own_prefix
from triptych.storage.limits.redis_link import LinkLostError, RedisLink, ReplyError, _answers, _Wire

REPLIES = b"$5\r\nh\r\nlo\r\n:42\r\n+OK\r\n$-1\r\n$0\r\n\r\n-ERR no\r\n"


@given(st.lists(st.integers(0, len(REPLIES)), max_size=8))
def test_replies_are_whole_however_they_are_cut(cuts: list[int]) -> None:
    wire, told = _Wire(lambda reason: None), []
    wire.transport = Transport()  # type: ignore[assignment]
    wire.ask(b"?", 6, told.append)
    places = [0, *sorted(cuts), len(REPLIES)]
    for start, end in pairwise(places):
        wire.data_received(REPLIES[start:end])
    (replies,) = told
    assert replies[:5] == [b"h\r\nlo", 42, b"OK", None, b""]
    assert isinstance(replies[5], ReplyError) and str(replies[5]) == "ERR no"


class Transport:
    def __init__(self) -> None:
        self.aborted = False

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("noise", [b"HTTP/1.1 400\r\n", b"$x\r\n", b"*1\r\n:1\r\n", b"$99999999999\r\n"])
def test_noise_ends_the_connection_and_the_question(noise: bytes) -> None:
    wire, told, transport = _Wire(lambda reason: None), [], Transport()
    wire.transport = transport  # type: ignore[assignment]
    wire.ask(b"?", 1, told.append)
    wire.data_received(noise)
    assert transport.aborted
    assert [type(reason) for reason in told] == [LinkLostError]
    wire.ask(b"?", 1, told.append)
    assert [type(reason) for reason in told] == [LinkLostError] * 2


def test_a_connection_that_ends_unasked_is_told_of_once() -> None:
    lost: list[LinkLostError] = []
    wire = _Wire(lost.append)
    wire.transport = Transport()  # type: ignore[assignment]
    wire.connection_lost(None)
    wire.connection_lost(None)
    assert len(lost) == 1


async def answers(link: RedisLink, *calls: tuple[bytes, bytes, bytes, bytes]) -> Any:
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    link.run(calls, told.set_result)
    return await told


@pytest.mark.redis
def test_a_call_the_script_cannot_read_costs_itself_only() -> None:
    async def story() -> None:
        link = RedisLink(needed_redis_url(), timeout_s=2)
        await link.connect()
        prefix = own_prefix().encode()
        good = (prefix, b"1000", b"\x91\x91\xa6forget", b"0", b"0")
        bad = (prefix, b"1000", b"\x93\x01\x02\x03", b"0", b"0")
        told = await answers(link, good, bad, good)
        assert [answer is None for answer in told] == [False, True, False]
        link.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    "refusal",
    [
        "NOSCRIPT No matching script.",
        "READONLY You can't write against a read only replica. script: 0, on @user_script:1.",
        "OOM command not allowed when used memory > 'maxmemory'. script: 0, on @user_script:1.",
        "BUSY Redis is busy running a script.",
        "LOADING Redis is loading the dataset in memory",
    ],
)
def test_a_server_that_refuses_is_as_good_as_away(refusal: str) -> None:
    assert isinstance(_answers([b"good", ReplyError(refusal)]), LinkLostError)


@pytest.mark.redis
def test_a_wrong_password_and_a_database_that_is_not_there_are_refused() -> None:
    base = needed_redis_url().rpartition("@")[2].removeprefix("redis://").partition("/")[0]
    for url in (f"redis://nobody:wrong-password@{base}/0", f"redis://{base}/99999"):
        with pytest.raises(LinkLostError, match="was refused") as caught:
            asyncio.run(RedisLink(url, timeout_s=2).connect())
        assert "wrong-password" not in str(caught.value)
