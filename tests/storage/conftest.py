"""Every test that asks for ``database`` or ``url`` runs on SQLite and on PostgreSQL.

PostgreSQL: ``TRIPTYCH_TEST_POSTGRES_URL``; each test has a schema of its own, dropped after it.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from triptych.core.outcome import Ending, Opened, Outcome
from triptych.core.usage import Usage, UsageSource
from triptych.storage.database import Database, open_database
from triptych.storage.nodes import Node, register_node
from triptych.storage.responses import StoredResponses
from triptych.storage.sealing import OrgKeys
from triptych.storage.secrets import KeyHasher

POSTGRES_URL = os.environ.get("TRIPTYCH_TEST_POSTGRES_URL")
WRAPPING = b"w" * 32


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/triptych.db"


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    if not POSTGRES_URL:
        pytest.skip("PostgreSQL is NOT tested: TRIPTYCH_TEST_POSTGRES_URL is not set")
    psycopg = pytest.importorskip("psycopg")
    schema = f"triptych_{uuid.uuid4().hex}"
    with psycopg.connect(POSTGRES_URL, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}")
        separator = "&" if "?" in POSTGRES_URL else "?"
        yield f"{POSTGRES_URL}{separator}options=-csearch_path%3D{schema}"
        admin.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url, durability="strict")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def keys(database: Database) -> OrgKeys:
    return OrgKeys(database, WRAPPING)


@pytest.fixture
def stored(database: Database, keys: OrgKeys) -> StoredResponses:
    return StoredResponses(database, keys, retention_days=30)


@pytest.fixture
def hasher() -> KeyHasher:
    return KeyHasher(b"k" * 32)


@pytest.fixture
def node(database: Database) -> Node:
    return register_node(database, "n1")


_serial = 0


def opened(**changes: object) -> Opened:
    """A start row; a new id each time unless one is given."""
    global _serial  # noqa: PLW0603 - ids must differ across tests and modules
    _serial += 1
    facts: dict[str, object] = {
        "id": f"01JD{_serial:022d}",
        "started_us": 1_763_700_000_000_000,
        "org_id": "ORG",
        "user_id": "USER",
        "key_id": "KEY",
        "environment": "live",
        "surface": "inference",
        "endpoint": "/v1/messages",
        "model": "claude-sonnet-4-6",
        "provider": "claude",
        "upstream_model": "claude-sonnet-4-6-20260101",
        "stream": True,
        "bytes_in": 1023,
        "client_user_hash": "ab" * 32,
    }
    return Opened(**(facts | changes))  # type: ignore[arg-type]


def outcome(**changes: object) -> Outcome:
    facts: dict[str, object] = {
        "ending": Ending.COMPLETED,
        "status": 200,
        "upstream_status": 200,
        "usage": Usage(120, 540, 7, 8, 9, UsageSource.PROVIDER),
        "cost_nusd": 8_460_000,
        "first_byte_us": 120_000,
        "total_us": 500_000,
        "bytes_out": 2048,
        "retries": 1,
        "upstream_request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    }
    return Outcome(**(facts | changes))  # type: ignore[arg-type]
