"""The figures of a training step: golden values, independent of cut and processes, once a step after a resumption."""

import math

import pytest
import torch
from torch import tensor

from cyclealign.records import TrainingStep
from cyclealign.training.objectives import OBJECTIVES, ListScores, LossSettings, PairScores
from cyclealign.training.step_totals import StepTotals, list_totals, pair_totals
from cyclealign.training.trainers import ReportFigures
from cyclealign.training.worker import fit
from tests.support.training_jobs import no_progress, training_job
from tests.support.uneven_lists import LISTS, with_parent

NAMES = ("ranking_loss", "sft_loss", "kl_loss", "ranking_margin", "ranking_accuracy", "kl_from_parent")


def figures(*totals):
    step = StepTotals(tokens=7)
    for each in totals:
        step.add(each)
    return step.figures(lambda values: values)


def test_golden_values_of_a_list():
    """RRHF, sums (-4, -1, -6) over 4, 2, 3 tokens: p = (-1, -0.5, -2), one of three pairs is wrong by 0.5.

    The SFT term is 4. By the sums the ranking has the slopes -1/4 and 1/2, the SFT term -1.
    """
    parent = tensor([-4.0, -1.0 - 2 * math.log(2), math.nan])
    scores = ListScores(tensor([-4.0, -1.0, -6.0]), tensor([4.0, 2.0, 3.0]), None, parent)
    found = figures(list_totals(OBJECTIVES["rrhf"], LossSettings(), [scores], tensor([1.0])))
    assert [found[name] for name in NAMES] == pytest.approx(
        [0.5, 4.0, 0.0, (-0.5 + 1.0 + 1.5) / 3, 2 / 3, (1 - math.log(2)) / 2]
    )
    slopes = [found[f"{term}_grad_norm"] for term in ("ranking", "sft", "kl")]
    assert slopes == pytest.approx([math.hypot(1 / 4, 1 / 2), 1, 0])
    assert found["tokens"] == 7


def test_lists_of_two_passes_are_those_of_one_and_padding_counts_for_nothing():
    """Prevents means of means; a list of weight 0, though its log-probs be NaN, must not show."""
    settings = LossSettings(beta=0.5, kl_weight=0.1)
    scores = [
        ListScores(tensor([-4.0, -1.0, -6.0]), tensor([4.0, 2.0, 3.0]), None, tensor([-3.0, -1.0, -5.0])),
        ListScores(tensor([-2.0, -7.0]), tensor([1.0, 5.0]), None, tensor([-2.5, -6.0])),
        ListScores(tensor([math.nan, -1.0]), tensor([1.0, 1.0]), None, tensor([-1.0, -1.0])),
    ]
    weights, objective = tensor([0.5, 1.0, 0.0]), OBJECTIVES["lipo"]
    whole = figures(list_totals(objective, settings, scores, weights))
    cut = figures(*(list_totals(objective, settings, [scores[n]], weights[n : n + 1]) for n in range(3)))
    for name in whole.keys() - {"seconds", "tokens_per_second"}:
        assert cut[name] == pytest.approx(whole[name], rel=1e-12), name
    assert whole["ranking_loss"] > 0


def test_golden_values_of_pairs():
    """DPO at a margin of 0: loss log 2, slopes -+ beta / 2. The second pair is padding."""
    scores = PairScores(
        tensor([[-4.0, -3.0], [-2.0, -3.0]]),
        tensor([[2, 1], [4, 1]]),
        tensor([[-4.0, -9.0], [-2.0, -9.0]]),
        tensor([0.0, 0.0]),
    )
    found = figures(pair_totals(OBJECTIVES["dpo"], LossSettings(beta=0.4), scores, tensor([1.0, 0.0])))
    assert [found[name] for name in NAMES] == pytest.approx([math.log(2), 0, 0, -2 + 0.5, 0, 0])
    assert found["ranking_grad_norm"] == pytest.approx(0.2 * math.sqrt(2))


def test_a_step_without_a_parent_or_pairs_leaves_figures_out():
    """Prevents a KL of 0 where nothing was measured, and NaN in the database."""
    scores = ListScores(tensor([-4.0, -1.0]), tensor([4.0, 2.0]), torch.zeros(2, 2))
    found = figures(list_totals(OBJECTIVES["simpo"], LossSettings(2.0, 1.0), [scores], tensor([1.0])))
    assert not {"kl_from_parent", "ranking_margin", "ranking_accuracy"} & found.keys()
    step = TrainingStep.of({**found, "step": 3, "loss": math.nan})
    assert (step.step, step.loss, step.kl_from_parent, step.tokens) == (3, None, None, 7)


def recorded(job, folder, checkpoints=None):
    steps = []
    loss = fit(job, folder, no_progress, checkpoints, steps.append)
    return loss, steps


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["list_dpo", "ipo"])
def test_the_figures_of_a_training_do_not_depend_on_the_cut(folder, tmp_path, objective):
    """Prevents figures of the last pass alone, and terms that do not add up to the loss that is minimised."""
    settings = {"lists": with_parent(LISTS, folder), "objective": objective, "epochs": 1, "prompts_per_step": 4}
    settings |= {"kl_weight": 0.5, "lora_rank": 4, "lr_scheduler_type": "constant"}
    loss, whole = recorded(training_job(folder, (1,), **settings), tmp_path / "whole")
    _, cut = recorded(training_job(folder, (1,), **settings, tokens_at_once=40), tmp_path / "cut")
    assert [step.step for step in whole] == [*range(1, len(whole) + 1)]
    assert sum(step.loss for step in whole) / len(whole) == pytest.approx(loss)
    for one, other in zip(whole, cut, strict=True):
        for name in (*NAMES, "loss", "grad_norm", "ranking_grad_norm", "kl_grad_norm", "learning_rate", "tokens"):
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-3, abs=1e-5), name
        assert one.loss == pytest.approx(one.ranking_loss + one.sft_loss + one.kl_loss, rel=1e-4)
    assert whole[0].kl_from_parent == pytest.approx(0, abs=1e-6)
    assert whole[-1].kl_from_parent > 1e-5
    assert all(step.tokens_per_second > 0 for step in whole)


def test_steps_before_a_checkpoint_are_reported_once_more():
    """Prevents a history with a gap where the process was killed before its figures were written."""
    seen, state = [], type("State", (), {"log_history": [{"loss": 2.0, "step": 1}, {"train_runtime": 3.0, "step": 1}]})
    report = ReportFigures(seen.append)
    report.on_train_begin(None, state, None)
    state.global_step = 2
    report.on_log(None, state, None, logs={"loss": 1.0, "grad_norm": 0.5})
    report.on_log(None, state, None, logs={"train_loss": 1.5})
    assert [(step.step, step.loss, step.grad_norm) for step in seen] == [(1, 2.0, None), (2, 1.0, 0.5)]
