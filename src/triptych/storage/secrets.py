"""The master key, the keys derived from it, and the form of API keys.

Everything secret hangs on one master key: each purpose gets a key of its own by HKDF-SHA256
(RFC 5869, written out here: importing ``cryptography`` for it would cost 50 ms at every start).
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select, text

from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.tables import installation

MIN_TEXT_CHARS = 16
_BLOCK_BYTES = 64
_HASH_BYTES = 32
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_CHARS = 30
_ISSUED = re.compile(rf"[A-Za-z][A-Za-z0-9]{{0,15}}_(?:live|test)_[{_ALPHABET}]{{32}}")
_FINGERPRINT = "master_key_fingerprint"
_KNOWN = select(installation.c.value).where(installation.c.name == _FINGERPRINT)
_NOTE_ONCE = text("INSERT INTO installation (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING")


def load_master_key(configured: str | None, key_file: Path, data_exist: bool) -> bytes:
    """The master key: the configured value, else the content of ``key_file``, else a new one.

    A value of 64 hex digits, or base64 of 32 bytes, is decoded; any other text of 16 characters
    or more is taken as it is. A new key is written to ``key_file`` (mode 0600), but only when
    there are no data yet: data without their key are a mistake, never a reason to make another.
    Raises StorageError.
    """
    if configured is not None:
        return _parsed(configured, "[secrets] master_key")
    try:
        text = _read_private(key_file)
    except FileNotFoundError:
        if data_exist:
            raise StorageError(
                f"The master key is missing: {key_file} does not exist, but the database holds data that "
                "need it. Restore that file, or set [secrets] master_key to the key. A new key would "
                "make every API key useless."
            ) from None
        return _generated(key_file)
    return _parsed(text, str(key_file))


def derive_key(master: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose; knowing them tells nothing about the master or other purposes."""
    return hkdf_sha256(master, salt=b"triptych", info=purpose.encode(), length_bytes=_HASH_BYTES)


def hkdf_sha256(key: bytes, *, salt: bytes, info: bytes, length_bytes: int) -> bytes:
    """HKDF with SHA-256, extract then expand (RFC 5869, sections 2.2 and 2.3)."""
    pseudorandom = hmac.digest(salt or bytes(_HASH_BYTES), key, "sha256")
    block, output = b"", b""
    counter = 1
    while len(output) < length_bytes:
        block = hmac.digest(pseudorandom, block + info + bytes((counter,)), "sha256")
        output += block
        counter += 1
    return output[:length_bytes]


def bind_master_key(database: Database, master: bytes) -> None:
    """Note the master key's fingerprint in a database that has none, and compare it in one that
    has. Raises StorageError when the database belongs to another master key."""
    fingerprint = derive_key(master, "fingerprint").hex()
    # Commands that only look must not wait for SQLite's one writer.
    with database.read() as connection:
        known = connection.execute(_KNOWN).scalar()
    if known is None:
        with database.write() as connection:
            # Of nodes that start for the first time together, one notes it, and the others compare.
            connection.execute(_NOTE_ONCE, {"name": _FINGERPRINT, "value": fingerprint})
            known = connection.execute(_KNOWN).scalar_one()
    if not hmac.compare_digest(known, fingerprint):
        raise StorageError(
            f"The master key is not the one that {database.name} was made with: no API key in it "
            "would be recognised. Set [secrets] master_key (or the key file beside the database) "
            "back to the former key, or start with another database."
        )


class KeyHasher:
    """Hashes API keys under a derived key, and issues new ones."""

    def __init__(self, key: bytes) -> None:
        """``key``: at most 64 bytes, a block of SHA-256."""
        # The halves of an HMAC that are the same for every message (RFC 2104, section 4): OpenSSL takes
        # three times as long to begin anew as to go on from here.
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def hash(self, secret: bytes) -> bytes:
        """HMAC-SHA256, 32 bytes. The database cannot be searched for guessed keys without ``key``."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(secret)
        outer.update(inner.digest())
        return outer.digest()

    def issue(self, prefix: str, environment: str) -> str:
        """A new secret: ``<prefix>_live_`` or ``<prefix>_test_``, 30 random Crockford base32
        characters (150 bits), and two of checksum (see ``checksum``)."""
        body = f"{prefix}_{environment}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
        issued = body + checksum(body)
        if not _ISSUED.fullmatch(issued):
            raise StorageError(
                f"A key cannot begin with {prefix!r} in environment {environment!r}: the prefix is 1 to 16 "
                "letters and digits, starting with a letter; the environment is live or test."
            )
        return issued


def checksum(body: str) -> str:
    """Two Crockford base32 characters: the low 10 bits of the CRC-32 of everything before them,
    prefix and environment included. For secret scanners and typing errors, not for security."""
    bits = zlib.crc32(body.encode()) & 1023
    return _ALPHABET[bits >> 5] + _ALPHABET[bits & 31]


def is_issued_form(secret: str) -> bool:
    """Whether the text looks like a key of ours and its checksum is right. Imported keys may have
    any form: this never decides whether a key is good."""
    return _ISSUED.fullmatch(secret) is not None and checksum(secret[:-2]) == secret[-2:]


def _parsed(text: str, source: str) -> bytes:
    text = text.strip()
    if len(text) < MIN_TEXT_CHARS:
        raise StorageError(
            f"The master key in {source} has {len(text)} characters; it needs at least {MIN_TEXT_CHARS}. "
            "`openssl rand -hex 32` makes a good one."
        )
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return bytes.fromhex(text)
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()
    return decoded if len(decoded) == _HASH_BYTES else text.encode()


def _read_private(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
                raise StorageError(
                    f"Everyone on this machine may read the master key: run `chmod 600 {path}`."
                )
            return file.read()
    except (PermissionError, IsADirectoryError, UnicodeDecodeError) as error:
        raise StorageError(
            f"Cannot read the master key file {path}: {getattr(error, 'strerror', 'not text')}."
        ) from error


def _generated(path: Path) -> bytes:
    """Written beside its place and linked into it, so that of two first starts at once both get
    the same whole key."""
    try:
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".master_key")  # mode 0600
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(secrets.token_hex(_HASH_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was first: its key is the key
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StorageError(
            f"Cannot write a new master key to {path}: {error.strerror}. Let this user write there, or set "
            "[secrets] master_key."
        ) from error
    return _parsed(_read_private(path), str(path))
