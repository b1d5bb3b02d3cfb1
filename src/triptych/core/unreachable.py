"""Why a peer could not be connected to, and what to do about it: for the operator."""

import ssl
from typing import Final

# Numbers of OpenSSL (x509_vfy.h), which Python has no names for.
_NOT_OF_AN_AUTHORITY_KNOWN_HERE: Final = frozenset({2, 18, 19, 20, 21})
_AGAINST_RFC_5280: Final = range(79, 94)
"""Told since OpenSSL 3.0; most of it only from Python 3.13 on, which asks for X509_STRICT."""


def why_unreachable(error: OSError) -> str:
    """Nothing of it is a secret, but it may name hosts: no caller is told."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}{_remedy(error.verify_code)}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error)


def _remedy(verify_code: int) -> str:
    if verify_code in _AGAINST_RFC_5280:
        return (
            ". It, or its authority's, does not keep to RFC 5280, which Python asks for from 3.13 on: have "
            "both issued anew, the authority's with critical basic constraints (CA:TRUE) and key usage "
            "(keyCertSign), both with the key identifiers of subject and authority"
        )
    if verify_code in _NOT_OF_AN_AUTHORITY_KNOWN_HERE:
        return (
            ". Add the certificate of its authority to the roots of the system, or to a file that "
            "SSL_CERT_FILE names"
        )
    return ""
