"""AWS Signature Version 4 of a POST without a query
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)."""

import hmac
import time
from collections.abc import Iterable
from hashlib import sha256
from urllib.parse import quote

SERVICE = "bedrock"
"""The service's name for signing; it is not the host's (``bedrock-runtime``)."""
_ALGORITHM = "AWS4-HMAC-SHA256"


class Signer:
    """Signs with one pair of keys, for one region. Keys are in no repr and in no error.

    ``credentials`` is ``ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]``; none of the three can hold
    a colon. Raises ValueError, which does not repeat them, when it is anything else.
    """

    def __init__(self, credentials: str, *, region: str, service: str = SERVICE) -> None:
        parts = credentials.split(":")
        visible = credentials.isascii() and credentials.isprintable() and " " not in credentials
        if len(parts) not in {2, 3} or not all(parts) or not visible:
            raise ValueError("api_key must look like ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]")
        self._access_key_id, self._secret = parts[:2]
        self._session_token = parts[2] if len(parts) == 3 else None
        self._region = region
        self._service = service
        self._day = ""
        self._day_key = b""

    def __repr__(self) -> str:
        return f"Signer(region={self._region!r}, service={self._service!r})"

    def fields(
        self, path: str, headers: Iterable[tuple[bytes, bytes]], payload_sha256: str, now_s: float
    ) -> list[tuple[bytes, bytes]]:
        """The header fields to add: ``x-amz-date``, the session's token if there is one, and
        ``authorization``, which signs them and ``headers`` (``host`` must be among these).

        ``path`` is percent-encoded as it stands in the request line, without dot segments or empty
        ones. ``payload_sha256`` is in hexadecimal. ``now_s`` is Unix time; AWS allows five minutes
        of difference to its own clock.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        added = [(b"x-amz-date", moment.encode())]
        if self._session_token is not None:
            added.append((b"x-amz-security-token", self._session_token.encode()))
        signed = sorted((*headers, *added))
        names = ";".join(name.decode() for name, _ in signed)
        # Encoded once more than it is sent: that is the rule for every service but S3.
        lines = ["POST", quote(path, safe="/~"), ""]
        lines += [f"{name.decode()}:{' '.join(value.decode('latin-1').split())}" for name, value in signed]
        lines += ["", names, payload_sha256]
        request_sha256 = sha256("\n".join(lines).encode()).hexdigest()
        day = moment[:8]
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{request_sha256}"
        signature = _hmac(self._key_of(day), text).hex()
        authorization = (
            f"{_ALGORITHM} Credential={self._access_key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return [*added, (b"authorization", authorization.encode())]

    def _key_of(self, day: str) -> bytes:
        """The key derived for a day of UTC (``20260131``); kept, for all but the first call ask alike."""
        if day != self._day:
            key = f"AWS4{self._secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = _hmac(key, part)
            self._day, self._day_key = day, key
        return self._day_key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
