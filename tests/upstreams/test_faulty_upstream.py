"""The faulty provider does what its behaviours say, or the tests that rely on it mean nothing."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import BEHAVIOURS, USAGE_LIES
from tests.devices.faulty_upstream import FaultyUpstream, refused_port


def ask(
    port: int,
    model: str = "m",
    *,
    stream: bool = False,
    path: str = "/v1/messages",
    timeout_s: float = 2,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", path, json.dumps({"model": model, "stream": stream}))
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


WHOLE_ANSWERS = [
    ("ok", 200, False),
    ("ok_stream", 200, False),
    ("slow_first_byte:1", 200, False),
    ("empty", 200, False),
    ("empty:500", 500, False),
    ("html", 502, False),
    ("wrong_content_type", 200, False),
    ("json_for_a_stream", 200, True),
    ("json_cut", 200, False),
    ("stream_ends_at:50", 200, True),
    ("stream_without_stop", 200, True),
    ("stream_error_event", 200, True),
    ("stream_garbage_event", 200, True),
    ("stream_gigantic_line:1000000", 200, True),
    ("slow_drip", 200, False),
    ("close_after_answer", 200, False),
    ("close_on_reuse", 200, False),
    ("redirect", 302, False),
    ("error:529", 529, False),
    ("error", 500, False),
    ("rate_limited", 429, False),
    ("rate_limited:99999999", 429, False),
    ("gzip_answer", 200, False),
    ("endless:1000000", 200, True),
    *((f"usage:{lie}", 200, stream) for lie in USAGE_LIES for stream in (False, True)),
]
BROKEN_ANSWERS = [
    "reset",
    "close",
    "json_short",
    "stream_cut_at:70",
    "stream_reset_at:70",
    "hang_before_head",
    "hang_inside_head",
    "hang_after_head",
    "stream_stalls",
]


def test_every_behaviour_is_tested_here() -> None:
    tested = {name.partition(":")[0] for name, _, _ in WHOLE_ANSWERS} | {
        b.partition(":")[0] for b in BROKEN_ANSWERS
    }
    assert tested == set(BEHAVIOURS)


@pytest.mark.parametrize(("behaviour", "status", "stream"), WHOLE_ANSWERS)
def test_behaviours_that_answer_answer_in_whole(
    device: FaultyUpstream, behaviour: str, status: int, stream: bool
) -> None:
    assert ask(device.port, f"fault-{behaviour}", stream=stream)[0] == status


@pytest.mark.parametrize("behaviour", BROKEN_ANSWERS)
def test_behaviours_that_break_break(device: FaultyUpstream, behaviour: str) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(device.port, f"fault-{behaviour}", timeout_s=0.2)


def test_a_behaviour_is_chosen_by_queue_then_path_then_model(device: FaultyUpstream) -> None:
    device.enqueue("error:503", "redirect")
    path = "/fault/error:502/v1/messages"
    statuses = [ask(device.port, "fault-error:500", path=path)[0] for _ in range(3)]
    statuses.append(ask(device.port, "fault-error:500")[0])
    statuses.append(ask(device.port)[0])
    assert statuses == [503, 302, 502, 500, 200]


def test_failures_are_counted_until_success(device: FaultyUpstream) -> None:
    statuses = [ask(device.port, "fault-fail_then_ok:2:error:529")[0] for _ in range(4)]
    assert statuses == [529, 529, 200, 200]
    assert ask(device.port, "fault-fail_then_ok:1:rate_limited:3")[1]["retry-after"] == "3"


def test_retry_after_may_be_a_date(device: FaultyUpstream) -> None:
    assert ask(device.port, "fault-rate_limited:date:5")[1]["retry-after"].endswith("GMT")


def test_the_stream_is_a_whole_stream_of_the_wire(device: FaultyUpstream) -> None:
    _, headers, body = ask(device.port, "fault-ok_stream:3", stream=True)
    assert headers["content-type"] == "text/event-stream"
    assert body == wire.stream(3, "fault-ok_stream:3")
    names = [line[7:].decode() for line in body.split(b"\n") if line.startswith(b"event: ")]
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_tokens_are_counted(device: FaultyUpstream) -> None:
    assert json.loads(ask(device.port, path="/v1/messages/count_tokens?beta=true")[2]) == {"input_tokens": 12}


def test_the_log_knows_requests_and_who_closed_when(device: FaultyUpstream) -> None:
    begun_s = time.monotonic()
    ask(device.port, "fault-ok")
    assert device.wait_until(lambda: device.connections[0].closed_by is not None)
    (request,), (connection,) = device.requests, device.connections
    assert request.json == {"model": "fault-ok", "stream": False}
    assert connection.closed_by == "peer"
    assert connection.closed_mono_s is not None
    assert begun_s < request.at_mono_s < connection.closed_mono_s < begun_s + 1
    assert connection.bytes_sent > len(wire.message("fault-ok"))


def test_a_misspelt_behaviour_fails_the_test() -> None:
    with pytest.raises(KeyError, match="no_such"), FaultyUpstream() as device:  # noqa: PT012
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(device.port, "fault-no_such")
        assert device.wait_until(lambda: bool(device.errors))


def test_a_refused_port_refuses() -> None:
    with refused_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_it_runs_as_a_process_with_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    command = [
        sys.executable,
        "-m",
        "tests.devices.faulty_upstream",
        "--log",
        str(log),
        "--script",
        "error:503",
    ]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().removeprefix("listening on "))
        assert ask(port)[0] == 503
        assert ask(port)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] != "closed"] == ["opened", "request"] * 2
    assert {event["by"] for event in events if event["event"] == "closed"} == {"peer"}
