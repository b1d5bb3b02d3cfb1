"""A backup that was made while the gateway ran, as the operations page says: what is restored goes on."""

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.caller import ask
from tests.acceptance.test_budgets import COST_NUSD, PATHS, SANDBOX, balance, capped, org, spent
from tests.devices.gateway import Gateway
from tests.devices.servers import PostgresServer, RedisServer

BODY = PATHS["/v1/messages"]
TOML = org(capped(5 * COST_NUSD)) + SANDBOX


def statuses(gateway: Gateway, count: int) -> list[int]:
    return [ask(gateway, BODY).status for _ in range(count)]


def test_a_copy_of_sqlite_knows_keys_rows_and_what_was_spent(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    with Gateway(TOML, folder=old) as gateway:
        assert statuses(gateway, 3) == [200] * 3
        source = sqlite3.connect(gateway.database)
        source.execute("VACUUM INTO ?", (str(new / "triptych.db"),))
        source.close()
        assert statuses(gateway, 3) == [200, 200, 402]
    shutil.copy(old / "triptych.key", new / "triptych.key")
    with Gateway(TOML, folder=new) as restored:
        assert spent(restored)[0] == balance(restored)["spent_nusd"] == 3 * COST_NUSD
        assert statuses(restored, 3) == [200, 200, 402]


def test_without_its_master_key_a_restored_database_is_refused(tmp_path: Path) -> None:
    with Gateway(TOML, folder=tmp_path) as gateway:
        assert statuses(gateway, 1) == [200]
    (tmp_path / "triptych.key").unlink()
    with pytest.raises(AssertionError, match="master key"):
        Gateway(TOML, folder=tmp_path).start()


@pytest.mark.slow
def test_a_dump_of_postgresql_restored_under_a_flushed_redis_goes_on(tmp_path: Path) -> None:
    with PostgresServer() as postgres, RedisServer() as redis:
        secrets = f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n[limits]\nurl = "{redis.url}"\n'
        dump = tmp_path / "dump"

        def run(program: str, *arguments: str) -> None:
            subprocess.run((str(postgres.programs / program), *arguments), check=True, capture_output=True)

        def sums() -> tuple[Any, ...]:
            import psycopg

            with psycopg.connect(postgres.url) as connection:
                row = connection.execute(
                    "SELECT (SELECT sum(cost_nusd) FROM exchanges), "
                    "(SELECT spent_nusd FROM balances WHERE scope_kind = 'org')"
                ).fetchone()
            assert row is not None
            return tuple(int(value) for value in row)

        gateway = Gateway(secrets + TOML, folder=tmp_path, storage_url=postgres.url)
        with gateway:
            assert statuses(gateway, 3) == [200] * 3
            run("pg_dump", "--format=custom", f"--file={dump}", postgres.url)
            assert statuses(gateway, 3) == [200, 200, 402]
        run("pg_restore", "--clean", "--if-exists", f"--dbname={postgres.url}", str(dump))
        redis.kill()
        redis.start()
        with gateway:
            assert sums() == (3 * COST_NUSD, 3 * COST_NUSD)
            assert statuses(gateway, 3) == [200, 200, 402]
