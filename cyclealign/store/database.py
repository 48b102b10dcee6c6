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
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from cyclealign.errors import StoreError
from cyclealign.files import home

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


def connect(url: URL) -> Engine:
    """Make the engine for a parsed URL; for SQLite also the folder, and write-ahead logging in the file.

    Raises:
        StoreError: the driver is missing, or the file or server cannot be reached.
    """
    if url.get_backend_name() == "sqlite":
        return _connect_sqlite(url)
    try:
        engine = create_engine(url, pool_pre_ping=True, json_serializer=_json_text)
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
    """Take the lock at once for writing: a transaction that reads first fails if another one writes in between."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _json_text(value: Any) -> str:
    """Return readable JSON in any script; escaped if it holds a lone surrogate, which no database can store."""
    readable = json.dumps(value, ensure_ascii=False)
    try:
        readable.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return readable


def _cause(error: DatabaseError | InterfaceError, url: URL) -> str:
    text = " ".join(str(error.orig).split())
    return text.replace(str(url.password), "***") if url.password else text


class Database:
    """An engine with its two kinds of transactions. Every method of the store is one short transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(writes=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads.

        On SQLite it sees one state of the database. On PostgreSQL each statement sees everything committed before it:
        rows that must be consistent are selected in one statement.
        """
        with _explained(self.engine), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, or rolled back if the block raises."""
        with _explained(self.engine), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StoreError(
            f"{name_of(engine.url)} stopped answering: {_cause(error, engine.url).rstrip('.')}. "
            "Everything recorded so far is kept: rerun the same command once it answers."
        ) from error
