"""Housekeeping beside runs, links, other databases and killed processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cyclealign.distill.in_use import in_use
from cyclealign.files import HOME_VARIABLE, home
from cyclealign.housekeeping.clean import clean
from cyclealign.housekeeping.rules import HousekeepingRules
from cyclealign.loop.lease import hold_experiment, owner_name
from cyclealign.store import Store
from tests.housekeeping.homes import NOW, distillation, file, folder, round_with_weights
from tests.support.experiment import run_command

NOTHING_STAYS = HousekeepingRules(
    dry_run=False, adapters_days=0, keep_adapters=0, checkpoints_days=0, labels_days=0, logs_days=0, keep_logs=0
)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    with Store.open() as opened:
        yield opened


def test_files_of_a_run_at_work_are_left_alone_and_named(store):
    """Prevents weights from vanishing under a run that is between two rounds, and labels under one that reads them."""
    weights = round_with_weights(store, "rolled_back", False, 50)
    labels = folder(home() / "distill" / "pld" / "labels" / "hash", 500)
    with hold_experiment(store, "trial", owner_name("other"), "busy-bee"), in_use("pld"):
        outcome = clean(store, NOTHING_STAYS, NOW)
    assert outcome.expired == []
    assert [note.partition(":")[0] for note in outcome.notes] == ["trial", "pld"]
    assert {each.path for each in clean(store, NOTHING_STAYS, NOW).expired} == {weights, labels}
    assert not weights.exists()


def test_a_dry_run_takes_no_lease(store, monkeypatch):
    """Prevents a scheduled round from being cancelled because somebody looked at what could be deleted."""
    round_with_weights(store, "rolled_back", False, 50)

    def refuse(*arguments):
        raise AssertionError("a lease was taken")

    monkeypatch.setattr(type(store.leases), "take", refuse)
    assert len(clean(store, HousekeepingRules(), NOW).expired) == 0  # the two newest stay
    assert len(clean(store, HousekeepingRules(keep_adapters=0), NOW).expired) == 1


def test_an_unfinished_run_keeps_the_files_of_its_job_until_it_is_given_up(store):
    """Prevents the loss of paid labels of a run that waits to be resumed, and files that are kept for ever."""
    run = distillation(store, 1, finished=False, student=None)
    labels = folder(home() / "distill" / "pld" / "labels" / "hash", 50)
    assert f"run {run} is not finished" in clean(store, NOTHING_STAYS, NOW).notes[0]
    later = NOW + 61 * 86400
    given_up = NOTHING_STAYS.model_copy(update={"unfinished_days": 100})
    assert clean(store, given_up, later).expired == []
    given_up = NOTHING_STAYS.model_copy(update={"unfinished_days": 60})
    assert [each.path for each in clean(store, given_up, later).expired] == [labels]


def test_paths_that_settings_name_stay(store):
    """Prevents the deletion of weights that a distillation job, or another experiment's policy, reads."""
    weights = [round_with_weights(store, "rolled_back", False, 50) for _ in range(2)]
    distillation(store, 1, finished=True, student=None, config={"teacher": {"model": str(weights[0])}})
    assert [each.path for each in clean(store, NOTHING_STAYS, NOW).expired] == [weights[1]]


def test_a_link_is_not_followed_and_not_deleted(store, tmp_path):
    """Prevents the deletion of a folder elsewhere to which somebody moved labels."""
    elsewhere = folder(tmp_path / "elsewhere", 500)
    (home() / "distill" / "pld" / "labels").mkdir(parents=True)
    (home() / "distill" / "pld" / "labels" / "hash").symlink_to(elsewhere)
    file(home() / "real.log", 500)
    (home() / "logs").mkdir()
    (home() / "logs" / "linked.log").symlink_to(home() / "real.log")
    assert clean(store, NOTHING_STAYS, NOW).expired == []
    assert list(elsewhere.iterdir())


def test_what_a_killed_run_left_goes_and_a_running_one_keeps_its_own(store):
    """Prevents temporary folders that stay for good, and the deletion of labels that are being written."""
    import socket

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    labels = home() / "distill" / "pld" / "labels"
    left = folder(labels / f".hash-{socket.gethostname()}-{ended.pid}-x1y2", 50)
    folder(labels / f".hash-{socket.gethostname()}-{os.getpid()}-x1y2", 50)
    folder(labels / ".hash-another-machine-1-x1y2", 50)
    assert [each.path for each in clean(store, NOTHING_STAYS, NOW).expired] == [left]


def test_an_open_log_stays(store):
    """Prevents a worker whose further output nobody can read, since its log was quiet for a month."""
    quiet = file(home() / "logs" / "worker.log", 500)
    with quiet.open("a"):
        assert clean(store, NOTHING_STAYS, NOW).expired == []
    assert [each.path for each in clean(store, NOTHING_STAYS, NOW).expired] == [quiet]


def test_files_whose_rows_another_database_may_have_stay(store, tmp_path, monkeypatch):
    """Prevents a pass over an empty database from deleting labels and weights of the home's own."""
    folder(home() / "distill" / "pld" / "labels" / "hash", 500)
    folder(home() / "adapters" / "trial" / "round-9-abc", 500)
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    with Store.open() as other:
        weights = round_with_weights(other, "rolled_back", False, 50)
        outcome = clean(other, NOTHING_STAYS, NOW)
    assert [each.path for each in outcome.expired] == [weights]
    assert "a database of its own" in outcome.notes[0]


def test_a_path_that_cannot_be_deleted_does_not_stop_the_rest(store, monkeypatch):
    """Prevents one file of another user from keeping everything else."""
    from cyclealign.housekeeping import clean as module

    paths = [round_with_weights(store, "rolled_back", False, 50) for _ in range(2)]
    real = module.remove

    def fails_once(path: Path) -> None:
        if path == paths[0]:
            raise PermissionError("not yours")
        real(path)

    monkeypatch.setattr(module, "remove", fails_once)
    outcome = clean(store, NOTHING_STAYS, NOW)
    assert [each.path for each in outcome.expired] == [paths[1]]
    assert "could not be deleted: not yours" in outcome.notes[0]
    pruned = [store.history.detail("trial", number)["adapter"]["pruned_at"] is not None for number in (1, 2)]
    assert pruned == [False, True]


def test_the_command_lists_by_default_and_deletes_on_request(store, capsys):
    """Prevents a command that deletes when somebody wants to look."""
    paths = [round_with_weights(store, "rolled_back", False, 50) for _ in range(3)]
    code, output, _ = run_command(capsys, "prune")
    assert (code, paths[0].exists()) == (0, True)
    assert "Dry run: 1 path (0.0 MB) would be deleted." in output
    code, output, _ = run_command(capsys, "prune", "--json")
    listed = json.loads(output)
    assert ([each["path"] for each in listed["paths"]], listed["bytes"]) == ([str(paths[0])], 1000)
    code, output, _ = run_command(capsys, "prune", "--apply")
    assert "Deleted 1 path (0.0 MB)." in output
    assert [path.exists() for path in paths] == [False, True, True]
