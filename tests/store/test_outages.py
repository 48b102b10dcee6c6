"""A database that is away for a while: units of work wait for it, and nothing is written twice."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cyclealign.errors import StoreError
from cyclealign.store import Store, database
from cyclealign.store.database import parse_url
from tests.support.cut_proxy import At, CutProxy
from tests.support.experiment import empty
from tests.support.store_values import opened

pytestmark = pytest.mark.slow


@pytest.fixture
def proxy(migrated_postgres: str) -> Iterator[CutProxy]:
    with CutProxy(parse_url(migrated_postgres)) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: CutProxy, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store whose connections lead through the proxy."""
    url = proxy.url.render_as_string(hide_password=False)
    with Store.open(url, patience_seconds=30.0, statement_seconds=1.0) as store:
        yield store
    empty(request.getfixturevalue("migrated_postgres"))


def steps(store: Store) -> list[tuple[str, float, int]]:
    with store.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text("SELECT step, seconds, runs FROM round_step"))]


def test_a_short_outage_is_waited_for_and_told_once(
    behind: Store, proxy: CutProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Five seconds without the database would end a run of hours, and nobody would know why it stood still."""
    round_ = opened(behind)
    proxy.cut_for(0.5)
    with caplog.at_level(logging.WARNING, "cyclealign.store.patience"):
        behind.rounds.add_step_seconds(round_.id, "train", 2.0)
    assert steps(behind) == [("train", 2.0, 1)]
    away, back = caplog.messages
    assert "is unreachable" in away
    assert "; waiting until 20" in away
    assert back.startswith("The database answers again, after ")


@pytest.mark.parametrize("action", ["cut before", "cut after", "stall"])
def test_a_commit_whose_answer_is_lost_counts_once(behind: Store, proxy: CutProxy, action: At) -> None:
    """A repeated transaction would count seconds, failures and calls twice; one not repeated would lose them.

    A stalled one would keep the round locked, and could be committed after its repetition.
    """
    round_ = opened(behind)
    proxy.at(b"COMMIT", action)
    behind.rounds.add_step_seconds(round_.id, "train", 2.0)
    assert proxy.cuts == 1
    assert steps(behind) == [("train", 2.0, 1)]


def test_a_silent_connection_is_given_up_and_its_transaction_repeated(behind: Store, proxy: CutProxy) -> None:
    """A connection that neither answers nor breaks would hold the run, and its locks, for ever."""
    round_ = opened(behind)
    proxy.stall()
    behind.rounds.add_step_seconds(round_.id, "train", 2.0)
    assert steps(behind) == [("train", 2.0, 1)]


def test_spent_patience_ends_with_the_reason_and_the_last_writes_do_not_wait_again(
    migrated_postgres: str, proxy: CutProxy
) -> None:
    """A run would end without a word of the cause, or wait for ten minutes more at each of its last writes."""
    url = proxy.url.render_as_string(hide_password=False)
    with Store.open(url, patience_seconds=0.3) as store:
        proxy.cut()
        with pytest.raises(StoreError, match=r"is unreachable .* rerun the same command .*database\.patience_seconds"):
            store.experiments.names()
        store.rounds._database.patience.seconds = 1e9  # would wait for ever
        with pytest.raises(StoreError, match="is unreachable"):
            store.experiments.names()
        proxy.restore()
        assert store.experiments.names() == []


def test_a_locked_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that locks the file for a minute would end the run."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}", patience_seconds=60.0) as store:
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
        assert store.leases.take("trial", "me", "run", 60.0, lambda _: True) is None
        other.close()


def test_a_full_disk_is_named_and_a_run_goes_on_once_there_is_space(tmp_path: Path) -> None:
    """A run would end with the driver's words, or lose the reply that it could not store."""
    path = tmp_path / "a.db"
    with Store.open(f"sqlite:///{path}", patience_seconds=0.0) as store:
        round_ = opened(store)

        def limit(pages: int) -> None:
            def set_limit(connection: sqlite3.Connection, *_: object) -> None:
                connection.execute(f"PRAGMA max_page_count = {pages}")

            store.engine.dispose()
            sa.event.listen(store.engine, "connect", set_limit)

        limit(1)
        with pytest.raises(StoreError, match=r"its disk is full\. Free some space .* rerun the same command"):
            store.notes.record(round_.id, "subject", "words " * 2000)
        limit(1 << 30)
        store.notes.record(round_.id, "subject", "words " * 2000)
