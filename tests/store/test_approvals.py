"""Rounds that wait for a person, and what people decided."""

import pytest

from cyclealign.errors import LeaseLost, NoSuchExperiment, StoreError
from cyclealign.store import Store
from tests.support.store_values import opened


@pytest.fixture
def waiting(store: Store) -> Store:
    made = opened(store)
    store.approvals.ask(made.id, "me", "a-run", "undecided", "too little evidence", kept=False)
    return store


def test_a_changed_decision_counts_and_the_earlier_one_is_kept(waiting: Store) -> None:
    """Prevents a decision that is overwritten, so that nobody knows who had decided what."""
    waiting.approvals.decide("trial", "reject", "worse on poems", "ada")
    waiting.approvals.decide("trial", "accept", "", "grace")
    approval = waiting.approvals.waiting("trial")
    assert approval is not None
    assert [(one.choice, one.comment, one.decided_by) for one in approval.decisions] == [
        ("reject", "worse on poems", "ada"),
        ("accept", "", "grace"),
    ]
    assert approval.decision == approval.decisions[1]
    assert (approval.verdict, approval.run) == ("undecided", "a-run")
    shown = waiting.history.overview("trial", 1)["approval"]
    assert [one["decided_by"] for one in shown["decisions"]] == ["ada", "grace"]


def test_asking_again_keeps_the_decisions(waiting: Store) -> None:
    """Prevents a restarted run from dropping what a person decided meanwhile."""
    waiting.approvals.decide("trial", "accept", "", "ada")
    waiting.approvals.ask(1, "me", "another", "accepted", "evidence", kept=True)
    approval = waiting.approvals.waiting("trial")
    assert approval is not None
    assert (approval.verdict, approval.run, len(approval.decisions)) == ("accepted", "another", 1)


def test_nothing_is_decided_about_a_round_that_does_not_wait(store: Store) -> None:
    """Prevents a decision that is stored, reported as such, and has no effect."""
    made = opened(store)
    with pytest.raises(StoreError, match="waits for a decision"):
        store.approvals.decide("trial", "accept", "", "ada")
    store.approvals.ask(made.id, "me", "a-run", "accepted", "evidence", kept=True)
    store.rounds.close(made.id, "me", "accepted", "evidence")
    assert store.approvals.waiting("trial") is None
    with pytest.raises(StoreError, match="waits for a decision"):
        store.approvals.decide("trial", "reject", "", "ada")
    with pytest.raises(LeaseLost):
        store.approvals.ask(made.id, "me", "a-run", "accepted", "evidence", kept=True)
    with pytest.raises(NoSuchExperiment):
        store.approvals.decide("tria", "accept", "", "ada")


def test_an_experiment_that_waits_can_be_deleted(waiting: Store) -> None:
    """Prevents rows that point to a deleted round, and a deletion that fails for them."""
    waiting.approvals.decide("trial", "accept", "", "ada")
    waiting.upkeep.delete("trial")
    assert waiting.history.summaries() == []
