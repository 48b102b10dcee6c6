"""Opening the database: the right place, a clear message where it cannot be, and no password in any message."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from cyclealign.errors import NewerDatabase, StoreError
from cyclealign.store import Store, database_url
from cyclealign.store.database import connect, name_of, parse_url
from cyclealign.store.migrate import VERSION_TABLE, revision_of
from tests.support.store_values import adapter_for, answers, call, opened, prompt, reply

SECRET = "geheim-42"


def test_default_is_a_file_in_the_current_folder_that_later_moves_do_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path would lead connections made after a chdir to a second, empty database."""
    monkeypatch.delenv("CYCLEALIGN_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    with Store.open() as store:
        monkeypatch.chdir("/")
        assert store.history.summaries() == []
    assert (tmp_path / ".cyclealign" / "cyclealign.db").exists()


def test_a_given_relative_path_is_bound_to_the_folder_of_its_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_url("sqlite:///some/a.db").database == str(tmp_path / "some" / "a.db")


def test_environment_chooses_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    assert database_url() == f"sqlite:///{tmp_path / 'home' / 'cyclealign.db'}"
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", "postgresql://host/name")
    assert database_url() == "postgresql://host/name"


def test_sqlite_keeps_its_promises(tmp_path: Path) -> None:
    """Without these pragmas, keys are not checked and readers block writers."""
    with Store.open(f"sqlite:///{tmp_path / 'new' / 'folder' / 'a.db'}") as store, store.engine.connect() as connection:
        found = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()
            for pragma in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000, "synchronous": 1}


def test_what_was_paid_for_is_on_the_disk_before_it_counts_as_stored(tmp_path: Path) -> None:
    """After a power cut a reply would be paid for again, or a round name weights that it does not have."""
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        made = opened(store)
        pragmas: list[str] = []

        def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
            if statement.startswith(("PRAGMA synchronous", "BEGIN IMMEDIATE")):
                pragmas.append(statement)

        sa.event.listen(store.engine, "before_cursor_execute", note)
        store.calls.record_reply(made.id, call(0), reply())
        store.candidates.add(made.id, answers(made, prompt(0)))
        store.adapters.add(made.id, adapter_for(made), "a-model")
        store.rounds.close(made.id, "me", "accepted", "")
    modes = [before.removeprefix("PRAGMA synchronous = ") for before in pragmas[::2]]
    assert set(pragmas[1::2]) == {"BEGIN IMMEDIATE"}
    assert modes == ["FULL", "NORMAL", "FULL", "FULL"]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_uses_psycopg(scheme: str) -> None:
    assert parse_url(f"{scheme}://me@host/name").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:1/nowhere",
        f"postgresql://me:1/{SECRET}@host/name",
        f"postgresql://me:{SECRET}/2@host/name",
        f"postgresql://me:pass@host:{SECRET}/name",
        f"mysql://me:{SECRET}@host/name",
        f"{SECRET} is no url",
        f"postgresql://127.0.0.1:1/nowhere?password={SECRET}",
    ],
)
def test_no_message_repeats_the_password(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.__cause__)
    assert "CYCLEALIGN_DATABASE_URL" in str(caught.value)


def test_name_of_a_server_holds_no_password() -> None:
    assert name_of(parse_url(f"postgresql://me:{SECRET}@host/name?password={SECRET}")) == (
        "PostgreSQL database 'name' on host"
    )


def test_missing_driver_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from cyclealign.store import Store\n"
        "Store.open('postgresql://me@127.0.0.1/name')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "StoreError" in ended.stderr
    assert "cyclealign[postgres]" in ended.stderr


def test_memory_that_forgets_is_refused() -> None:
    """Each thread would have a database of its own, and none would be kept."""
    with pytest.raises(StoreError, match="would lose the rounds"):
        Store.open("sqlite://")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes, " * 200)
    with pytest.raises(StoreError, match="not a database"):
        Store.open(f"sqlite:///{path}")
    assert path.read_text() == "my notes, " * 200


def test_newer_revision_is_refused_and_left_alone(empty_database: str) -> None:
    """An old program that writes into a newer schema would corrupt it without a word."""
    Store.open(empty_database).close()
    engine = connect(parse_url(empty_database))
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(NewerDatabase, match="9999"):
        Store.open(empty_database)
    with engine.connect() as connection:
        assert revision_of(connection) == "9999"
    engine.dispose()


def test_two_processes_may_open_a_fresh_database_at_once(empty_database: str) -> None:
    """Both would create the tables, and one would fail, or both would half succeed."""
    code = (
        "import sys\n"
        "from cyclealign.store import Store\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(Store.open(sys.argv[1]).history.summaries())"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", code, empty_database], **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in both]
    assert ended == [("[]\n", "")] * 2


def test_opening_needs_no_lock_while_another_run_writes(tmp_path: Path) -> None:
    """A browser of the history must not wait for, or disturb, a run that is in a transaction."""
    path = tmp_path / "a.db"
    Store.open(f"sqlite:///{path}").close()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with Store.open(f"sqlite:///{path}") as store:
        assert store.history.summaries() == []
    writer.execute("ROLLBACK")
    writer.close()


def test_a_home_that_cannot_be_written_to_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents advice that leaves the folder of adapters and reports where it cannot be made either."""
    (tmp_path / "home").write_text("a file, not a folder")
    monkeypatch.delenv("CYCLEALIGN_DATABASE_URL", raising=False)
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    with pytest.raises(StoreError, match=r"cannot be the database: .*\. Set CYCLEALIGN_HOME to a folder"):
        Store.open()
