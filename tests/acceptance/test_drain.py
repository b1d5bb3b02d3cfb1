"""SIGTERM and SIGINT: what runs is finished or told why not, what is new is turned away, and every row
has its end before the process is gone with code 0."""

import http.client
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.devices import messages_wire as wire
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import LIVE_KEY, ORG, Gateway, message, provider
from tests.devices.speaker import ask

SLOW = "fault-ok_stream:30:50"  # 1.5 s and a little
STALLED = "fault-stream_stalls"
MUTE = "fault-hang_before_head"
FIRST_LINE = b"event: message_start\n"
KEY = {"x-api-key": LIVE_KEY}


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultyUpstream]:
    with FaultyUpstream() as device:
        yield device


def serve(upstream: FaultyUpstream, server: str = "drain_timeout_s = 10") -> Gateway:
    return Gateway(ORG + provider(upstream.base_url, SLOW, STALLED, MUTE, "m"), server=server)


class Clients:
    """Connections that are closed when the test is over."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def connect(self, gateway: Gateway) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        self._open.callback(connection.close)
        return connection

    def ask(self, gateway: Gateway, body: bytes, path: str = "/v1/messages") -> http.client.HTTPConnection:
        """A new connection with a request on it."""
        connection = self.connect(gateway)
        connection.request("POST", path, body, KEY)
        return connection

    def begin(self, gateway: Gateway, model: str) -> http.client.HTTPResponse:
        """A stream of which the first line has come."""
        answer = self.ask(gateway, message(model, stream=True)).getresponse()
        self._open.callback(answer.close)
        assert answer.status == 200
        assert answer.readline() == FIRST_LINE
        return answer

    def close(self) -> None:
        self._open.close()


@pytest.fixture
def clients() -> Iterator[Clients]:
    opened = Clients()
    yield opened
    opened.close()


def get(gateway: Gateway, path: str) -> tuple[int, Any]:
    answer = ask(gateway.port, method="GET", path=path, key=None)
    return answer.status, answer.json


def until_draining(gateway: Gateway) -> None:
    limit_s = time.monotonic() + 30
    while get(gateway, "/readyz")[0] != 503:
        assert time.monotonic() < limit_s
        time.sleep(0.01)


def wait_for_exit(gateway: Gateway, limit_s: float = 60) -> int:
    assert gateway.process is not None
    code = gateway.process.wait(limit_s)
    gateway.process = None
    return code


def assert_turned_away(answer: http.client.HTTPResponse) -> None:
    body = json.loads(answer.read())
    assert answer.status == 503
    assert body["type"] == "error"
    assert body["error"]["type"] == "overloaded_error"
    assert body["request_id"] == answer.headers["request-id"]
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_turns_new_requests_away_and_lets_running_streams_finish(
    upstream: FaultyUpstream, clients: Clients, number: int
) -> None:
    with serve(upstream) as gateway:
        kept = clients.ask(gateway, message("m"))
        assert kept.getresponse().read() == wire.message("m")
        streams = [clients.begin(gateway, SLOW) for _ in range(5)]
        assert gateway.process is not None
        gateway.process.send_signal(number)
        until_draining(gateway)

        kept.request("POST", "/v1/messages", message("m"), KEY)
        assert_turned_away(kept.getresponse())
        assert_turned_away(clients.ask(gateway, message("m")).getresponse())
        counting = clients.ask(gateway, message("m"), "/v1/messages/count_tokens")
        assert_turned_away(counting.getresponse())
        status, body = get(gateway, "/readyz")
        assert (status, body["components"]["gateway"]) == (503, "draining")
        assert get(gateway, "/healthz") == (200, {"status": "ok"})

        for answer in streams:
            assert FIRST_LINE + answer.read() == wire.stream(30, SLOW)
        assert wait_for_exit(gateway) == 0
        rows = gateway.rows()
        assert [row["ending"] for row in rows] == ["completed"] * 6
        assert all(row["ended_us"] is not None for row in rows)
        assert "draining" in gateway.log


def test_a_drain_without_running_requests_is_over_at_once(upstream: FaultyUpstream, clients: Clients) -> None:
    with serve(upstream, "drain_timeout_s = 30") as gateway:
        idle = clients.ask(gateway, message("m"))
        assert idle.getresponse().read()
        started_s = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - started_s < 20


def test_past_the_drain_limit_a_stream_ends_with_an_error_frame_and_a_plain_call_with_503(
    upstream: FaultyUpstream, clients: Clients
) -> None:
    with serve(upstream, "drain_timeout_s = 0.5") as gateway:
        streams = [clients.begin(gateway, STALLED) for _ in range(3)]
        mute = [clients.ask(gateway, message(MUTE, stream=stream)) for stream in (True, False)]
        assert upstream.wait_until(lambda: sum(r.json["model"] == MUTE for r in upstream.requests[-2:]) == 2)
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        started_s = time.monotonic()

        begun = b"".join(wire.stream_events(2, STALLED)[:5])
        for answer in streams:
            frames = FIRST_LINE + answer.read()  # raises IncompleteRead when the stream is cut
            assert frames.startswith(begun)
            name, data, *rest = frames.removeprefix(begun).split(b"\n")
            assert (name, rest) == (b"event: error", [b"", b""])
            error = json.loads(data.removeprefix(b"data: "))
            assert error["type"] == "error"
            assert error["error"]["type"] == "overloaded_error"
            assert "shutting down" in error["error"]["message"]
        for connection in mute:
            refused = connection.getresponse()
            body = json.loads(refused.read())
            assert (refused.status, body["error"]["type"]) == (503, "overloaded_error")
        assert time.monotonic() - started_s < 20
        assert wait_for_exit(gateway) == 0
        rows = gateway.rows()
        assert [(row["ending"], row["failure_kind"]) for row in rows] == [("interrupted", "interrupted")] * 5
        assert all(row["ended_us"] is not None for row in rows)
        assert {row["status"] for row in rows if row["first_byte_us"] is not None} == {200}
        assert {row["status"] for row in rows if row["first_byte_us"] is None} == {503}
        # What the provider had reported by then is billed.
        assert {row["input_tokens"] for row in rows if row["first_byte_us"] is not None} == {12}
        assert "5 exchanges were cut off" in gateway.log


def test_a_slow_reader_cannot_hold_up_the_exit(upstream: FaultyUpstream, clients: Clients) -> None:
    """A client that does not read keeps its answer from being sent, and the drain still ends."""
    endless = "fault-endless"
    toml = ORG + provider(upstream.base_url, endless)
    with Gateway(toml, server="drain_timeout_s = 0.5") as gateway:
        clients.begin(gateway, endless)
        time.sleep(0.5)  # until every buffer on the way is full
        started_s = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - started_s < 20
        assert [row["ending"] for row in gateway.rows()] == ["interrupted"]
