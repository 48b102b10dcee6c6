"""`cyclealign experiments`: rename, archive, delete and prune, without harm to other experiments or later rounds."""

import io
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cyclealign.files import home
from cyclealign.loop.lease import hold_experiment, owner_name
from cyclealign.policy.weights import ADAPTER_WEIGHTS
from cyclealign.records import Adapter, Round
from cyclealign.store import Store
from tests.support.experiment import run_command
from tests.support.store_values import adapter_for, answers, call, opened, prompt, reply

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))  # the answer to a question
        code, output, errors = run_command(capsys, "experiments", *arguments)
        return code, " ".join((output + errors).split())

    return run


def finished(store: Store, verdict: str, experiment: str = "trial") -> tuple[Round, Path]:
    """Add a closed round with a candidate, a call and an adapter with a file."""
    number = len(store.experiments.rounds(experiment)) + 1
    made = opened(store, experiment=experiment)
    folder = home() / "adapters" / experiment / f"round-{number}"
    folder.mkdir(parents=True)
    (folder / ADAPTER_WEIGHTS).write_bytes(b"x" * 1000)
    store.candidates.add(made.id, answers(made, prompt(0)))
    store.calls.record_reply(made.id, call(number), reply())
    named = adapter_for(made)
    store.adapters.add(made.id, Adapter(named.id, str(folder), "hash", named.parent_id), "a-model")
    store.rounds.close(made.id, "me", verdict, "because")
    return made, folder


def test_prune_deletes_what_no_accepted_round_needs_and_nothing_else(command: Command) -> None:
    """Prevents the weights that the next round starts from, or those of another experiment, from being deleted."""
    with Store.open() as store:
        accepted = [finished(store, "accepted")[1]]
        dropped = [finished(store, verdict)[1] for verdict in ("rolled_back", "abandoned")]
        accepted.append(finished(store, "accepted")[1])
        other = finished(store, "rolled_back", "other")[1]
        orphan = home() / "adapters" / "trial" / "round-9-abc"
        orphan.mkdir()
        (orphan / ADAPTER_WEIGHTS).write_bytes(b"y")
        checkpoints = home() / "checkpoints" / "trial"
        (checkpoints / "job" / "step-1").mkdir(parents=True)
        code, output = command("prune", "trial")  # nobody confirms
        assert code == 1
        assert output.count("0.0 MB") == 5
        assert all(path.exists() for path in (*accepted, *dropped, other, orphan))
        code, output = command("prune", "trial", "--yes")
        assert code == 0, output
        assert "Deleted 4 folders" in output
        assert not checkpoints.exists()
        assert all(path.exists() for path in (*accepted, other))
        assert not any(path.exists() for path in (*dropped, orphan))
        pruned = [store.history.detail("trial", number)["adapter"]["pruned_at"] is not None for number in (1, 2, 3, 4)]
        assert pruned == [False, True, True, False]
    assert "Nothing to prune" in command("prune", "trial", "--yes")[1]


def test_prune_leaves_what_another_container_of_this_host_name_may_be_writing(command: Command) -> None:
    """Prevents unfinished weights of a living training from being deleted since its process id does not exist here."""
    with Store.open() as store:
        finished(store, "accepted")
    left = [home() / "adapters" / "trial" / f".round-2-{socket.gethostname()}~0badcafe-1-{name}" for name in "ab"]
    for path in left:
        path.mkdir()
    os.utime(left[1], (0, 0))
    command("prune", "trial", "--yes")
    assert [path.exists() for path in left] == [True, False]


def test_a_renamed_experiment_keeps_its_ids_and_folders_and_its_old_name_is_free(command: Command) -> None:
    """Prevents a renamed experiment from sampling anew, and two experiments from sharing answers."""
    with Store.open() as store:
        made, folder = finished(store, "accepted")
        (home() / "checkpoints" / "trial").mkdir(parents=True)
        assert command("rename", "trial", "second")[0] == 0
        assert (home() / "checkpoints" / "second").is_dir()
        moved = store.rounds.get("second", made.number)
        assert (moved.experiment, moved.lineage) == ("second", "trial")
        assert folder.exists()
        assert command("rename", "second", "third")[0] == 0
        assert store.rounds.get("third", 1).lineage == "trial"
        again = opened(store)
        assert (again.experiment, again.lineage) == ("trial", "trial#2")
        assert command("rename", "third", "trial")[0] == 1
        assert "cannot be the name" in command("rename", "third", "a b")[1]


def test_deleting_takes_everything_of_one_experiment(command: Command) -> None:
    """Prevents rows that point nowhere, and the loss of another experiment."""
    with Store.open() as store:
        finished(store, "accepted")
        folder = finished(store, "accepted")[1]
        other = finished(store, "accepted", "other")[1]
        checkpoints = [home() / "checkpoints" / name for name in ("trial", "other")]
        for path in checkpoints:
            path.mkdir(parents=True)
        before = store.history.detail("other", 1)
        assert command("delete", "trial")[0] == 1  # nobody confirms
        assert store.experiments.names() == ["trial", "other"]
        code, output = command("delete", "trial", "--yes")
        assert code == 0, output
        assert "2 rounds, replies for 0.5000 USD" in output
        assert store.experiments.names() == ["other"]
        assert store.history.detail("other", 1) == before
        assert (folder.exists(), other.exists()) == (False, True)
        assert [path.exists() for path in checkpoints] == [False, True]
        assert opened(store).number == 1


def test_an_archived_experiment_is_hidden_and_takes_no_round(command: Command) -> None:
    """Prevents a schedule from going on with an experiment that was put away."""
    with Store.open() as store:
        finished(store, "accepted")
        assert command("archive", "trial")[0] == 0
        assert json.loads(command("list", "--json")[1]) == []
        (row,) = json.loads(command("list", "--all", "--json")[1])
        assert (row["experiment"], row["rounds"], row["accepted"], row["cost_usd"]) == ("trial", 1, 1, 0.25)
        with pytest.raises(Exception, match="experiments unarchive trial"):
            store.experiments.require_active("trial")
        assert "trial (archived)" in command("list", "--all")[1]
        assert command("unarchive", "trial")[0] == 0
        store.experiments.require_active("trial")


@pytest.mark.parametrize("action", [("rename", "trial", "b"), ("archive", "trial"), ("delete", "trial", "--yes")])
def test_nothing_is_changed_while_a_run_is_at_work(command: Command, action: tuple[str, ...]) -> None:
    """Prevents rows and files from vanishing under a run."""
    with Store.open() as store:
        finished(store, "accepted")
        with hold_experiment(store, "trial", owner_name("other"), "busy-bee"):
            code, output = command(*action)
        assert (code, "busy-bee" in output) == (1, True)
        assert store.experiments.names() == ["trial"]
