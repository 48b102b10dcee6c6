"""Training jobs as values: decided pairs, and the job file."""

import json

from cyclealign.records import Preference
from cyclealign.training.job import RankedAnswers, TrainingJob, decided_pairs
from tests.support.training_jobs import training_job


def test_near_even_pairs_are_dropped_and_the_others_keep_their_share():
    """Prevents an even pair from being learnt in the direction in which it happens to be stored."""
    preferences = [Preference("a", "b", 0.8, 5), Preference("c", "a", 0.6, 5), Preference("b", "c", 0.5, 4)]
    assert decided_pairs("abc", preferences, 0.6) == ((0, 1, 0.8), (2, 0, 0.6))
    assert decided_pairs("abc", preferences, 0.7) == ((0, 1, 0.8),)
    assert decided_pairs("abc", preferences, 0.5) == ((0, 1, 0.8), (2, 0, 0.6))
    assert decided_pairs("cba", preferences, 0.6, follow_order=True) == ((1, 2, 0.8), (0, 2, 0.6))
    assert decided_pairs("abc", [], 0.6) is None


def test_a_list_without_weight_or_decided_pair_has_no_signal():
    """Prevents the SFT term from learning the first of several answers that no verdict prefers."""
    answers = ((2,), (3,))
    assert RankedAnswers((1,), answers, 1.0).has_signal
    assert not RankedAnswers((1,), answers, 0.0).has_signal
    assert not RankedAnswers((1,), answers, 1.0, pairs=()).has_signal


def test_a_job_survives_its_file(tmp_path):
    """Prevents a training process that trains on other lists or settings than its run asked for."""
    lists = (
        RankedAnswers((1, 2), ((3, 2), (4, 2)), 1.0, ((1, 0, 0.75),), thought_lengths=(1, 0)),
        RankedAnswers((1,), ((3,), (4,)), 1.0),
    )
    job = training_job("model", (1,), parent="somewhere", lists=lists)
    job.save(tmp_path / "job.json")
    assert TrainingJob.load(tmp_path / "job.json") == job
    assert "seed" in json.loads((tmp_path / "job.json").read_text())
