"""Copy a whole database to an empty one of either kind, and compare both; back one up while runs write to it."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Engine, Table, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from cyclealign import tables
from cyclealign.errors import StoreError
from cyclealign.store.database import connect, name_of, parse_url
from cyclealign.store.migrate import upgrade

PART = 1000  # rows that are in memory at once
OnTable = Callable[[str, int], None]  # called with a table's name and its number of rows once it is copied


class Content(NamedTuple):
    """The number of rows of a table, and a hash of them that does not depend on their order."""

    rows: int
    hash: str


def copy_rows(source: Engine, target: Engine, on_table: OnTable = lambda name, rows: None) -> dict[str, Content]:
    """Copy every row of ``source`` to ``target``, all or none, and compare; both have the newest schema.

    Returns:
        The content of each table, the same in both.

    Raises:
        StoreError: the target has rows already, a table differs after the copy, or a database does not answer.
    """
    try:
        with snapshot(source) as reading, target.execution_options(writes=True).begin() as writing:
            _require_empty(writing, name_of(target.url))
            return _copy_all(reading, writing, on_table)
    except DBAPIError as error:
        cause = " ".join(str(error.orig).split()).rstrip(".")
        raise StoreError(f"The copy stopped, and nothing was kept: {cause}. Rerun the same command.") from error


def _require_empty(writing: Connection, name: str) -> None:
    if full := [table.name for table in _tables() if writing.scalar(select(func.count()).select_from(table))]:
        raise StoreError(f"{name} is not empty (rows in {', '.join(full)}). Nothing was copied: name a new database.")


def _copy_all(reading: Connection, writing: Connection, on_table: OnTable) -> dict[str, Content]:
    copied = {}
    for table in _tables():
        copied[table.name] = content = _copy_table(reading, writing, table)
        on_table(table.name, content.rows)
    for table in _tables():
        _fill_late_columns(reading, writing, table)
        _set_next_id(writing, table)
    if wrong := [table.name for table in _tables() if content_of(writing, table) != copied[table.name]]:
        raise StoreError(
            f"The copy differs in {', '.join(wrong)}. Nothing was kept. Check the disks and the versions of both "
            "databases, and rerun."
        )
    return copied


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that sees one state of the database, on PostgreSQL as well."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect() as connection, connection.execution_options(**options).begin():
        yield connection


def content_of(connection: Connection, table: Table) -> Content:
    """Return number and hash of the rows of a table: the sum of the hashes of its rows, modulo 2^256."""
    rows, total = 0, 0
    for part in _parts(connection, table):
        rows += len(part)
        total += sum(map(row_hash, part))
    return Content(rows, f"{total % (1 << 256):064x}")


def row_hash(values: Sequence[Any]) -> int:
    """Return the SHA-256 of a row as a number; equal values of both kinds of database have equal hashes."""
    written = json.dumps([_plain(value) for value in values], sort_keys=True, ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(written.encode()).digest(), "big")


def back_up(source: Engine, target: Path) -> None:
    """Write all rows to a new SQLite file, complete and consistent, while other processes write to the source.

    Raises:
        StoreError: the target cannot be written, or exists.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.dialect.name == "sqlite":
            _copy_file(Path(str(source.url.database)), temporary)
        else:
            _copy_to_file(source, temporary)
        with closing(sqlite3.connect(temporary)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # one file, without those of the write-ahead log
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.link(temporary, target)  # unlike a renaming, this replaces no file
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"The backup {target} cannot be written: {error}. Name another file or disk.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _copy_file(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)  # in one step: a reader of a write-ahead log blocks no writer


def _copy_to_file(source: Engine, target: Path) -> None:
    engine = connect(parse_url(f"sqlite:///{target}"))
    try:
        upgrade(engine)
        copy_rows(source, engine)
    finally:
        engine.dispose()


def _tables() -> list[Table]:
    """Return all tables, each after those that its rows point to; `_late` columns apart."""
    return list(tables.Base.metadata.sorted_tables)


def _late(table: Table) -> list[Column[Any]]:
    """Return the columns that may point to rows written later: of the same table, or in a circle of tables."""
    return [key.parent for key in table.foreign_keys if key.use_alter or key.column.table is table]


def _copy_table(reading: Connection, writing: Connection, table: Table) -> Content:
    rows, total, late = 0, 0, {column.name for column in _late(table)}
    names = [column.name for column in table.columns]
    for part in _parts(reading, table):
        rows += len(part)
        total += sum(map(row_hash, part))
        values = [dict(zip(names, row, strict=True)) for row in part]
        writing.execute(insert(table), [{**each, **dict.fromkeys(late)} for each in values])
    return Content(rows, f"{total % (1 << 256):064x}")


def _fill_late_columns(reading: Connection, writing: Connection, table: Table) -> None:
    for column in _late(table):
        (key,) = table.primary_key.columns
        found = reading.execute(select(key, column).where(column.is_not(None)))
        for id_, value in found.all():
            writing.execute(update(table).where(key == id_).values({column.name: value}))


def _set_next_id(writing: Connection, table: Table) -> None:
    """Let PostgreSQL number new rows after the copied ones; SQLite does so by itself."""
    number = table.autoincrement_column
    if number is None or writing.dialect.name != "postgresql":
        return
    last = writing.scalar(select(func.max(number)))
    sequence = {"table": f'"{table.name}"', "column": number.name}
    name = writing.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), sequence)
    if last is not None and name is not None:
        writing.execute(text("SELECT setval(CAST(:name AS regclass), :last)"), {"name": name, "last": last})


def _parts(connection: Connection, table: Table) -> Iterator[Sequence[Any]]:
    result = connection.execute(select(table).execution_options(yield_per=PART))
    return iter(result.partitions())


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else value
