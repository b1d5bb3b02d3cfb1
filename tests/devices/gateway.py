"""The real program as a child process, on a port and in a folder of its own."""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

START_LIMIT_S = 60.0

ORG = """
[[orgs]]
slug = "acme"
plan = "enterprise"
  [[orgs.groups]]
  name = "everyone"
  models = ["*"]
  api_key_access = true
  [[orgs.users]]
  name = "ana"
  groups = ["everyone"]
  [[orgs.keys]]
  name = "live"
  user = "ana"
  secret = "acme-live-key-0000000000000000"
  [[orgs.keys]]
  name = "test"
  user = "ana"
  secret = "acme-test-key-0000000000000000"
  environment = "test"
"""
LIVE_KEY = "acme-live-key-0000000000000000"
TEST_KEY = "acme-test-key-0000000000000000"


def provider(
    base_url: str,
    *models: str,
    name: str = "mock",
    key: str = "upstream-secret-key",
    kind: str = "anthropic",
) -> str:
    """TOML of a provider and of models it serves under their own ids."""
    lines = [f'[[providers]]\nname = "{name}"\nkind = "{kind}"\nbase_url = "{base_url}"\napi_key = "{key}"\n']
    lines += [
        f'[[models]]\nid = "{model}"\nprovider = "{name}"\nprice = {{ input = 3.0, output = 15.0 }}\n'
        for model in models
    ]
    return "\n".join(lines)


class Gateway:
    """``with Gateway(toml) as gateway``: served at ``gateway.url`` until the block ends.

    ``toml`` is everything but ``[server] host/port`` and ``[storage]``; further keys of ``[server]``
    go in ``server``. stderr is kept in ``gateway.log``.
    """

    def __init__(
        self,
        toml: str = ORG,
        *,
        server: str = "",
        folder: Path | None = None,
        storage_url: str | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        preload: str | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory() if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else folder
        assert self.folder is not None
        self.database = self.folder / "triptych.db"
        self.log_path = self.folder / "stderr.log"
        url = storage_url or f"sqlite:///{self.database}"
        self.config = self.folder / "triptych.toml"
        limits = os.environ.get("TRIPTYCH_TEST_REDIS_URL")
        if limits and storage_url and "[limits]" not in toml:
            # Nodes that share a database must count together.
            toml = f'[limits]\nurl = "{limits}"\n{toml}'
        self._toml = f'[storage]\nurl = "{url}"\n{toml}'
        self._server = server
        self._environment = dict(environment or {})
        self._arguments = arguments
        self._preload = preload
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def start(self, limit_s: float = START_LIMIT_S) -> "Gateway":
        self.port = self.port or free_port()
        self.config.write_text(
            f'[server]\nhost = "127.0.0.1"\nport = {self.port}\n{self._server}\n{self._toml}'
        )
        entry = (
            [sys.executable, "-m", "triptych"]
            if self._preload is None
            else [sys.executable, "-c", self._preload]
        )
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*entry, "serve", "--config", str(self.config), *self._arguments],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
            )
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.log}")
            try:
                with urllib.request.urlopen(self.url + "/readyz", timeout=2) as answer:
                    if answer.status == 200:
                        return self
            except urllib.error.HTTPError as not_yet:
                not_yet.close()
            except OSError:
                pass
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"serve was not ready within {limit_s} s:\n{self.log}")

    def stop(self, number: int = signal.SIGTERM, limit_s: float = 60.0) -> int:
        """Signal the process and wait; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(limit_s)
        self.process = None
        return code

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def __enter__(self) -> "Gateway":
        try:
            return self.start() if self.process is None else self
        except BaseException as error:
            # What did not start leaves nothing behind either.
            self.__exit__(type(error), error, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.stop(signal.SIGTERM if kind is None else signal.SIGKILL)
        if self._temporary is not None:
            self._temporary.cleanup()

    def rows(self, where: str = "1=1") -> list[dict[str, Any]]:
        """Rows of the ledger, oldest first (SQLite only)."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            connection.row_factory = sqlite3.Row
            query = f"SELECT * FROM exchanges WHERE {where} ORDER BY started_us, id"
            return [dict(row) for row in connection.execute(query)]
        finally:
            connection.close()

    def settled_rows(self, count: int, limit_s: float = 30.0) -> list[dict[str, Any]]:
        """The rows once ``count`` of them have ended (refusals are queued, not awaited)."""
        deadline = time.monotonic() + limit_s
        while True:
            rows = self.rows()
            ended = sum(row["ended_us"] is not None for row in rows)
            if ended >= count or time.monotonic() > deadline:
                return rows
            time.sleep(0.02)


# Below those that systems give to whoever asks for any port (Linux: from 32768, others: from 49152): such
# a one could be somebody else's between the look and the start of the process it was looked up for.
_PORTS = range(10_240, 32_768)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on, and that no other worker of the tests is
    given."""
    workers, worker = 16, int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = _PORTS[worker % workers :: workers]
    for port in random.SystemRandom().sample(ports, len(ports)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def message(model: str = "sandbox-echo", **fields: Any) -> bytes:
    """A small messages request."""
    body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "hello there"}]}
    return json.dumps({**body, **fields}).encode()
