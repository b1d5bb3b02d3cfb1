"""Addresses and certificates that ``serve`` cannot have: told in one line, with what to do."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.unit.cli.conftest import Run
from tests.unit.cli.test_commands import ACME, configure
from triptych.cli import complaints


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "203.0.113.7"])
def test_a_host_that_is_not_this_machines_is_named(run: Run, host: str) -> None:
    configure(ACME)
    code, _, err = run("serve", "--config", "t.toml", "--host", host, "--port", "18080")
    assert code == 1
    assert err.startswith(f"triptych: error: {host} port 18080: this machine has no such address; choose")
    assert len(err.splitlines()) == 1


def test_a_port_that_this_user_may_not_have_is_named() -> None:
    refused = PermissionError(13, "error while attempting to bind on address ('127.0.0.1', 80): denied")
    assert complaints._system(refused).startswith("127.0.0.1 port 80: this user may not listen on it")


def certified(name: str, days: tuple[int, int] = (-1, 1)) -> tuple[str, str]:
    """A certificate, valid from and to so many days from now, and its key: in two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now + timedelta(days[0])).not_valid_after(now + timedelta(days[1]))
    cert_path, key_path = Path(f"{name}.pem"), Path(f"{name}.key")
    cert_path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(cert_path), str(key_path)


def with_certificate(cert: str, key: str) -> None:
    configure(ACME.replace("[server]", f'[server]\ntls_cert = "{cert}"\ntls_key = "{key}"'))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("another key", 'server.tls_key: "b.key" is not the key of the certificate "a.pem"'),
        ("no certificate", 'server.tls_cert: "b.pem" has no certificate in it; expected a PEM file'),
        ("no key", 'server.tls_key: "b.pem" has no private key in it; expected a PEM file'),
        ("a passphrase", 'server.tls_key: "b.key" has a passphrase; expected one without'),
        ("garbage", 'server.tls_cert: "b.pem" and "a.key" cannot be read as PEM files'),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named_by_serve_and_doctor(
    run: Run, wrong: str, said: str
) -> None:
    (cert, key), (other, other_key) = certified("a"), certified("b")
    if wrong == "another key":
        key = other_key
    elif wrong == "no certificate":
        cert = other
        Path(other).write_text("hello")
    elif wrong == "no key":
        key = other
    elif wrong == "a passphrase":
        key = other_key
        Path(key).write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    else:
        cert = other
        Path(other).write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with_certificate(cert, key)
    code, _, err = run("serve", "--config", "t.toml")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"triptych: error: t.toml: {said}")
    assert not Path("triptych.db").exists()
    code, out, _ = run("doctor", "--config", "t.toml")
    assert code == 1
    assert said in out


@pytest.mark.parametrize(
    ("days", "said"), [((-9, -2), "a.pem expired on "), ((2, 9), "a.pem is valid from ")]
)
def test_a_certificate_out_of_its_time_is_found_by_doctor(run: Run, days: tuple[int, int], said: str) -> None:
    with_certificate(*certified("a", days))
    code, out, _ = run("doctor", "--config", "t.toml")
    assert code == 1
    assert said in out
