"""What outlives the process: keys and orgs, exchanges, node leases - on SQLite or PostgreSQL.

One schema (``tables``), plain synchronous SQLAlchemy Core in threads, and one writer thread for
the rows of the hot path (``ledger``). ``limits`` is the exception: it lives in memory or in Redis, and
can be made anew from what is here.
"""
