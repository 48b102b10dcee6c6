"""Bring a database to the schema of this version: tables by Alembic, columns of ``round_summary`` by themselves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import DatabaseError

from cyclealign.errors import NewerDatabase, StoreError
from cyclealign.files import CHECKOUT
from cyclealign.store.database import name_of
from cyclealign.store.round_summary import append_columns, arrange_columns, missing_columns, remove_later_columns

# Not the default name, so that another application in the same database keeps its own revision.
VERSION_TABLE = "cyclealign_revision"
_POSTGRES_LOCK = 0x6379636C65  # an arbitrary number: "cycle" in ASCII
_one_at_a_time = threading.Lock()  # Alembic keeps the running migration in a global


def migrations_folder() -> Path:
    """Return the folder ``migrations``.

    It lies next to the package ``cyclealign``: at the top of the repository in a checkout or an editable install, in
    site-packages in an installed wheel, because pyproject.toml lists it among the packages.
    """
    return CHECKOUT / "migrations"


def alembic_config() -> Config:
    """Return the Alembic settings, independent of the current folder."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the database; None for a fresh one."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database up to ``revision`` in one transaction; two processes may do so at once.

    At the newest revision the view ``round_summary`` also gets the columns that it lacks.

    Raises:
        NewerDatabase: the database has a revision that this version of the code does not know.
        StoreError: the file is not a database.
    """
    try:
        with _one_at_a_time, engine.connect() as connection:
            if not _up_to_date(connection, revision):
                connection.rollback()
                with _alone(connection):
                    fresh = revision_of(connection) is None
                    _run(connection, revision, down=False)
                    if revision == "head":
                        _complete_round_summary(connection, fresh)
    except DatabaseError as error:
        raise StoreError(f"{name_of(engine.url)} cannot be brought up to date: {error.orig}.") from error


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to an older ``revision`` (``base``: nothing is left), in one transaction."""
    with _one_at_a_time, engine.connect() as connection, _alone(connection):
        if inspect(connection).has_table("round_summary"):
            remove_later_columns(connection)
        _run(connection, revision, down=True)


def _complete_round_summary(connection: Connection, fresh: bool) -> None:
    """Make the view of this version: columns in their best order in a new database, else after those that it has."""
    if fresh:
        arrange_columns(connection)
    else:
        append_columns(connection, missing_columns(connection))


def _up_to_date(connection: Connection, revision: str) -> bool:
    scripts = ScriptDirectory.from_config(alembic_config())
    current = revision_of(connection)
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise NewerDatabase(
            f"{name_of(connection.engine.url)} was written by a newer cyclealign (its revision '{current}' is unknown "
            "here). Upgrade cyclealign, or set CYCLEALIGN_DATABASE_URL to another database."
        )
    if revision != "head":
        return current == revision
    return current == scripts.get_current_head() and not missing_columns(connection)


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Open a transaction that excludes all other migrations."""
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        # Off while tables are rebuilt (a rebuild drops the old table), and all of them checked at the end.
        _pragma(connection, "foreign_keys = OFF")
    try:
        with connection.execution_options(writes=True).begin():
            if not sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})")
            yield
            if sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise StoreError("The migration would leave rows that point nowhere. The database is unchanged.")
    finally:
        if sqlite:
            _pragma(connection, "foreign_keys = ON")


def _pragma(connection: Connection, setting: str) -> None:
    """Set a pragma below SQLAlchemy, which would begin a transaction: SQLite ignores this setting inside one."""
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _run(connection: Connection, revision: str, *, down: bool) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    (command.downgrade if down else command.upgrade)(config, revision)
