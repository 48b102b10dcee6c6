"""Fill a database with a long history in bulk: SQLite by executemany without syncs, PostgreSQL by COPY."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from sqlalchemy import Engine, create_engine, func, select, text, update
from sqlalchemy.orm import Session

from benchmarks.history_rows import HELD_OUT, Size, Table, is_held_out, material, prompt, rounds
from cyclealign import tables
from cyclealign.store import Store
from cyclealign.store.database import parse_url
from cyclealign.store.totals import write_totals

Insert = Callable[[Table], None]


def fill(url: str, size: Size, announce: Callable[[str], None]) -> None:
    """Make the database, unless it holds this history already, and fill it."""
    Store.open(url).close()
    engine = create_engine(parse_url(url))
    try:
        if _filled(engine):
            announce("filled already")
            return
        insert = _insert_sqlite if engine.dialect.name == "sqlite" else _insert_postgresql
        for table in _tables(size):
            insert(engine, table)
            announce(f"{table.name} filled")
        _keep_totals(engine)
        _finish(engine)
    finally:
        engine.dispose()


def _filled(engine: Engine) -> bool:
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1 FROM round LIMIT 1")).first() is not None


def _tables(size: Size) -> Iterator[Table]:
    yield from material(size)
    numbers = range(size.prompts)
    held_out = [prompt(number).id for number in numbers[: 10 * HELD_OUT] if is_held_out(number)]
    yield from rounds(size, [prompt(number).id for number in numbers if not is_held_out(number)], held_out)


def _insert_sqlite(engine: Engine, table: Table) -> None:
    with closing(engine.raw_connection()) as connection:
        driver: Any = connection.driver_connection
        driver.execute("PRAGMA synchronous = OFF")
        driver.execute("PRAGMA cache_size = -200000")
        marks = ", ".join("?" * len(table.columns))
        statement = f"INSERT INTO {table.name} ({_names(table.columns)}) VALUES ({marks})"  # noqa: S608 - our names
        driver.executemany(statement, table.rows)
        driver.commit()


def _insert_postgresql(engine: Engine, table: Table) -> None:
    with closing(engine.raw_connection()) as connection:
        driver: Any = connection.driver_connection
        cursor = driver.cursor()
        cursor.execute("SET session_replication_role = replica")  # checks no foreign keys, as SQLite does here
        with cursor.copy(f"COPY {table.name} ({_names(table.columns)}) FROM STDIN") as copy:
            for row in table.rows:
                copy.write_row(row)
        cursor.execute("SET session_replication_role = DEFAULT")
        driver.commit()


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _keep_totals(engine: Engine) -> None:
    """Write what the store keeps when prompts are added and rounds are closed."""
    member, sets = tables.PromptSetMember, tables.PromptSet
    with Session(engine) as session:
        for split in ("train", "held_out"):
            counted = select(func.count()).where(member.prompt_set_id == sets.id, member.split == split)
            session.execute(update(sets).values({split: counted.scalar_subquery()}))
        for round_id in session.scalars(select(tables.Round.id)).all():
            write_totals(session, round_id)
        session.commit()


def _finish(engine: Engine) -> None:
    """Set the counters of PostgreSQL's ids, and collect the statistics that its autovacuum would."""
    if engine.dialect.name != "postgresql":
        return
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for table in ("experiment", "prompt_set", "round", "ranking"):
            top = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"  # noqa: S608
            connection.execute(text(top))
        connection.execute(text("VACUUM ANALYZE"))
