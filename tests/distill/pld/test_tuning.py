"""Arms are compared fairly: equal budgets, tuned on validation items only, measured by run."""

import numpy as np
import pytest

from cyclealign.config import checked_settings
from cyclealign.distill.pld import data, evaluate
from cyclealign.distill.pld.config import Config
from cyclealign.distill.pld.tuning import ArmRunner
from cyclealign.errors import BadConfig

SIZES = {"embedding_size": 4, "hidden_sizes": [4], "depths": [1], "layer_type": "basic"}
TRIES = [{"learning_rate": 1e-9}, {"learning_rate": 2e-2}]


def test_ties_are_no_hits():
    """Prevents a student that gives all classes one logit from looking right."""
    flat, labels = np.zeros((4, 3), dtype=np.float32), np.array([0, 1, 2, 0])
    assert evaluate.accuracy(flat, labels) == 0
    ordered = np.array([[3, 2, 1], [3, 2, 1]], dtype=np.float32)
    assert evaluate.hits(ordered, np.array([1, 2]), 2).tolist() == [1, 0]


def test_differences_are_taken_within_runs():
    """Prevents the spread between runs, which all arms share, from hiding a difference."""
    (above,) = evaluate.difference_measures({"pld": (0.5, 0.7, 0.9), "ce": (0.4, 0.6, 0.8)})
    assert (above.arm, above.count) == ("ce", 3)
    assert (above.value, above.low, above.high) == pytest.approx((0.1, 0.1, 0.1))


def test_an_arm_is_tuned_on_validation_items_and_tested_with_the_best(tmp_path):
    """Prevents choosing by the test items; the starts of the tuning are none of the runs'."""
    config = Config.model_validate(
        {
            "data": {"classes": 4, "train_per_class": 6, "valid_per_class": 3, "test_per_class": 3},
            "student": {"sizes": SIZES, "epochs": 1, "batch": 8},
            "runs": 2,
            "arms": [{"loss": "ce", "tries": TRIES}],
        }
    )
    splits = data.load(config.data, 0)
    asked: list[tuple[int, int, bool]] = []

    class Watched(ArmRunner):
        def accuracy(self, arm, tried, run, items, top=1):
            number = TRIES.index(tried)
            asked.append((number, run, items is splits.test))
            return super().accuracy(arm, tried, run, items, top) if items is splits.test else [0.25, 0.5][number]

    labels = {"train": np.zeros((24, 4), dtype=np.float32)}
    told = []
    runner = Watched(config, splits, labels, lambda stage, tried: tmp_path / f"{stage} {TRIES.index(tried)}")
    found = runner.run(config.arms[0], lambda done, of: told.append((done, of)))
    assert (found.validation, found.chosen) == ((0.25, 0.5), 1)
    assert {(number, run) for number, run, test in asked if test} == {(1, 0), (1, 1)}
    assert {run for _, run, test in asked if not test}.isdisjoint({0, 1})
    assert told[-1] == (4, 4)
    assert len(found.top1) == 2


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"arms": [{"loss": "ce"}, {"loss": "pld", "tries": [{"tau": 1}, {"tau": 2}]}]}, "as many settings as"),
        ({"arms": [{"loss": "ce"}, {"loss": "ce"}]}, "one arm only"),
        ({"arms": [{"loss": "ce", "tries": [{"tau": 1}]}]}, "unknown tau"),
        ({"teacher": {"epochs": 0}}, "needs a teacher that is trained"),
        ({"data": {"source": "images"}}, "data.paths is required for every source except"),
        ({"data": {"source": "texts", "paths": ["x"], "views": 2}}, "must be 1 for texts"),
    ],
)
def test_settings_that_would_mislead_are_refused(raw, message):
    with pytest.raises(BadConfig, match=message):
        checked_settings(raw, "x.toml", Config)
