"""Alembic's scripts. Run by ``Database.migrate`` only; there is no alembic.ini."""
