"""What outlives the process: keys and orgs, exchanges, node leases - on SQLite or PostgreSQL.

One schema (``tables``), plain synchronous SQLAlchemy Core in threads, and one writer thread for
the rows of the hot path (``ledger``). ``limits`` is the exception: it lives in memory or in Redis, and
can be made anew from what is here.
"""

from triptych.storage.sqlite_memory import keep_no_account

# Before any module of this package imports sqlite3.
keep_no_account()
