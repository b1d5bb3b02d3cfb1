"""What ``triptych doctor`` asks the network: connections only, nothing is sent over them."""

import errno
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from triptych.cli.examinations import LOOK, OK, WRONG, Finding
from triptych.core.unreachable import why_unreachable
from triptych.settings import Settings

_PROBE_TIMEOUT_S: Final = 2.0
_PROBE_BYTES: Final = 4096
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}
_TLS_SCHEMES: Final = frozenset({"https", "rediss"})

Examination = Callable[[], Iterator[Finding]]


def all_of(settings: Settings) -> list[Examination]:
    """Each may wait for its peer; they may run at the same time."""
    server = settings.server
    secure = server.tls_cert is not None
    examinations: list[Examination] = [lambda: _port("port", server.host, server.port, "/healthz", secure)]
    if server.metrics_port:
        # Workers have one each.
        examinations += [
            _metrics_port(server.host, server.metrics_port + number) for number in range(server.workers)
        ]
    if not settings.limits.in_memory:
        url = settings.limits.url.reveal()
        examinations.append(lambda: _peer("limits", url, settings.server.connect_timeout_s))
    examinations += [
        _provider(provider.name, provider.base_url, settings)
        for provider in settings.providers
        if provider.base_url is not None
    ]
    return examinations


def _provider(name: str, base_url: str, settings: Settings) -> Examination:
    return lambda: _peer(f"provider {name}", base_url, settings.server.connect_timeout_s)


def _peer(subject: str, url: str, timeout_s: float) -> Iterator[Finding]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]
    place = f"{host}:{port}"
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            if parts.scheme in _TLS_SCHEMES:
                with ssl.create_default_context().wrap_socket(connection, server_hostname=host) as secured:
                    yield Finding(OK, subject, f"{place} can be reached, {secured.version()}")
            else:
                yield Finding(OK, subject, f"{place} can be reached, without TLS")
    except OSError as error:
        yield Finding(WRONG, subject, f"{place} cannot be reached: {why_unreachable(error)}")


def _metrics_port(host: str, port: int) -> Examination:
    return lambda: _port("metrics port", host, port, "/metrics", secure=False)


def _port(subject: str, host: str, port: int, path: str, secure: bool) -> Iterator[Finding]:
    """``path``: what a gateway that has it answers there."""
    if port == 0:
        yield Finding(OK, subject, "the system chooses one")
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except UnicodeError:
            yield Finding(WRONG, subject, f"{host}:{port} cannot be used: no such name")
            return
        except OSError as error:
            if error.errno == errno.EADDRINUSE and _answers(host, port, path, secure):
                yield Finding(LOOK, subject, f"a gateway serves on {host}:{port} already")
            else:
                yield Finding(WRONG, subject, f"{host}:{port} cannot be used: {why_unreachable(error)}")
            return
    yield Finding(OK, subject, f"{host}:{port} is free")


def _answers(host: str, port: int, path: str, secure: bool) -> bool:
    """Whether something there answers as a gateway does: metrics are told by many programs."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    connection = http.client.HTTPConnection(address, port, timeout=_PROBE_TIMEOUT_S)
    if secure:
        # Whose certificate it is does not matter: nothing is sent but the question.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address, port, timeout=_PROBE_TIMEOUT_S, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        ours = path != "/metrics" or b"triptych_" in answer.read(_PROBE_BYTES)
        return ours and answer.status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
