"""``triptych serve`` in an empty folder: what a newcomer sees, and that it works as it is printed."""

import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.devices.gateway import ORG, TEST_KEY, free_port

SERVE = (sys.executable, "-m", "triptych", "serve", "--port", "0")
STARTED_WITHIN_S = 20.0


@contextmanager
def serving(folder: Path, until: str) -> Iterator[tuple[str, str]]:
    """What it says on stdout and stderr, once ``until`` was said."""
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(SERVE, cwd=folder, stdout=stdout, stderr=stderr)
        try:
            deadline = time.monotonic() + STARTED_WITHIN_S
            while until not in out.read_text():
                assert process.poll() is None and time.monotonic() < deadline, err.read_text()
                time.sleep(0.05)
            yield out.read_text(), err.read_text()
        finally:
            process.terminate()
            assert process.wait(15) == 0


def printed_request(line: str) -> tuple[int, bytes]:
    """Do what the printed ``curl`` line would."""
    found = re.fullmatch(r"curl -sN? http://127\.0\.0\.1:(\d+)(\S+) -H \"x-api-key: (\S+)\" -d '(.+)'", line)
    assert found is not None, line
    port, path, key, body = found.groups()
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    try:
        connection.request("POST", path, body, {"x-api-key": key})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_first_start_prints_a_key_once_and_three_lines_that_work(tmp_path: Path) -> None:
    with serving(tmp_path, "init") as (said, warned):
        lines = [line.strip() for line in said.splitlines() if "curl" in line]
        whole, streamed, broken = map(printed_request, lines)
        assert "triptych.toml" not in warned
    assert whole[0] == 200 and json.loads(whole[1])["content"][0]["text"] == "Hello, Triptych"
    assert streamed[0] == 200 and streamed[1].count(b"event: content_block_delta") == 12
    assert broken[0] == 200 and b"event: error\n" in broken[1] and b"message_stop" not in broken[1]
    with serving(tmp_path, "keys create") as (said, _):
        assert "curl" not in said and "trp_" not in said
        assert "keys create --org demo --user demo --name NAME" in said


def test_a_configuration_that_lies_there_unnamed_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "triptych.toml").write_text("[server]\nport = 1\n")
    with serving(tmp_path, "serving on") as (_, warned):
        assert "triptych.toml stands here, but nothing names it" in warned
        assert "serve --config triptych.toml" in warned


def made_key(folder: Path) -> str:
    """Of the demo org, beside the server."""
    command = (sys.executable, "-m", "triptych", "keys", "create", "--org", "demo", "--user", "demo")
    made = subprocess.run((*command, "--name", "ops"), cwd=folder, capture_output=True, text=True, check=True)
    time.sleep(1.0)  # by then the server knows it
    return made.stdout.strip()


def answered(port: int, key: str) -> int:
    body = '{"model": "sandbox-echo", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}'
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/v1/messages", body, {"x-api-key": key})
        return connection.getresponse().status
    finally:
        connection.close()


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while not healthy(port):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def test_a_reader_of_stdout_who_leaves_does_not_end_the_server(tmp_path: Path) -> None:
    err = tmp_path / "err"
    with err.open("wb") as stderr:
        process = subprocess.Popen(SERVE, cwd=tmp_path, stdout=subprocess.PIPE, stderr=stderr)
        assert process.stdout is not None
        port = 0
        try:
            first = process.stdout.readline().decode()
            process.stdout.close()
            port = int(first.rpartition(":")[2])
            time.sleep(0.5)
            assert healthy(port), err.read_text()
        finally:
            process.terminate()
            assert process.wait(15) == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_server_without_its_standard_streams_serves_and_ends_well(tmp_path: Path, closed: str) -> None:
    port = free_port()
    command = shlex.join((*SERVE[:-1], str(port)))
    process = subprocess.Popen(["/bin/sh", "-c", f"exec {command} {closed}"], cwd=tmp_path)
    try:
        until_healthy(port, process)
        assert answered(port, made_key(tmp_path)) == 200
    finally:
        process.terminate()
        assert process.wait(15) == 0


def test_a_log_that_nobody_reads_holds_up_neither_answers_nor_the_end(tmp_path: Path) -> None:
    port = free_port()
    command = (*SERVE[:-1], str(port))
    reader, writer = os.pipe()
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    try:
        until_healthy(port, process)
        key = made_key(tmp_path)
        # Each leaves a line of some 300 bytes; a pipe holds 64 kB.
        assert {answered(port, key) for _ in range(600)} <= {200, 429}
        time.sleep(0.5)
        assert healthy(port)
    finally:
        process.terminate()
        try:
            assert process.wait(15) == 0
        finally:
            process.kill()
            os.close(reader)


def test_a_reload_that_comes_while_it_starts_does_not_end_it(tmp_path: Path) -> None:
    port = free_port()
    command = (sys.executable, "-m", "triptych", "serve", "--port", str(port))
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + STARTED_WITHIN_S
        while not (tmp_path / "triptych.db").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while not healthy(port):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
            assert process.poll() is None and time.monotonic() < deadline
        process.terminate()
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()


def test_a_configuration_from_a_pipe_is_read_once_and_stays_in_force(tmp_path: Path) -> None:
    """As ``--config <(envsubst < template)`` has it."""
    port = free_port()
    whole = f"[server]\nport = {port}\n[[providers]]\nname = 'sandbox'\nkind = 'sandbox'\n{ORG}"
    os.mkfifo(tmp_path / "pipe")
    err = tmp_path / "err"
    command = (sys.executable, "-m", "triptych", "serve", "--config", "pipe")
    with err.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            (tmp_path / "pipe").write_text(whole)
            until_healthy(port, process)
            process.send_signal(signal.SIGHUP)
            time.sleep(1.5)
            assert answered(port, TEST_KEY) == 200
            assert "pipe is a pipe: it is read this once" in err.read_text()
            assert "in force" not in err.read_text()
            process.terminate()
            assert process.wait(15) == 0
        finally:
            process.kill()
            process.wait()
