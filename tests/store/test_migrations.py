"""Databases of every age come up to date with their rows, and go back.

``revisions/<revision>.json`` holds rows as that revision knew them, in an order in which they can be inserted; a
revision without a file of its own uses that of the one before. A revision that adds or changes a table brings a file.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from cyclealign.errors import StoreError
from cyclealign.store import Store, migrate
from cyclealign.store.database import connect, parse_url
from cyclealign.store.migrate import VERSION_TABLE, alembic_config, downgrade, migrations_folder, upgrade
from cyclealign.tables import Base

pytestmark = pytest.mark.slow

SCRIPTS = ScriptDirectory.from_config(alembic_config())
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()][::-1]
VIEWS = {
    "round_summary",
    "judge_spending",
    "demonstration_history",
    "distillation_summary",
    "answers",
    "training_steps",
}

Contents = dict[str, list[dict[str, object]]]


@pytest.fixture
def engine(empty_database: str) -> Iterator[sa.Engine]:
    made = connect(parse_url(empty_database))
    yield made
    made.dispose()


def rows_at(revision: str) -> list[tuple[str, dict[str, object]]]:
    """The rows of the newest file that is not newer than the revision."""
    folder = Path(__file__).parent / "revisions"
    written = [each for each in REVISIONS[: REVISIONS.index(revision) + 1] if (folder / f"{each}.json").exists()]
    return json.loads((folder / f"{written[-1]}.json").read_text(encoding="utf-8"))


def reflected(engine: sa.Engine) -> dict[str, sa.Table]:
    found = sa.MetaData()
    found.reflect(engine)
    return {name: table for name, table in found.tables.items() if name != VERSION_TABLE}


def fill(engine: sa.Engine, revision: str) -> None:
    tables = reflected(engine)
    rows = rows_at(revision)
    assert {name for name, _ in rows} == set(tables), "every table of a revision needs rows in its file"
    with engine.execution_options(writes=True).begin() as connection:
        for name, row in rows:
            connection.execute(tables[name].insert().values(for_columns(tables[name], row)))


def for_columns(table: sa.Table, row: dict[str, object]) -> dict[str, object]:
    moments = {column.name for column in table.columns if isinstance(column.type, sa.DateTime)}
    values = {
        name: datetime.fromisoformat(value) if name in moments and value else value for name, value in row.items()
    }
    return {name: sa.null() if value is None else value for name, value in values.items()}


def contents(engine: sa.Engine) -> Contents:
    with engine.connect() as connection:
        return {
            name: [dict(row) for row in connection.execute(table.select().order_by(*table.primary_key)).mappings()]
            for name, table in reflected(engine).items()
        }


def differences(before: Contents, after: Contents) -> list[str]:
    """Return the rows of ``before`` that are missing in ``after``, in the tables and columns that both have."""
    lost = [f"{name}: {len(rows)} rows, then {len(after[name])}" for name, rows in before.items() if name in after]
    lost = [words for words in lost if len(set(re.findall(r"\d+", words))) > 1]
    for name in before.keys() & after.keys():
        for old, new in zip(before[name], after[name], strict=False):
            shared = old.keys() & new.keys()
            lost += [f"{name}.{column}: {old[column]!r}" for column in shared if old[column] != new[column]]
    return lost


@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_every_older_revision_survive_the_way_up_and_down(engine: sa.Engine, revision: str) -> None:
    """A user's history would be lost, or made unreadable, by the upgrade that a new version does on its own."""
    upgrade(engine, revision)
    fill(engine, revision)
    before = contents(engine)
    upgrade(engine)
    assert differences(before, contents(engine)) == []
    downgrade(engine, revision)
    assert contents(engine) == before


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_store_reads_what_an_older_version_wrote(empty_database: str, engine: sa.Engine, revision: str) -> None:
    upgrade(engine, revision)
    fill(engine, revision)
    with Store.open(empty_database) as store:
        first, second = store.history.summaries("kitchen")
        assert (first["verdict"], first["win_rate"], first["judge_calls"], first["cost_usd"]) == (
            *("accepted", 0.625, 1, 0.125),
        )
        assert first["closed_at"] == "2026-11-02T10:00:00+00:00"
        assert second["status"] == "open"
        assert store.history.detail("kitchen", 1)["prompts"][0]["rankings"]["judge"]["order"] == ["c1", "c2"]
        assert [shown.question for shown in store.demonstrations.active("kitchen")] == ["How do I poach an egg?"]
        assert store.rounds.unfinished("kitchen").parent.id == "a1"


