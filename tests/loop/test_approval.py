"""Approval: a round waits for a person in the database alone, and what was decided counts in any later run."""

from datetime import UTC, datetime, timedelta

import pytest

from cyclealign.store import Store, leases, rounds, statements

pytestmark = pytest.mark.slow


@pytest.fixture
def asking(bench):
    bench.set("acceptance", approval="ask", min_win_rate=1.0)  # the evidence suggests to roll back
    return bench


def approval():
    with Store.open() as store:
        return store.history.overview("bench", 1)["approval"]


def test_a_round_waits_and_is_closed_as_decided_without_another_call(asking, monkeypatch):
    """Prevents a round that is closed unseen, work that is repeated, and a decision that an hour of waiting loses."""
    code, output = asking.run()
    assert (code, "AwaitsApproval: Round 1 of 'bench' waits" in output) == (1, True)
    assert "cyclealign approve bench --accept" in output
    assert asking.rounds()[0]["verdict"] is None
    assert "AwaitsApproval" in asking.run()[1]  # again and again, until somebody decides
    code, output = asking.command("approve", "bench")
    assert (code, "the evidence suggests: rolled back" in output, "win rate" in output) == (0, True, True)
    code, output = asking.command("approve", "bench", "--reject", "--by", "ada", "--comment", "too [bold]terse")
    assert (code, "It counts once the experiment is run again" in output) == (0, True)
    asking.command("approve", "bench", "--accept", "--by", "grace")

    def later():
        return datetime.now(UTC) + timedelta(hours=1)

    for module in (statements, rounds, leases):
        monkeypatch.setattr(module, "now", later)
    asking.judge.asked.clear()
    code, output = asking.run()
    assert code == 0, output
    assert not asking.judge.asked
    (row,) = asking.rounds()
    assert (row["verdict"], row["kept"]) == ("accepted", True)
    assert row["reason"].startswith("accepted by grace (the evidence suggested rolled back: win rate")
    assert [one["decided_by"] for one in approval()["decisions"]] == ["ada", "grace"]
    assert "rejected by ada" in asking.command("history", "bench", "--round", "1")[1]


def test_a_stopped_experiment_stays_so_until_somebody_decides_anew(asking):
    """Prevents a schedule that goes on with an experiment which a person has stopped."""
    asking.run()
    asking.command("approve", "bench", "--stop", "--by", "ada", "--comment", "ask Bob")
    for _ in range(2):
        code, output = asking.run()
        assert (code, "ExperimentStopped: Round 1 of 'bench' was stopped by ada" in output) == (1, True)
    assert asking.rounds()[0]["verdict"] is None
    asking.command("approve", "bench", "--reject", "--by", "ada")
    assert asking.run()[0] == 0
    assert asking.rounds()[0]["verdict"] == "rolled_back"


def test_without_asking_the_waiting_round_is_closed_by_its_evidence(asking):
    """Prevents a changed setting from being ignored, and a round that waits for ever."""
    asking.run()
    asking.set("acceptance", approval="auto")
    assert asking.run()[0] == 0
    assert asking.rounds()[0]["verdict"] == "rolled_back"
    assert "no round of 'bench' waits" in asking.command("approve", "bench")[1].lower()
    assert asking.command("approve", "bench", "--accept")[0] == 1
    assert asking.command("approve", "bench", "--accept", "--stop")[0] == 1


def test_a_terminal_says_what_to_do(flow_bench):
    """Prevents a run that seems to have failed, or finished, while it waits for a person."""
    flow_bench.set("acceptance", approval="ask")
    code, output = flow_bench.run()
    assert code == 0, output
    assert "waits for your decision" in output
    flow_bench.command("approve", "bench", "--accept")
    code, output = flow_bench.run()
    assert code == 0, output
    assert "waits for your decision" not in output
    assert flow_bench.rounds()[0]["verdict"] == "accepted"
