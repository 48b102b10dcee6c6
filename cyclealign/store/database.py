"""The database connection: an SQLite file, or PostgreSQL."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from cyclealign.errors import DatabaseAway, StoreError
from cyclealign.files import home
from cyclealign.store.patience import Patience, passing_trouble
from cyclealign.store.postgres import Commit, make_engine, pending_commit, was_committed

URL_VARIABLE = "CYCLEALIGN_DATABASE_URL"
BUSY_SECONDS = 30.0


def database_url() -> str:
    """Return the database URL: ``CYCLEALIGN_DATABASE_URL``, else a file in ``.cyclealign`` of the current folder.

    ``CYCLEALIGN_HOME`` names another folder than ``.cyclealign``.
    """
    given = os.environ.get(URL_VARIABLE, "").strip()
    if given:
        return given
    return f"sqlite:///{home() / 'cyclealign.db'}"


def database_is_there() -> bool:
    """Return whether this process has a database already; opening a database file would create it."""
    url = parse_url(database_url())
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def is_home_database() -> bool:
    """Return whether the database in use is the home's own file; also True if the home has no such file."""
    own = (home() / "cyclealign.db").resolve()
    url = parse_url(database_url())
    in_use = Path(url.database or "").resolve() if url.get_backend_name() == "sqlite" else None
    return in_use == own or not own.exists()


def parse_url(given: str) -> URL:
    """Read a database URL; the message of an error repeats no part of it, since a part may be the password.

    Raises:
        StoreError: it is not a URL of SQLite or PostgreSQL.
    """
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise StoreError(f"The database URL cannot be read. {_FORM}") from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        if "@" in (url.database or ""):
            raise StoreError(f"The database URL cannot be read: in a password, '/' is %2F and '@' is %40. {_FORM}")
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise StoreError(f"This kind of database is not supported. {_FORM}")
    if url.database in (None, "", ":memory:"):
        raise StoreError(f"A database in memory would lose the rounds. {_FORM}")
    # Absolute, so that a later change of the current folder does not lead new connections to another file.
    return url.set(database=str(Path(url.database or "").absolute()))


_FORM = f"Set {URL_VARIABLE} to sqlite:///folder/file.db or postgresql://user:password@host/database."


def name_of(url: URL) -> str:
    """Return the name of the database without user, password and parameters, safe to print."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return f"PostgreSQL database '{url.database}' on {url.host or 'the local socket'}"


def connect(url: URL, statement_seconds: float | None = None) -> Engine:
    """Make the engine for a parsed URL; for SQLite also the folder, and write-ahead logging in the file.

    Args:
        statement_seconds: longest time that PostgreSQL may take for a statement; None: no limit.

    Raises:
        StoreError: the driver is missing, or the file or server cannot be reached.
    """
    if url.get_backend_name() == "sqlite":
        return _connect_sqlite(url)
    try:
        engine = make_engine(url, statement_seconds, _json_text)
    except (ModuleNotFoundError, NoSuchModuleError):
        raise StoreError(
            "PostgreSQL needs the driver psycopg. Install it with: pip install 'cyclealign[postgres]'"
        ) from None
    try:
        engine.connect().close()
    except (OperationalError, InterfaceError) as error:
        raise StoreError(
            f"{name_of(url)} does not answer: {_cause(error, url).rstrip('.')}. Check {URL_VARIABLE}."
        ) from None
    return engine


def _connect_sqlite(url: URL) -> Engine:
    path = Path(url.database or "")
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, json_serializer=_json_text)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _use_write_ahead_log(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"{path} cannot be the database: {error}. Set CYCLEALIGN_HOME to a folder that can be written to, or "
            f"{URL_VARIABLE} to another database."
        ) from None
    return engine


def _use_write_ahead_log(path: Path) -> None:
    """Switch the file to write-ahead logging. SQLite does not wait for others when it changes this, so we do."""
    deadline = time.monotonic() + BUSY_SECONDS
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    finally:
        connection.close()


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # the driver opens no transactions of its own: _begin_sqlite does
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    """Take the lock at once for writing: a transaction that reads first fails if another one writes in between.

    A durable transaction reaches the disk before it counts as committed, and with it all before it.
    """
    options = connection.get_execution_options()
    writes = options.get("writes", False)
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if options.get('durable', False) else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _json_text(value: Any) -> str:
    """Return readable JSON in any script; escaped if it holds a lone surrogate, which no database can store."""
    readable = json.dumps(value, ensure_ascii=False)
    try:
        readable.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return readable


def _cause(error: DBAPIError | PoolTimeout, url: URL) -> str:
    text = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
    return text.replace(str(url.password), "***") if url.password else text


class Database:
    """An engine with its two kinds of transactions. Every method of the store is one short transaction.

    Args:
        patience_seconds: longest wait for a database that is away; see `Patience`.
    """

    def __init__(self, engine: Engine, patience_seconds: float = 0.0) -> None:
        self.engine = engine
        self.patience = Patience(patience_seconds)
        self._writing = engine.execution_options(writes=True)
        self._durable = engine.execution_options(writes=True, durable=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads.

        On SQLite it sees one state of the database. On PostgreSQL each statement sees everything committed before it:
        rows that must be consistent are selected in one statement.

        Raises:
            DatabaseAway: the database does not answer; a method of a `Repository` is repeated.
            StoreError: it refuses to answer.
        """
        with _explained(self.engine), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def writing(self, durable: bool = False) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, or rolled back if the block raises.

        Args:
            durable: survives a power cut, at the price of a sync of the file; for what was paid for. PostgreSQL's
                commits all do.

        If the answer to the commit is lost, the server is asked for its outcome, so that nothing is written twice.

        Raises:
            DatabaseAway: the database does not answer, and nothing was written.
            StoreError: it refuses to answer.
        """
        engine = self._durable if durable else self._writing
        with _explained(self.engine), Session(engine, expire_on_commit=False) as session:
            yield session
            self._commit(session)

    def _commit(self, session: Session) -> None:
        pending = pending_commit(session) if self.engine.dialect.name == "postgresql" else None
        try:
            session.commit()
        except DBAPIError as error:
            if pending is None or passing_trouble(error) is None:
                raise
            session.invalidate()  # close the connection, so that the server ends the transaction
            if not self.patience.repeat(lambda: self._was_committed(pending)):
                raise

    def _was_committed(self, pending: Commit) -> bool:
        with _explained(self.engine):
            try:
                return was_committed(self.engine, pending)
            except LookupError as error:
                name = name_of(self.engine.url)
                raise StoreError(
                    f"{name} cannot tell whether its last write was committed ({error}). {_KEPT}"
                ) from error


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    """Raise errors of the database as those of the project, and those that may pass as DatabaseAway."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        trouble = passing_trouble(error)
        name, cause = name_of(engine.url), _cause(error, engine.url).rstrip(".")
        if trouble is not None:
            raise DatabaseAway(f"{name} {trouble} ({cause}). {_KEPT}", f"{name} {trouble} ({cause})") from error
        if isinstance(error, OperationalError | InterfaceError):
            raise StoreError(f"{name} stopped answering: {cause}. {_KEPT}") from error
        raise


_KEPT = "Everything recorded so far is kept: rerun the same command once it answers."
