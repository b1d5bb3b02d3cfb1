"""The certificate that ``[server]`` names, with words for what is wrong with it."""

import datetime as dt
import ssl
from pathlib import Path
from typing import Final

from triptych.settings.problem import Problem, SettingsError
from triptych.settings.tree import Settings

_BEGINNINGS: Final = {"tls_cert": "CERTIFICATE-----", "tls_key": "PRIVATE KEY-----"}


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """None: without TLS. Raises SettingsError."""
    cert, key = settings.server.tls_cert, settings.server.tls_key
    if cert is None or key is None:
        return None
    for name, path in (("tls_cert", cert), ("tls_key", key)):
        _look_into(settings, name, path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _wrong(settings, "tls_key", f'"{key}" is not the key of the certificate "{cert}"') from None
        raise _wrong(settings, "tls_cert", f'"{cert}" and "{key}" cannot be read as PEM files') from None
    return context


def out_of_date(settings: Settings) -> str | None:
    """What a person should know about a certificate that can be read; clients refuse it then."""
    if settings.server.tls_cert is None:
        return None
    from cryptography import x509

    own = x509.load_pem_x509_certificates(Path(settings.server.tls_cert).read_bytes())[0]
    now = dt.datetime.now(dt.UTC)
    if now > own.not_valid_after_utc:
        return f"{settings.server.tls_cert} expired on {own.not_valid_after_utc:%Y-%m-%d}; clients refuse it"
    if now < own.not_valid_before_utc:
        return (
            f"{settings.server.tls_cert} is valid from {own.not_valid_before_utc:%Y-%m-%d} only; "
            "until then clients refuse it"
        )
    return None


def _look_into(settings: Settings, name: str, path: str) -> None:
    """OpenSSL does not say which of the two files it means, and would ask a terminal for a passphrase."""
    try:
        content = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise _wrong(settings, name, f'"{path}" cannot be read: {error.strerror}') from None
    if _BEGINNINGS[name] not in content:
        what = "certificate" if name == "tls_cert" else "private key"
        raise _wrong(settings, name, f'"{path}" has no {what} in it; expected a PEM file')
    if name == "tls_key" and "ENCRYPTED" in content:
        told = f'"{path}" has a passphrase; expected one without: openssl pkey -in {path} -out FILE'
        raise _wrong(settings, name, told)


def _wrong(settings: Settings, name: str, told: str) -> SettingsError:
    return SettingsError(settings.source, [Problem(f"server.{name}", told)])