def test_totals_of_closed_rounds_are_summed_from_their_rows(engine: sa.Engine) -> None:
    """The history of an older version would show rounds without answers, and without cost."""
    upgrade(engine, "0019")
    fill(engine, "0019")
    upgrade(engine)
    made = contents(engine)
    written = [(name, row) for name, row in rows_at("0020") if name.endswith("_total")]
    assert list(made["round_total"]) == [row for name, row in written if name == "round_total"]
    by_purpose = sorted((row for name, row in written if name == "call_total"), key=lambda row: str(row["purpose"]))
    assert sorted(made["call_total"], key=lambda row: str(row["purpose"])) == by_purpose


def test_up_down_up(engine: sa.Engine) -> None:
    """A downgrade that forgets a table or view makes the next upgrade fail."""
    upgrade(engine)
    assert set(sa.inspect(engine).get_view_names()) >= VIEWS
    fill(engine, REVISIONS[-1])
    downgrade(engine, "base")
    assert set(sa.inspect(engine).get_table_names()) == {VERSION_TABLE}
    assert sa.inspect(engine).get_view_names() == []
    upgrade(engine)
    assert set(sa.inspect(engine).get_table_names()) == {VERSION_TABLE, *Base.metadata.tables}
    assert set(sa.inspect(engine).get_view_names()) >= VIEWS


def test_tables_and_migrations_agree(engine: sa.Engine) -> None:
    """A column that only the code knows works in no database that exists."""
    upgrade(engine)
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "target_metadata": Base.metadata}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []


def test_checks_and_partial_indexes_agree(engine: sa.Engine) -> None:
    """Alembic does not compare these: a status or verdict that no one knows would be stored."""
    upgrade(engine)
    found = sa.inspect(engine)
    for name, table in Base.metadata.tables.items():
        checks = {str(each.name) for each in table.constraints if isinstance(each, sa.CheckConstraint)}
        assert {each["name"] for each in found.get_check_constraints(name)} == checks
    with engine.execution_options(writes=True).connect() as connection:
        fill(engine, REVISIONS[-1])
        with pytest.raises(sa.exc.IntegrityError):
            connection.exec_driver_sql(
                "INSERT INTO round (experiment_id, number, status, owner, lease_until, seed, settings, base_model, "
                "opened_at) SELECT experiment_id, 3, status, owner, lease_until, seed, settings, base_model, opened_at "
                "FROM round WHERE number = 2"
            )


def test_a_migration_that_fails_leaves_everything_as_it_was(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of an upgrade is neither the old nor the new database, and nothing can open it."""
    upgrade(engine, REVISIONS[0])
    fill(engine, REVISIONS[0])
    before = contents(engine)
    monkeypatch.setattr(migrate, "_run", break_afterwards(migrate._run))
    with pytest.raises(StoreError):
        upgrade(engine)
    monkeypatch.undo()
    assert contents(engine) == before
    upgrade(engine)
    assert differences(before, contents(engine)) == []


def break_afterwards(run):
    def broken(connection: sa.Connection, revision: str, *, down: bool) -> None:
        run(connection, revision, down=down)
        connection.exec_driver_sql("SELECT no_such_column FROM round")

    return broken


def test_rows_that_point_nowhere_stop_a_migration_of_sqlite(tmp_path: Path) -> None:
    """Keys are not checked while SQLite rebuilds tables: a mistake would only show much later."""
    engine = connect(parse_url(f"sqlite:///{tmp_path / 'a.db'}"))
    upgrade(engine, REVISIONS[0])
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute("INSERT INTO metric VALUES (77, 'win_rate', 0.5, NULL, NULL, NULL, '')")
        driver.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(StoreError, match="point nowhere"):
        upgrade(engine)
    with engine.connect() as connection:
        assert migrate.revision_of(connection) == REVISIONS[0]
    engine.dispose()


def test_migrations_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (migrations_folder() / "env.py").exists()
    assert len(REVISIONS) == len(list((migrations_folder() / "versions").glob("[0-9]*.py")))
