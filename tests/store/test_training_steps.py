"""The figures of training steps: one row a step, whatever attempts there were."""

import pytest
import sqlalchemy as sa

from cyclealign.errors import LeaseLost
from cyclealign.records import TrainingStep
from cyclealign.store import Store
from tests.support.store_values import opened


def test_an_attempt_replaces_the_steps_of_the_one_before(store: Store) -> None:
    """Prevents steps that count twice, and a tail of an attempt with other settings that had more steps."""
    made = opened(store)
    store.training_steps.record(made.id, "me", [TrainingStep(step, loss=1.0) for step in range(1, 6)])
    store.training_steps.record(made.id, "me", [TrainingStep(1, loss=3.0), TrainingStep(2, loss=2.0)])
    store.training_steps.record(made.id, "me", [])
    store.training_steps.record(made.id, "me", [TrainingStep(3, loss=1.5, tokens=2**40)])
    assert [(step.step, step.loss) for step in store.training_steps.of_round(made.id)] == [(1, 3.0), (2, 2.0), (3, 1.5)]


def test_steps_of_a_run_that_lost_its_round_are_refused(store: Store) -> None:
    """Prevents two runs from mixing their steps."""
    made = opened(store)
    with pytest.raises(LeaseLost):
        store.training_steps.record(made.id, "another", [TrainingStep(1, loss=1.0)])
    assert store.history.overview("trial", 1)["training_steps"] == []


def test_the_view_and_the_history_have_the_rate(store: Store) -> None:
    """Prevents an integer division, and a division by zero."""
    made = opened(store)
    steps = [TrainingStep(1, loss=0.5, ranking_accuracy=0.75, tokens=5, seconds=2.0), TrainingStep(2, tokens=5)]
    store.training_steps.record(made.id, "me", steps)
    columns = "experiment, round, step, ranking_accuracy, tokens_per_second"
    with store.engine.connect() as connection:
        rows = connection.execute(sa.text(f"SELECT {columns} FROM training_steps ORDER BY step")).all()
    assert [tuple(row) for row in rows] == [("trial", 1, 1, 0.75, 2.5), ("trial", 1, 2, None, None)]
    first, second = store.history.overview("trial", 1)["training_steps"]
    assert (first["tokens_per_second"], second["tokens_per_second"], first["loss"]) == (2.5, None, 0.5)


def test_an_experiment_is_deleted_with_its_steps(store: Store) -> None:
    """Prevents an experiment that cannot be deleted once it has trained."""
    made = opened(store)
    store.training_steps.record(made.id, "me", [TrainingStep(1)])
    store.upkeep.delete("trial")
    assert store.training_steps.of_round(made.id) == []
