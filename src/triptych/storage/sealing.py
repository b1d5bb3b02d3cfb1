"""Content at rest: AES-256-GCM (NIST SP 800-38D) under a key of each org.

An org's data key is 32 random bytes, made when the org keeps something for the first time, and kept
in the database encrypted under a key derived from the master key. What is sealed is bound to where
it belongs: moved to another org or another row, it does not open.
"""

import os
import threading

from sqlalchemy import insert, select

from triptych.core.clock import now_us
from triptych.storage.database import Database
from triptych.storage.errors import SpoiltContent, StorageError
from triptych.storage.tables import org_data_keys

_KEY_BYTES = 32
_NONCE_BYTES = 12


def seal(key: bytes, plain: bytes, belongs: bytes) -> bytes:
    """A fresh random nonce, then ciphertext and tag. ``belongs`` must be said again to open it."""
    # Costs 50 ms to import: paid by the first who keeps something, not by every start.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, belongs)


def unseal(key: bytes, sealed: bytes, belongs: bytes) -> bytes:
    """Raises SpoiltContent when it was sealed with another key, for another place, or was changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs)
    except (InvalidTag, ValueError) as error:
        raise SpoiltContent("Stored content cannot be decrypted: it was changed, or moved.") from error


def place(*parts: str) -> bytes:
    """Names a place without ambiguity: each part with its length."""
    return b"".join(b"%d:%b" % (len(part.encode()), part.encode()) for part in ("triptych", *parts))


class OrgKeys:
    """The data keys of orgs, unwrapped once and then kept in memory. Safe to share between threads."""

    def __init__(self, database: Database, wrapping_key: bytes) -> None:
        """``wrapping_key``: 32 bytes derived from the master key for this purpose alone."""
        self._database = database
        self._wrapping_key = wrapping_key
        self._keys: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def known(self, org_id: str) -> bytes | None:
        """The key if it is in memory already."""
        return self._keys.get(org_id)

    def key(self, org_id: str) -> bytes:
        """The org's data key, made if there is none. Asks the database the first time.

        Raises StorageError.
        """
        with self._lock:
            key = self._keys.get(org_id)
            if key is None:
                key = self._keys[org_id] = self._find(org_id) or self._make(org_id)
            return key

    def _find(self, org_id: str) -> bytes | None:
        column = org_data_keys.c
        with self._database.read() as connection:
            wrapped = connection.execute(select(column.wrapped).where(column.org_id == org_id)).scalar()
        return None if wrapped is None else unseal(self._wrapping_key, wrapped, place("data key", org_id))

    def _make(self, org_id: str) -> bytes:
        wrapped = seal(self._wrapping_key, os.urandom(_KEY_BYTES), place("data key", org_id))
        with self._database.write() as connection:
            known = select(org_data_keys.c.org_id).where(org_data_keys.c.org_id == org_id)
            if connection.dialect.name == "postgresql":
                from sqlalchemy.dialects.postgresql import insert as insert_once

                row = insert_once(org_data_keys).values(org_id=org_id, wrapped=wrapped, created_us=now_us())
                connection.execute(row.on_conflict_do_nothing())
            elif connection.execute(known).first() is None:
                # The transaction holds SQLite's one write lock since before the question.
                connection.execute(
                    insert(org_data_keys).values(org_id=org_id, wrapped=wrapped, created_us=now_us())
                )
        # Another node may have been first: its key is the key.
        key = self._find(org_id)
        if key is None:
            raise StorageError("The org's data key could not be made.")
        return key
