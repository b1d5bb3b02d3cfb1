"""A certificate authority of our own, and a server certificate it signed."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LAX = ("key usage", "basic constraints", "subject key identifier", "authority key identifier")
"""What it and the server's certificate may lack: they are trusted all the same, up to Python 3.12."""


@dataclass
class Authority:
    root: Path
    """Its certificate, as a file."""
    serving: ssl.SSLContext
    indicated: list[str | None]

    def trusting(self, *, strictly: bool = False) -> ssl.SSLContext:
        """``strictly``: as from Python 3.13 on."""
        context = ssl.create_default_context(cafile=str(self.root))
        if strictly:
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context


def make_authority(folder: Path, without: Collection[str] = ()) -> Authority:
    authority_key, server_key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    root = _certificate("test authority", authority_key, "test authority", authority_key, without)
    leaf = _certificate("server", server_key, "test authority", authority_key, without)
    pem = serialization.Encoding.PEM
    (folder / "root.pem").write_bytes(root.public_bytes(pem))
    key_bytes = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem) + key_bytes)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "server.pem")
    indicated: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: indicated.append(name)
    return Authority(folder / "root.pem", serving, indicated)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    without: Collection[str],
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
    )
    # From Python 3.13 on a certificate is trusted only if it says whose keys it is of, and what for.
    extensions: dict[str, tuple[x509.ExtensionType, bool]] = {
        "basic constraints": (x509.BasicConstraints(ca=is_authority, path_length=None), True),
        "subject key identifier": (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        "authority key identifier": (
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            False,
        ),
        "key usage": (_usage(signs_certificates=is_authority), True),
    }
    for name, (extension, critical) in extensions.items():
        if name not in without:
            builder = builder.add_extension(extension, critical=critical)
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
