"""Alembic's connection to the database: the one that the store passes in, else the configured one."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from cyclealign.store.database import connect, database_url, parse_url
from cyclealign.store.migrate import VERSION_TABLE
from cyclealign.tables import Base
from cyclealign.tables.columns import AnyText, Utc


def plain_type(kind: str, item: object, autogenerating: AutogenContext) -> str | Literal[False]:
    """Write our own column types into a new revision as what the database sees: revisions outlive our classes."""
    if kind == "type" and isinstance(item, AnyText):
        return "sa.Text()"
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, Utc) else False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        compare_type=True,
        render_item=plain_type,
        # SQLite cannot alter a column: Alembic then rebuilds the table.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def run_from_command_line() -> None:
    if context.is_offline_mode():
        raise SystemExit("Migrations to SQL text are not supported: run them against a database.")
    engine = connect(parse_url(database_url())).execution_options(writes=True)
    with engine.begin() as connection:
        run(connection)
    engine.dispose()


given = context.config.attributes.get("connection")
if given is None:
    run_from_command_line()
else:
    run(given)
