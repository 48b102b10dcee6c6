"""The parent's log-probs: stored ones stay if they are the model's own, others are computed before the first step."""

from dataclasses import replace

import pytest

from cyclealign.training.job import RankedAnswers
from cyclealign.training.model import load_trainable
from cyclealign.training.trainers import make_trainer
from cyclealign.training.worker import fit
from tests.support.training_jobs import ANSWERS, no_progress, training_job
from tests.support.uneven_lists import LISTS, with_parent

pytestmark = pytest.mark.slow


def sums_of(job, folder):
    """The parent's log-prob sums in the rows of the job's trainer, without the padding row."""
    trainer = make_trainer(job, folder, load_trainable(job)[0])
    *rows, padding = trainer.train_dataset.to_list()
    assert padding["parent_sums"] == rows[0]["parent_sums"]
    return [row["parent_sums"] for row in rows]


def test_missing_ones_are_those_of_the_model_and_stored_ones_stay(folder, tmp_path):
    """Prevents a reference of other tokens, of another list, or of an answer at another place."""
    stored = [ranked.parent_logprobs for ranked in with_parent(LISTS, folder)]
    lists = [
        ranked if number % 2 else replace(ranked, parent_logprobs=stored[number]) for number, ranked in enumerate(LISTS)
    ]
    sums = sums_of(training_job(folder, (1,), lists=lists, objective="lipo", tokens_at_once=40), tmp_path)
    for number, (computed, expected) in enumerate(zip(sums, stored, strict=True)):
        assert computed == pytest.approx(list(expected), abs=1e-4)
        assert (computed == list(expected)) is (number % 2 == 0)


def test_stored_ones_of_another_policy_are_computed_anew(folder, prompt_ids, tmp_path):
    """Prevents a reference that no model ever was: at a temperature, of other prompts, of an older adapter."""
    (right,) = with_parent([RankedAnswers(prompt_ids, ANSWERS, 1.0)], folder)
    wrong = replace(right, parent_logprobs=tuple(0.8 * value for value in right.parent_logprobs))
    (sums,) = sums_of(training_job(folder, prompt_ids, lists=[wrong], objective="list_dpo"), tmp_path)
    assert sums == pytest.approx(list(right.parent_logprobs), abs=1e-4)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_reference_is_the_parent_not_the_base(folder, prompt_ids, tmp_path, method):
    """Prevents rounds that are all anchored to the base model; thoughts, which are not learnt, do not count."""
    choice = {"method": method, "learning_rate": 5e-3 if method == "lora" else 1e-3}
    fit(training_job(folder, prompt_ids, epochs=4, **choice), tmp_path / "parent", no_progress)
    lists = [RankedAnswers(prompt_ids, ANSWERS, 1.0, thought_lengths=(1, 0, 2))]
    settings = {"lists": lists, "objective": "rrhf", "kl_weight": 0.1, **choice}
    (base,) = sums_of(training_job(folder, prompt_ids, **settings), tmp_path)
    (parent,) = sums_of(training_job(folder, prompt_ids, parent=tmp_path / "parent", **settings), tmp_path)
    assert max(abs(a - b) for a, b in zip(base, parent, strict=True)) > 0.01
    whole = with_parent([RankedAnswers(prompt_ids, ANSWERS, 1.0)], folder)[0].parent_logprobs
    assert base[1] == pytest.approx(whole[1], abs=1e-4)
    assert base[0] > whole[0] + 0.5
