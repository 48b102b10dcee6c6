"""`cyclealign db`: a copy or backup has every row, and a check finds each kind of damage."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cyclealign import tables
from cyclealign.files import home
from cyclealign.loop.lease import hold_experiment, owner_name
from cyclealign.policy import weights
from cyclealign.records import Adapter, Metric
from cyclealign.store import Store
from cyclealign.store.transfer import content_of
from tests.store.test_migrations import REVISIONS, fill
from tests.support.experiment import run_command
from tests.support.store_values import adapter_for, answers, call, opened, prompt, reply

pytestmark = pytest.mark.slow

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> tuple[int, str]:
        code, output, errors = run_command(capsys, "db", *arguments)
        return code, " ".join((output + errors).split())

    return run


def filled(url: str) -> None:
    """Put a row into every table, and an adapter that follows another."""
    with Store.open(url) as store:
        fill(store.engine, REVISIONS[-1])
        for _ in range(2):
            made = opened(store)
            store.candidates.add(made.id, answers(made, prompt(0)))
            store.metrics.record(made.id, [Metric("kl", 0.1 + 0.2, None, 1e-300)])
            store.adapters.add(made.id, adapter_for(made), "a-model")
            store.rounds.close(made.id, "me", "accepted", "because")


def contents(url: str) -> dict[str, Any]:
    with Store.open(url) as store, store.engine.connect() as connection:
        return {table.name: content_of(connection, table) for table in tables.Base.metadata.sorted_tables}


def test_a_database_copied_there_and_back_is_the_same_and_takes_new_rows(
    command: Command, empty_database: str, tmp_path: Path
) -> None:
    """Prevents a change of server that loses rows, floats or links, or after which the first new round fails."""
    first, last = f"sqlite:///{tmp_path / 'first.db'}", tmp_path / "last.db"
    filled(first)
    code, output = command("copy", first, empty_database)
    assert (code, "counts and hashes of all tables are equal" in output) == (0, True), output
    code, output = command("copy", "--json", empty_database, str(last))
    assert code == 0, output
    assert json.loads(output)["adapter"]["rows"] >= 2
    before = contents(first)
    assert all(content.rows for content in before.values()), "a table without rows is not tested"
    assert contents(empty_database) == contents(f"sqlite:///{last}") == before
    for url in (empty_database, f"sqlite:///{last}"):
        with Store.open(url) as store:
            third = opened(store)
            store.calls.record_reply(third.id, call(77), reply())
            assert third.parent.id == "adapter-trial-2"


def test_a_copy_replaces_nothing_and_misses_nothing(command: Command, tmp_path: Path) -> None:
    """Prevents two histories in one database, and a copy without the rows of a run that is still at work."""
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    with Store.open(f"sqlite:///{source}") as store:
        opened(store)
        with hold_experiment(store, "trial", owner_name("run"), "busy"):
            code, output = command("copy", str(source), str(target))
        assert (code, "Run 'busy' is advancing experiment 'trial'" in output) == (1, True)
    with Store.open(f"sqlite:///{target}") as store:
        opened(store, experiment="other")
    before = contents(f"sqlite:///{target}")
    code, output = command("copy", str(source), str(target))
    assert (code, "is not empty (rows in " in output) == (1, True)
    assert contents(f"sqlite:///{target}") == before
    code, output = command("copy", str(tmp_path / "typo.db"), str(tmp_path / "new.db"))
    assert (code, "There is no database" in output, (tmp_path / "typo.db").exists()) == (1, True, False)


def test_a_copy_that_differs_is_not_kept(command: Command, tmp_path: Path) -> None:
    """Prevents a damaged copy from being taken for the history."""
    filled(f"sqlite:///{tmp_path / 'a.db'}")
    Store.open(f"sqlite:///{tmp_path / 'b.db'}").close()
    with sa.create_engine(f"sqlite:///{tmp_path / 'b.db'}").begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER damage AFTER INSERT ON metric BEGIN UPDATE metric SET value = value + 1; END"
        )
    code, output = command("copy", str(tmp_path / "a.db"), str(tmp_path / "b.db"))
    assert (code, "The copy differs in metric. Nothing was kept." in output) == (1, True)
    assert contents(f"sqlite:///{tmp_path / 'b.db'}")["prompt"].rows == 0


def test_a_backup_beside_a_writer_is_complete_and_consistent(
    command: Command, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a backup that holds a round without its prompts, or that ends or delays the run beside it."""
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", database)
    done = threading.Event()
    written: list[int] = []

    def write(store: Store) -> None:
        round_ = opened(store)
        while not done.is_set():
            store.calls.record_reply(round_.id, call(len(written)), reply())
            written.append(1)

    with Store.open(database) as store:
        writer = threading.Thread(target=write, args=(store,))
        writer.start()
        while len(written) < 5:
            pass
        code, output = command("backup", str(tmp_path / "backup.db"))
        done.set()
        writer.join()
    assert code == 0, output
    with Store.open(f"sqlite:///{tmp_path / 'backup.db'}") as store:
        assert store.rounds.get("trial", 1).number == 1
        assert 5 <= store.calls.spending("trial").calls <= len(written)
        assert store.integrity.dangling() == {}
        assert store.integrity.problems_of_file() == []
    code, output = command("backup", str(tmp_path / "backup.db"))
    assert (code, output.endswith("exists already. Name a new file.")) == (1, True)
    assert [path.name for path in tmp_path.glob("*backup*")] == ["backup.db"]


def test_a_check_names_each_damage_with_its_remedy(
    command: Command, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents damage that shows only when the next round fails, or never."""
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", database)
    folder = home() / "adapters" / "trial" / "round-1-abc"
    folder.mkdir(parents=True)
    (folder / weights.ADAPTER_WEIGHTS).write_bytes(b"weights")
    hashed = str(weights.content_hash(folder))
    with Store.open() as store:
        round_ = opened(store)
        store.calls.record_reply(round_.id, call(1), reply())
        store.adapters.add(round_.id, Adapter("an-adapter", str(folder), hashed, None), "a-model")
        code, output = command("check")
        assert code == 0, output
        assert "ok adapters: 1 checked" in output
        with store.engine.execution_options(writes=True).begin() as connection:
            connection.execute(sa.text("UPDATE prompt SET messages = '[]' WHERE text = 'question 1'"))
            connection.execute(sa.text("UPDATE judge_call SET model = 'another'"))
    (folder / weights.ADAPTER_WEIGHTS).write_bytes(b"other weights")
    (folder / "probe.json").write_text("{")
    code, output = command("check")
    assert code == 1
    assert "damaged adapters: the weights of round 1 of 'trial' in" in output
    assert "have changed. The next run trains them again from the stored round" in output
    assert "damaged probes" in output
    assert "damaged hashes of prompt" in output
    assert "damaged hashes of judge_call" in output
    assert "ok foreign keys" in output
    found = {row["subject"]: row["problems"] for row in json.loads(command("check", "--json")[1])}
    assert [subject for subject, problems in found.items() if problems] == [
        "hashes of prompt", "hashes of judge_call", "adapters", "probes",
    ]  # fmt: skip


def test_rows_that_point_nowhere_are_found(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a file that another program has edited from failing in the middle of a round."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", url)
    with Store.open() as store:
        opened(store)
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql("DELETE FROM round")
    code, output = command("check")
    assert code == 1
    assert "round_prompt.round_id -> round: 6 rows point nowhere. Restore a backup" in output
