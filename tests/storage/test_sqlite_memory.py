"""What SQLite keeps no account of."""

import subprocess
import sys

import pytest

USED = """
import ctypes, importlib.util
{first}
import sqlite3
connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE t (x)")
print(ctypes.CDLL(importlib.util.find_spec("_sqlite3").origin).sqlite3_memory_used())
"""


def used(first: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", USED.format(first=first)], capture_output=True, text=True, check=False
    )
    if "undefined symbol" in done.stderr:
        pytest.skip("SQLite is built into this interpreter, and shows nothing")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_sqlite_keeps_no_account_of_memory_in_a_process_that_has_a_database() -> None:
    assert used("") > 0
    assert used("import triptych.storage.database") == 0


def test_it_is_too_late_where_sqlite_is_there_already_and_does_no_harm() -> None:
    assert used("import sqlite3\nimport triptych.storage.database") > 0
