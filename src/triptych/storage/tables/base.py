"""What all tables share: their metadata, the origins of rows, the columns of limits."""

from sqlalchemy import BigInteger, Column, MetaData, Text

ORIGIN_FILE = "file"
"""The object stands in the configuration file: applying the file may change or remove it."""
ORIGIN_API = "api"
"""The object was made by a person or a program at run time: applying the file leaves it alone."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def limit_columns() -> list[Column[int] | Column[str]]:
    """What orgs, groups, users and keys may each set; null is "not set here"."""
    return [
        Column("rpm", BigInteger),
        Column("rpd", BigInteger),
        Column("tpm", BigInteger),
        Column("concurrency", BigInteger),
        Column("spend_cap_nusd", BigInteger),
        Column("credits", BigInteger),
        Column("phi_mode", Text),
    ]
