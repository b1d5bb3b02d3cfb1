"""``triptych serve`` in an empty folder: what a newcomer sees, and that it works as it is printed."""

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
