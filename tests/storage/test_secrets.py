import hmac
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert

from triptych.storage.database import Database, open_database
from triptych.storage.errors import StorageError
from triptych.storage.secrets import (
    KeyHasher,
    bind_master_key,
    checksum,
    derive_key,
    hkdf_sha256,
    is_issued_form,
    load_master_key,
)
from triptych.storage.tables import installation


@pytest.mark.parametrize(
    ("key", "salt", "info", "length", "expected"),
    [
        # RFC 5869, appendix A, test cases 1 to 3.
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            82,
            (
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e"
                "590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
            ),
        ),
        (
            "0b" * 22,
            "",
            "",
            42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_hkdf_gives_the_vectors_of_rfc_5869(
    key: str, salt: str, info: str, length: int, expected: str
) -> None:
    derived = hkdf_sha256(
        bytes.fromhex(key), salt=bytes.fromhex(salt), info=bytes.fromhex(info), length_bytes=length
    )
    assert derived.hex() == expected


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = {derive_key(master, purpose) for master in (b"a" * 32, b"b" * 32) for purpose in ("keys", "users")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


def test_a_first_start_writes_a_private_key_file_and_the_next_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "triptych.key"
    master = load_master_key(None, path, data_exist=False)
    assert len(master) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["triptych.key"]
    assert load_master_key(None, path, data_exist=True) == master
    assert load_master_key(path.read_text(), tmp_path / "other", data_exist=True) == master


def test_a_missing_key_beside_data_is_refused_never_regenerated(tmp_path: Path) -> None:
    path = tmp_path / "triptych.key"
    with pytest.raises(StorageError, match="master key is missing"):
        load_master_key(None, path, data_exist=True)
    assert not path.exists()


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ("0f" * 32, b"\x0f" * 32),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", bytes(range(32))),
        ("correct horse battery staple", b"correct horse battery staple"),
        ("sixteen-chars-ok\n", b"sixteen-chars-ok"),
        ("abcdefghijklmnop", b"abcdefghijklmnop"),  # base64 too, but not of 32 bytes
    ],
)
def test_a_configured_key_may_be_hex_base64_or_text(tmp_path: Path, configured: str, expected: bytes) -> None:
    assert load_master_key(configured, tmp_path / "unused", data_exist=True) == expected


@pytest.mark.parametrize("configured", ["", "short", "   fifteen-chars   "])
def test_a_short_key_is_refused_without_being_shown(tmp_path: Path, configured: str) -> None:
    with pytest.raises(StorageError, match="at least 16") as caught:
        load_master_key(configured, tmp_path / "unused", data_exist=False)
    assert configured.strip() == "" or configured.strip() not in str(caught.value)


def test_a_key_file_that_everyone_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "triptych.key"
    load_master_key(None, path, data_exist=False)
    path.chmod(0o644)
    with pytest.raises(StorageError, match="chmod 600"):
        load_master_key(None, path, data_exist=True)


def test_a_database_is_bound_to_its_master_key(database: Database) -> None:
    bind_master_key(database, b"a" * 32)
    bind_master_key(database, b"a" * 32)
    with pytest.raises(StorageError, match="not the one"):
        bind_master_key(database, b"b" * 32)


def test_the_key_of_a_database_that_somebody_else_writes_to_is_compared_at_once(
    url: str, database: Database
) -> None:
    bind_master_key(database, b"a" * 32)
    second = open_database(url, durability="strict")
    try:
        with database.write():
            began_s = time.monotonic()
            bind_master_key(second, b"a" * 32)
            with pytest.raises(StorageError, match="not the one"):
                bind_master_key(second, b"b" * 32)
            assert time.monotonic() - began_s < 2
    finally:
        second.close()


@pytest.mark.parametrize("key", [b"a", b"b"])
def test_of_two_first_starts_at_once_the_second_compares_its_master_key(
    url: str, database: Database, key: bytes
) -> None:
    second = open_database(url, durability="strict")
    try:
        with ThreadPoolExecutor(1) as thread:
            with database.write() as connection:
                noted = {
                    "name": "master_key_fingerprint",
                    "value": derive_key(b"a" * 32, "fingerprint").hex(),
                }
                connection.execute(insert(installation).values(noted))
                # It looks before this is committed, and comes to write after it.
                bound = thread.submit(bind_master_key, second, key * 32)
                time.sleep(0.5)
            if key == b"a":
                bound.result()
            else:
                with pytest.raises(StorageError, match="not the one"):
                    bound.result()
    finally:
        second.close()


@pytest.mark.parametrize("environment", ["live", "test"])
def test_an_issued_key_has_the_documented_form(hasher: KeyHasher, environment: str) -> None:
    issued = {hasher.issue("trp", environment) for _ in range(50)}
    assert len(issued) == 50
    for secret in issued:
        head, tail = secret[:-32], secret[-32:]
        assert head == f"trp_{environment}_"
        assert set(tail) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
        assert secret[-2:] == checksum(secret[:-2])
        assert is_issued_form(secret)


def test_the_checksum_finds_every_single_wrong_character(hasher: KeyHasher) -> None:
    secret = hasher.issue("trp", "live")
    for place in range(9, len(secret)):
        for other in "0Z7":
            if secret[place] != other:
                assert not is_issued_form(secret[:place] + other + secret[place + 1 :])


@pytest.mark.parametrize(
    ("prefix", "environment"), [("", "live"), ("a_b", "live"), ("1a", "live"), ("trp", "prod")]
)
def test_a_prefix_or_environment_that_cannot_be_is_refused(
    hasher: KeyHasher, prefix: str, environment: str
) -> None:
    with pytest.raises(StorageError, match="cannot begin with"):
        hasher.issue(prefix, environment)


def test_hashes_have_one_shape_whatever_the_secret() -> None:
    hasher = KeyHasher(b"k" * 32)
    secrets = [b"", b"x", b"trp_live_" + b"0" * 32, b"\xff" * 10_000]
    hashes = [hasher.hash(secret) for secret in secrets]
    assert {len(value) for value in hashes} == {32}
    assert len(set(hashes)) == len(secrets)
    assert hashes == [hasher.hash(secret) for secret in secrets]
    assert KeyHasher(b"j" * 32).hash(b"x") != hasher.hash(b"x")


@pytest.mark.parametrize("key", [b"", b"k", b"k" * 32, bytes(range(64))])
@pytest.mark.parametrize("message", [b"", b"x", b"x" * 63, b"x" * 64, b"x" * 5000])
def test_the_hash_is_the_standard_one(key: bytes, message: bytes) -> None:
    hasher = KeyHasher(key)
    assert hasher.hash(message) == hasher.hash(message) == hmac.digest(key, message, "sha256")
