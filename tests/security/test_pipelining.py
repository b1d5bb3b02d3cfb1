"""Requests sent one behind the other without waiting: answered in order, and no way to fill the memory."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.caller import rss_bytes
from tests.devices.gateway import LIVE_KEY, Gateway, message
from tests.devices.speaker import ask

ALIVE = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
MOST_GROWTH_BYTES = 30 << 20


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as running:
        yield running


def connect(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=60)


def test_many_at_once_are_all_answered_in_their_order(gateway: Gateway) -> None:
    count = 2_000
    body = message("sandbox-echo")
    posted = b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: nobody\r\ncontent-length: %d\r\n\r\n%b"
    sent = b"".join(
        b"GET /nowhere-%05d HTTP/1.1\r\nhost: a\r\n\r\n" % number + posted % (len(body), body) + ALIVE
        for number in range(count)
    )
    with connect(gateway) as client:
        writing = threading.Thread(
            target=client.sendall, args=(sent + ALIVE.replace(b"host: a", b"host: a\r\nconnection: close"),)
        )
        writing.start()
        answers = b""
        while piece := client.recv(1 << 20):
            answers += piece
        writing.join()
    statuses = [answer[:3] for answer in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"404", b"401", b"200"] * count + [b"200"]
    places = [answers.index(b"/nowhere-%05d" % number) for number in range(0, count, 97)]
    assert places == sorted(places)


@pytest.mark.parametrize("key", [None, LIVE_KEY], ids=["a stranger", "a caller"])
def test_who_sends_and_never_reads_is_not_read_any_more(gateway: Gateway, key: str | None) -> None:
    assert ask(gateway.port, method="GET", path="/v1/models").status == 200
    before = rss_bytes(gateway)
    one = ALIVE
    if key is not None:
        one = b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: %b\r\n\r\n" % key.encode()
    batch, stuck = one * 1_000, 0
    with connect(gateway) as client:
        client.settimeout(1.0)
        limit_s = time.monotonic() + 60
        while stuck < 3:
            assert time.monotonic() < limit_s, "it reads on and on"
            try:
                client.send(batch)
                stuck = 0
            except TimeoutError:
                stuck += 1
        assert rss_bytes(gateway) - before < MOST_GROWTH_BYTES
        assert ask(gateway.port, method="GET", path="/healthz").status == 200
        # Nothing is lost meanwhile: who reads at last gets his answers.
        client.settimeout(30)
        assert b"HTTP/1.1 200 OK" in client.recv(1 << 20)


def test_who_reads_is_answered_while_he_sends_more_than_waits(gateway: Gateway) -> None:
    before, seen = rss_bytes(gateway), 0
    with connect(gateway) as client:
        writing = threading.Thread(target=client.sendall, args=(ALIVE * 60_000,))
        writing.start()
        most = before
        while seen < 60_000:
            piece = client.recv(1 << 20)
            assert piece
            # The end of an answer: one may be cut in two by a read, its last byte may not.
            seen += piece.count(b"}")
            most = max(most, rss_bytes(gateway))
        writing.join()
    assert most - before < MOST_GROWTH_BYTES


def test_what_makes_no_sense_behind_answers_that_wait_gets_no_answer_of_its_own(gateway: Gateway) -> None:
    with connect(gateway) as client:
        client.sendall(ALIVE * 4 + b"no such thing\r\n\r\n")
        answers = b""
        while piece := client.recv(1 << 16):
            answers += piece
    assert answers.count(b"HTTP/1.1 ") == answers.count(b"HTTP/1.1 200") <= 4
