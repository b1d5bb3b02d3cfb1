"""``triptych serve``: the gateway itself."""

import asyncio
import contextlib
import gc
import importlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from triptych.cli.directory_changes import left_over
from triptych.cli.terminal import DEFAULT_FILE, announce, program, warn
from triptych.core.core_dumps import leave_no_core_dump
from triptych.settings import DEMO_SLUG, Settings, config_path, load_settings, remarks, with_server
from triptych.settings.certificate import out_of_date, tls_context
from triptych.vault import Vault, open_vault

if TYPE_CHECKING:
    from triptych.wiring import Running


def serve(
    config: Path | None = None, host: str | None = None, port: int | None = None, workers: int | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError, StorageError, OSError."""
    leave_no_core_dump()
    # A reload that comes while it starts must not end it. The file is read once more when it serves.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    path = config_path(config, os.environ)

    def read() -> Settings:
        return with_server(load_settings(path, os.environ), host, port, workers)

    settings = read()
    if path is None and DEFAULT_FILE.is_file():
        warn(
            f"{DEFAULT_FILE} stands here, but nothing names it: the built-in defaults hold. To serve with it: "
            f"{program()} serve --config {DEFAULT_FILE}"
        )
    if path is not None and path.is_fifo():
        warn(f"{path} is a pipe: it is read this once, and a change of the configuration takes a restart")
    for remark in remarks(settings):
        warn(remark)
    tls_context(settings)  # what is wrong with it is told before a database is made
    late = out_of_date(settings)
    if late is not None:
        warn(late)
    several = settings.server.workers > 1
    vault = open_vault(settings, serving=not several)
    for sentence in left_over(vault.database, {org.slug for org in settings.orgs}):
        warn(sentence)
    if several:
        # What they would all find or make at once is there when the first of them starts.
        vault.database.close()
        _supervise(settings, path, read)
        return

    def tell(node: "Running") -> None:
        announce(f"triptych: serving on {_address(settings, node.port)}")
        if node.metrics_port is not None:
            metrics = f"http://{_shown_host(settings)}:{node.metrics_port}/metrics"
            announce(f"triptych: metrics on {metrics}")
        if path is None:
            _show_demo(settings, vault, _address(settings, node.port), node.refresh_keys)

    _run(settings, vault, tell, path, read)


def _supervise(settings: Settings, path: Path | None, read: Callable[[], Settings]) -> None:
    from triptych.cli.workers import Supervisor, Worker

    # What all of them need is read once, and stays one copy in memory.
    for module in ("triptych.wiring", "triptych.storage.limits.redis_index"):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    count = settings.server.workers

    def serving(port: int) -> None:
        announce(f"triptych: {count} workers serving on {_address(settings, port)}")
        if settings.server.metrics_port:
            first = settings.server.metrics_port
            announce(f"triptych: metrics on ports {first} to {first + count - 1} of {_shown_host(settings)}")

    def serve_one(worker: Worker) -> None:
        server = worker.settings.server

        def read_as_worker() -> Settings:
            fresh = read()
            same = fresh.server == settings.server
            return msgspec.structs.replace(fresh, server=server) if same else fresh

        vault = open_vault(worker.settings, serving=True)
        _run(worker.settings, vault, lambda _: worker.ready(), path, read_as_worker, worker.alive_fd)

    Supervisor(settings, serve_one, serving).run()


def _run(
    settings: Settings,
    vault: Vault,
    tell: "Callable[[Running], None]",
    path: Path | None,
    read: Callable[[], Settings],
    alive_fd: int | None = None,
) -> None:
    """Serve in this process. ``alive_fd``: of a worker, see ``workers.Worker``."""
    import uvloop

    from triptych.edge.allocator import give_back_memory
    from triptych.renewal import ConfigurationFile
    from triptych.telemetry import configure_logging, stderr_aside
    from triptych.wiring import serve_until_signal

    give_back_memory()
    # A pipe that is read again is empty, or has no end.
    source = None if path is None or path.is_fifo() else ConfigurationFile(path, read)
    with (
        stderr_aside(),
        contextlib.closing(vault.database),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        configure_logging()
        runner.run(serve_until_signal(settings, vault, tell, source, alive_fd))


def _address(settings: Settings, port: int) -> str:
    return f"{'https' if settings.server.tls_cert else 'http'}://{_shown_host(settings)}:{port}"


def _shown_host(settings: Settings) -> str:
    host = settings.server.host
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host  # noqa: S104


def _show_demo(settings: Settings, vault: Vault, address: str, refresh_keys: Callable[[], None]) -> None:
    """The demo org's first key, shown once; afterwards the command that makes another. What is shown
    works."""
    from triptych.storage.directory import create_key, list_keys

    if list_keys(vault.database, DEMO_SLUG):
        announce(
            "\nThe first key was shown once, when it was made. Another one:\n\n"
            f"  {program()} keys create --org {DEMO_SLUG} --user demo --name NAME\n"
        )
        return
    issued = create_key(
        vault.database, vault.key_hasher, DEMO_SLUG, "demo", "first", prefix=settings.keys.prefix
    )
    refresh_keys()  # who reads the key can use it
    announce(
        _TOUR.format(key=issued.plaintext, address=address, database=vault.database.name, program=program())
    )


_TOUR = """
Your first key (shown once, only its hash is kept):

  {key}

Try it:

  curl -s {address}/v1/messages -H "x-api-key: {key}" -d '{{"model": "sandbox-echo", "max_tokens": 64, "messages": [{{"role": "user", "content": "Hello, Triptych"}}]}}'

  curl -sN {address}/v1/messages -H "x-api-key: {key}" -d '{{"model": "sandbox-lorem", "max_tokens": 32, "stream": true, "messages": [{{"role": "user", "content": "12 words"}}]}}'

  curl -sN {address}/v1/messages -H "x-api-key: {key}" -d '{{"model": "sandbox-error-midstream_overloaded", "max_tokens": 32, "stream": true, "messages": [{{"role": "user", "content": "break"}}]}}'

Ctrl-C stops the server; keys and records stay in {database}.
"{program} init" writes a configuration of your own.
"""
