"""The TRL trainers on a tiny model: each objective learns its order, by its formula."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from cyclealign.training.collate import collate_lists
from cyclealign.training.job import RankedAnswers
from cyclealign.training.launcher import train
from cyclealign.training.model import lora_model
from cyclealign.training.objectives import OBJECTIVES, ListScores, Objective
from cyclealign.training.trainers import ListwiseTrainer, make_trainer
from tests.support import training_jobs
from tests.support.training_jobs import ANSWERS, no_progress, training_job

pytestmark = pytest.mark.slow

SOFT = [[0.0, 1.0, 0.5], [0.0, 0.0, 0.0], [0.0, 0.25, 0.0]]


def order(values):
    return sorted(range(len(values)), key=lambda position: -values[position])


def learns_the_reverse(folder, policy, prompt_ids, saved, change=lambda job: job, ends=(0, -1), **settings):
    """Train on the reverse of the policy's own order; check that the best and the worst answer change places.

    ``ends``: the places, 0 best and -1 worst, that are checked.
    """
    before = order(training_jobs.mean_logprobs(policy, None))
    lists = (RankedAnswers(prompt_ids, tuple(ANSWERS[position] for position in before[::-1]), 1.0),)
    train(change(training_job(folder, prompt_ids, lists=lists, **{"sft_weight": 0.0, **settings})), saved, no_progress)
    after = order(training_jobs.mean_logprobs(policy, saved))
    assert [after[end] for end in ends] == [before[-1 - end] for end in ends]


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "sft"])
def test_each_objective_learns_the_given_order(folder, policy, prompt_ids, tmp_path, objective):
    """Prevents a loss that runs, falls, and learns nothing or the reverse."""
    learns_the_reverse(folder, policy, prompt_ids, tmp_path, objective=objective)


def test_sft_makes_the_best_answer_the_most_likely(folder, policy, prompt_ids, tmp_path):
    """Prevents a baseline that trains on another answer than the judge's best."""
    learns_the_reverse(folder, policy, prompt_ids, tmp_path, ends=(0,), objective="sft", sft_weight=1.0)


def logistic(scores, settings):
    """Sum of w_ij * -log sigmoid(p_i - p_j) over pairs with i ranked above j."""
    return -(scores.weights * F.logsigmoid(scores.mean.unsqueeze(1) - scores.mean.unsqueeze(0))).sum()


def test_one_entry_of_the_registry_is_all_that_a_new_listwise_loss_needs(
    folder, policy, prompt_ids, tmp_path, monkeypatch
):
    """Prevents code that knows the names of objectives: a loss of a test trains an adapter from end to end."""
    monkeypatch.setitem(OBJECTIVES, "logistic", Objective("logistic", "listwise", logistic))

    def as_logistic(job):
        # Past the validation of the config, whose list of names is the other file that a new loss touches.
        return replace(job, settings=job.settings.model_copy(update={"objective": "logistic"}))

    learns_the_reverse(folder, policy, prompt_ids, tmp_path, as_logistic)


@pytest.mark.parametrize("objective", [name for name, one in OBJECTIVES.items() if one.trainer == "listwise"])
def test_the_trainers_loss_is_the_formula_on_the_policys_own_logprobs(folder, prompt_ids, tmp_path, objective):
    """Prevents the trainer from scoring other tokens, or by other lengths, than generation and ranking do."""
    job = training_job(folder, prompt_ids, objective=objective)
    trainer = make_trainer(job, tmp_path, lora_model(job))
    assert isinstance(trainer, ListwiseTrainer)
    # Two lists of different sizes and weights in one batch: padding and grouping must not show.
    answers = [list(ids) for ids in ANSWERS]
    first, second = [-25.0, -17.5, -33.0], [-24.0, -19.0]
    rows = [
        {"prompt_ids": prompt_ids, "answers": answers, "weight": 1.0, "pairs": SOFT, "parent_sums": first},
        {
            **{"prompt_ids": prompt_ids[:4], "answers": answers[:2], "weight": 0.25},
            **{"pairs": [[0.0, 1.0], [0.0, 0.0]], "parent_sums": second},
        },
    ]
    loss = trainer.compute_loss(trainer.model, collate_lists(rows, pad_id=0))
    expected = 0.0
    for row in rows:
        sums = plain_sums(trainer.model, row["prompt_ids"], row["answers"])
        lengths = torch.tensor([float(len(ids)) for ids in row["answers"]])
        scores = ListScores(sums, lengths, torch.tensor(row["pairs"]), torch.tensor(row["parent_sums"]))
        terms = OBJECTIVES[objective].list_terms(scores, OBJECTIVES[objective].settings(job.settings))
        expected += row["weight"] * terms.loss.item() / len(rows)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def plain_sums(model, prompt_ids, answers):
    """The sum of log-probs of each answer, by a plain loop over the model's logits."""
    sums = []
    for ids in answers:
        with torch.no_grad():
            logprobs = model(torch.tensor([[*prompt_ids, *ids]])).logits[0].log_softmax(-1)
        positions = range(len(prompt_ids) - 1, len(prompt_ids) + len(ids) - 1)
        sums.append(sum(logprobs[position, token].item() for position, token in zip(positions, ids, strict=True)))
    return torch.tensor(sums)


def test_dpo_learns_less_from_a_pair_on_which_verdicts_disagree(folder, prompt_ids, tmp_path):
    """Prevents label smoothing from being lost: the gradient must be that of the smoothed formula."""
    lists = (RankedAnswers(prompt_ids, ANSWERS[:2], 1.0, ((0, 1, 0.75),)),)
    job = training_job(folder, prompt_ids, lists=lists, objective="dpo", beta=0.3)
    trainer = make_trainer(job, tmp_path, lora_model(job))
    batch = next(iter(trainer.get_train_dataloader()))
    name, weight = next((name, w) for name, w in trainer.model.named_parameters() if "lora_B.default" in name)
    trainer.compute_loss(trainer.model, batch).backward()
    gradient = weight.grad.clone()
    trainer.model.zero_grad()
    tokens = {key: batch[key] for key in ("input_ids", "attention_mask")}
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    better, worse = trainer.model(**tokens, labels=labels, fused_lm_head=True).log_probs.sum(1)
    margin = better - worse - (better - worse).detach()  # the reference is the policy itself: the margin is 0
    smoothed = -0.75 * F.logsigmoid(0.3 * margin) - 0.25 * F.logsigmoid(-0.3 * margin)
    smoothed.backward()
    assert gradient.abs().max() > 0
    assert torch.allclose(gradient, weight.grad, rtol=1e-4, atol=1e-7), name
