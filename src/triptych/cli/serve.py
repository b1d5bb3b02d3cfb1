"""``triptych serve``: the gateway itself."""

import asyncio
import contextlib
import os
from pathlib import Path

from triptych.cli.directory_changes import left_over
from triptych.cli.terminal import program, warn
from triptych.settings import DEMO_SLUG, Settings, config_path, load_settings, remarks, with_server
from triptych.vault import Vault, open_vault


def serve(
    config: Path | None = None, host: str | None = None, port: int | None = None, workers: int | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError, StorageError, OSError."""
    import uvloop

    from triptych.renewal import ConfigurationFile
    from triptych.telemetry import configure_logging
    from triptych.wiring import Running, serve_until_signal

    path = config_path(config, os.environ)

    def read() -> Settings:
        return with_server(load_settings(path, os.environ), host, port, workers)

    settings = read()
    configure_logging()
    for remark in remarks(settings):
        warn(remark)
    vault = open_vault(settings, serving=True)
    for sentence in left_over(vault.database, {org.slug for org in settings.orgs}):
        warn(sentence)

    def announce(node: Running) -> None:
        address = f"{'https' if settings.server.tls_cert else 'http'}://{_shown_host(settings)}:{node.port}"
        print(f"triptych: serving on {address}", flush=True)
        if node.metrics_port is not None:
            metrics = f"http://{_shown_host(settings)}:{node.metrics_port}/metrics"
            print(f"triptych: metrics on {metrics}", flush=True)
        if path is None:
            _show_demo(settings, vault, address)

    with contextlib.closing(vault.database), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        source = None if path is None else ConfigurationFile(path, read)
        runner.run(serve_until_signal(settings, vault, announce, source))


def _shown_host(settings: Settings) -> str:
    host = settings.server.host
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host  # noqa: S104


def _show_demo(settings: Settings, vault: Vault, address: str) -> None:
    """The demo org's first key, shown once; afterwards the command that makes another."""
    from triptych.storage.directory import create_key, list_keys

    if list_keys(vault.database, DEMO_SLUG):
        print(
            "\nThe first key was shown once, when it was made. Another one:\n\n"
            f"  {program()} keys create --org {DEMO_SLUG} --user demo --name NAME\n",
            flush=True,
        )
        return
    issued = create_key(
        vault.database, vault.key_hasher, DEMO_SLUG, "demo", "first", prefix=settings.keys.prefix
    )
    print(
        _TOUR.format(key=issued.plaintext, address=address, database=vault.database.name, program=program()),
        flush=True,
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
