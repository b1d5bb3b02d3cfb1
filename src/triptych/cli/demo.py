"""``triptych demo``: a server of its own, the tour against it, then the end."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from triptych.cli.terminal import program
from triptych.core.ids import new_ulid
from triptych.core.usage import NANO_USD_PER_USD

START_LIMIT_S = 20.0
CONFIG = """
[server]
port = {port}
[storage]
url = "sqlite:///{database}"
[[providers]]
name = "sandbox"
kind = "sandbox"
[[models]]
id = "sandbox-echo"
provider = "sandbox"
price = {{ input = 3.0, output = 15.0 }}
[[orgs]]
slug = "demo"
demo = true
  [[orgs.groups]]
  name = "everyone"
  models = ["*"]
  api_key_access = true
  [[orgs.users]]
  name = "demo"
  groups = ["everyone"]
  [[orgs.keys]]
  name = "tour"
  user = "demo"
  secret = "env:TRIPTYCH_DEMO_KEY"
"""


def demo() -> None:
    """Answer, stream, refusal, broken stream, and the rows they left. Raises RuntimeError when the
    server does not start."""
    key = f"demo-{new_ulid()}"
    with tempfile.TemporaryDirectory(prefix="triptych-demo-") as folder, _server(Path(folder), key) as base:
        tour = _Tour(base, key)
        tour.answer()
        tour.stream()
        tour.refusals()
        tour.broken_stream()
        tour.rows(Path(folder) / "triptych.db")
    print(f"\nThat was the tour. `{program()} serve` starts a server that stays.")


class _Tour:
    def __init__(self, base: str, key: str) -> None:
        self._base = base
        self._key = key

    def answer(self) -> None:
        _title("1. An answer", "POST /v1/messages with an Anthropic body, answered by the sandbox")
        status, _, body = self._post({"messages": _said("Hello, Triptych")})
        print(f"  {status}  {json.loads(body)['content'][0]['text']}")

    def stream(self) -> None:
        _title("2. A stream", "the same, event by event")
        _, _, body = self._post({"messages": _said("one two three"), "stream": True})
        for line in body.decode().splitlines():
            if line.startswith("event: "):
                print(f"  {line}")

    def refusals(self) -> None:
        _title("3. Refusals", "a wrong key, an unknown model: decided before anything leaves")
        status, _, body = self._post({"messages": _said("hi")}, key="not-a-key")
        print(f"  {status}  {body.decode()}")
        status, _, body = self._post({"messages": _said("hi"), "model": "no-such-model"})
        print(f"  {status}  {body.decode()}")

    def broken_stream(self) -> None:
        _title("4. A provider that dies inside a stream", "the stream says so; it never ends in silence")
        _, _, body = self._post(
            {"model": "sandbox-error-midstream_cut", "messages": _said("go on"), "stream": True}
        )
        for line in body.decode().strip().splitlines()[-2:]:
            print(f"  {line}")

    def rows(self, database: Path) -> None:
        import sqlite3

        _title("5. What is on record", "one row per exchange: tokens, cost, outcome, and no content")
        time.sleep(0.2)  # refusals are queued, not awaited
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            rows = connection.execute(
                "SELECT model, stream, status, ending, failure_kind, input_tokens, output_tokens, cost_nusd, "
                "total_us FROM exchanges ORDER BY id"
            ).fetchall()
        finally:
            connection.close()
        print(f"  {'model':28} {'status':6} {'ending':10} {'in':>4} {'out':>4} {'USD':>12} {'ms':>8}  why")
        for model, _, status, ending, why, tokens_in, tokens_out, cost, total_us in rows:
            usd = f"{cost / NANO_USD_PER_USD:.9f}"
            print(
                f"  {model or '(unknown)':28} {status:<6} {ending:10} {tokens_in:>4} {tokens_out:>4} "
                f"{usd:>12} {total_us / 1000:>8.2f}  {why or ''}"
            )
        print("  (the wrong key has no row: nobody was authenticated)")

    def _post(self, fields: dict[str, Any], key: str | None = None) -> tuple[int, dict[str, str], bytes]:
        body = {"model": "sandbox-echo", "max_tokens": 64, **fields}
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self._base}/v1/messages",
            json.dumps(body).encode(),
            {"x-api-key": key or self._key, "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, dict(refusal.headers), refusal.read()


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _title(title: str, text: str) -> None:
    print(f"\n{title}: {text}", flush=True)


@contextmanager
def _server(folder: Path, key: str) -> Iterator[str]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = folder / "triptych.toml"
    config.write_text(CONFIG.format(port=port, database=folder / "triptych.db"))
    base = f"http://127.0.0.1:{port}"
    print(f"Starting a gateway of its own at {base} ...", flush=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "triptych", "serve", "--config", str(config)],
            stdout=log,
            stderr=log,
            env={**os.environ, "TRIPTYCH_DEMO_KEY": key},
        )
        try:
            _wait_until_ready(base, process, folder / "log")
            yield base
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)


def _wait_until_ready(base: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{base}/readyz", timeout=2):  # noqa: S310
                return
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.05)
    raise RuntimeError(f"the demo's gateway did not start:\n{log.read_text(errors='replace')}")
