"""The installation itself: its nodes, its models' ends, facts about the database."""

from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Table, Text

from triptych.storage.tables.base import metadata

model_retirements = Table(
    "model_retirements",
    metadata,
    # When a model goes, and since when that is known. Of the file's dates, which stand there, this
    # keeps the moment at which they were first read.
    Column("model_id", Text, nullable=False),
    Column("retires_us", BigInteger, nullable=False),
    Column("origin", Text, nullable=False),
    Column("replacement", Text),
    Column("announced_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("model_id", "retires_us", "origin"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("lease_until_us", BigInteger, nullable=False),
)

snapshot_version = Table(
    "snapshot_version",
    metadata,
    # One row, id 1: every change of orgs, groups, users or keys counts it up.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

installation = Table(
    "installation",
    metadata,
    # Facts about this database as a whole, such as the master key's fingerprint.
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
