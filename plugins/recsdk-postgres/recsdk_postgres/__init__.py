"""A ledger of recsdk in PostgreSQL: `Postgres`, the plugin "postgres"."""

from recsdk_postgres.store import Postgres

__all__ = ["Postgres"]
