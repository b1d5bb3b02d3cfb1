"""Who is calling? Answered from the snapshot in memory: a malformed or unknown key costs one HMAC
and never reaches the database."""

import hmac
from collections.abc import Callable
from typing import Protocol

from triptych.core.call import Headers
from triptych.core.failure import Failure, FailureKind
from triptych.core.principal import Principal

# Longer credentials are nobody's key; hashing megabytes of header would be work for strangers.
MAX_KEY_BYTES = 512
_NAMES = frozenset((b"authorization", b"x-api-key"))


class KeyEntry(Protocol):
    @property
    def hash(self) -> bytes: ...
    @property
    def principal(self) -> Principal: ...
    @property
    def revoked_us(self) -> int | None: ...
    @property
    def expires_us(self) -> int | None: ...
    @property
    def until_us(self) -> int | None:
        """From then on ``afterwards`` takes the principal's place."""
        ...

    @property
    def afterwards(self) -> Principal | None: ...


class KeyRing(Protocol):
    """The keys this node knows, as of its last confirmed snapshot."""

    def find(self, key_hash: bytes) -> KeyEntry | None: ...

    @property
    def fresh(self) -> bool:
        """Whether the snapshot was confirmed recently enough to be trusted."""
        ...


class Hasher(Protocol):
    def hash(self, secret: bytes) -> bytes: ...


class Authenticate:
    """Headers to principal. Missing, malformed, unknown, revoked and expired keys take the same
    steps and fail alike."""

    def __init__(
        self, keys: KeyRing, hasher: Hasher, presented: Callable[[Headers], bytes] | None = None
    ) -> None:
        """``presented``: which credential counts where both are shown; ``presented_key`` by default."""
        self._keys = keys
        self._hasher = hasher
        self._presented = presented_key if presented is None else presented
        self._nobody = hasher.hash(b"")

    def __call__(self, headers: Headers, now_us: int) -> Principal:
        """Raises Failure: DUPLICATE_CREDENTIALS, INVALID_API_KEY, KEY_REVOKED (a surface that does
        not tell renders it like INVALID_API_KEY), SERVICE_UNAVAILABLE when the keys are stale."""
        secret = self._presented(headers)
        key_hash = self._hasher.hash(secret)
        if not self._keys.fresh:
            raise Failure(
                FailureKind.SERVICE_UNAVAILABLE,
                "The gateway has lost contact with its database. Try again shortly.",
            )
        entry = self._keys.find(key_hash)
        known = hmac.compare_digest(key_hash, entry.hash if entry is not None else self._nobody)
        if entry is None or not known or not secret:
            raise Failure(FailureKind.INVALID_API_KEY)
        if entry.revoked_us is not None:
            raise Failure(FailureKind.KEY_REVOKED)
        if entry.expires_us is not None and entry.expires_us <= now_us:
            raise Failure(FailureKind.INVALID_API_KEY)
        if entry.until_us is not None and entry.until_us <= now_us and entry.afterwards is not None:
            return entry.afterwards
        return entry.principal


def presented_key(headers: Headers) -> bytes:
    """The credential the request shows, or ``b""``. ``Authorization`` alone decides when present."""
    authorization, api_key = _credentials(headers)
    secret = (api_key or b"") if authorization is None else _bearer(authorization)
    return secret if len(secret) <= MAX_KEY_BYTES else b""


def presented_api_key(headers: Headers) -> bytes:
    """The same where ``x-api-key`` alone decides when present."""
    authorization, api_key = _credentials(headers)
    secret = _bearer(authorization or b"") if api_key is None else api_key
    return secret if len(secret) <= MAX_KEY_BYTES else b""


def _credentials(headers: Headers) -> tuple[bytes | None, bytes | None]:
    """``Authorization`` and ``x-api-key``. Raises Failure DUPLICATE_CREDENTIALS."""
    authorization: bytes | None = None
    api_key: bytes | None = None
    for name, value in headers:
        if name not in _NAMES:
            continue
        if name == b"x-api-key":
            if api_key is not None:
                raise Failure(FailureKind.DUPLICATE_CREDENTIALS, "x-api-key was sent more than once.")
            api_key = value
        else:
            if authorization is not None:
                raise Failure(FailureKind.DUPLICATE_CREDENTIALS, "Authorization was sent more than once.")
            authorization = value
    return authorization, api_key


def _bearer(authorization: bytes) -> bytes:
    scheme, _, secret = authorization.partition(b" ")
    return secret.strip(b" ") if scheme.lower() == b"bearer" else b""
