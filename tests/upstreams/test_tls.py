"""TLS: certificates are verified, names checked and indicated."""

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.devices import messages_wire as wire
from tests.devices.faulty_upstream import FaultyUpstream
from tests.upstreams.conftest import Clients, call_of, failure_of, read_all, until
from triptych.core.failure import FailureKind

pytestmark = pytest.mark.anyio


@dataclass
class Authority:
    """A certificate authority of our own and a server certificate it signed."""

    trusting: ssl.SSLContext
    serving: ssl.SSLContext
    indicated: list[str | None]


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    is_authority = subject == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        # From Python 3.13 on a certificate is trusted only if it says whose keys it is of, and what for.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .add_extension(_usage(signs_certificates=is_authority), critical=True)
    )
    if not is_authority:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("::1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("tls")
    authority_key, server_key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    root = certificate("test authority", authority_key, "test authority", authority_key)
    leaf = certificate("server", server_key, "test authority", authority_key)
    pem = serialization.Encoding.PEM
    (folder / "root.pem").write_bytes(root.public_bytes(pem))
    key_bytes = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem) + key_bytes)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "server.pem")
    indicated: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: indicated.append(name)
    return Authority(ssl.create_default_context(cafile=str(folder / "root.pem")), serving, indicated)


async def test_answers_come_over_verified_tls_and_the_connection_is_used_again(
    clients: Clients, authority: Authority
) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        authority.indicated.clear()
        upstream = clients.upstream(f"https://localhost:{device.port}", tls=authority.trusting)
        assert await read_all(await upstream.call(call_of())) == wire.message("m")
        streamed = await read_all(await upstream.call(call_of(stream=True)))
        assert streamed == wire.stream(4, "m")
        assert [request.connection for request in device.requests] == [0, 0]
    assert authority.indicated == ["localhost"]


async def test_a_certificate_of_another_name_is_unreachable(clients: Clients, authority: Authority) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        upstream = clients.upstream(device.base_url, tls=authority.trusting)
        assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE
        assert not device.requests


async def test_a_certificate_the_system_does_not_trust_is_unreachable(
    clients: Clients, authority: Authority
) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        upstream = clients.upstream(f"https://localhost:{device.port}")
        assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE
        assert not device.requests


async def test_a_server_that_speaks_no_tls_is_unreachable(clients: Clients, device: FaultyUpstream) -> None:
    upstream = clients.upstream(f"https://localhost:{device.port}", connect_timeout_s=0.3)
    assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE
    assert not device.requests


async def test_a_cancelled_read_closes_a_tls_connection_at_once(
    clients: Clients, authority: Authority
) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        upstream = clients.upstream(f"https://localhost:{device.port}", tls=authority.trusting)
        answer = await upstream.call(call_of("fault-stream_stalls", stream=True))
        await answer.read()
        answer.close()
        assert await until(lambda: device.connections[0].closed_by == "peer")


async def test_an_unread_answer_stops_the_provider_over_tls(clients: Clients, authority: Authority) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        upstream = clients.upstream(f"https://localhost:{device.port}", tls=authority.trusting)
        answer = await upstream.call(call_of("fault-endless:40000000", stream=True))
        stopped_at = -1
        while device.connections[0].bytes_sent != stopped_at:
            stopped_at = device.connections[0].bytes_sent
            await until(lambda: False, 0.15)
        assert stopped_at < 16_000_000
        answer.close()
