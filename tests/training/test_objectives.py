"""The registry of objectives: every name, its parameters, and properties that all losses share."""

from typing import get_args

import pytest
import torch
from torch import tensor

from cyclealign.config import TrainingSettings
from cyclealign.config import training as config
from cyclealign.training.losses import plackett_luce
from cyclealign.training.objectives import OBJECTIVES, ListScores, LossSettings, PairScores

LISTWISE = [name for name, one in OBJECTIVES.items() if one.trainer == "listwise"]
WITH_RANKING = [name for name in LISTWISE if name != "sft"]
PAIRWISE = [name for name, one in OBJECTIVES.items() if one.trainer == "pairwise"]


def test_the_config_names_every_objective_under_its_trainer():
    """Prevents an objective that no config can choose, or that gets another trainer's defaults."""
    names = {"listwise": get_args(config.ListwiseObjective), "pairwise": get_args(config.PairwiseObjective)}
    registered = [(name, objective.name, objective.trainer) for name, objective in OBJECTIVES.items()]
    assert registered == [(name, name, trainer) for trainer in names for name in names[trainer]]


def test_the_config_knows_which_settings_have_an_effect():
    """Prevents a notice that a setting has no effect where it has one, and the reverse."""
    assert [name for name, one in OBJECTIVES.items() if one.default_sft_weight] == list(config.WITH_SFT)
    assert [name for name, one in OBJECTIVES.items() if one.default_beta] == list(config.WITH_BETA)
    assert [name for name, one in OBJECTIVES.items() if not one.needs_reference] == list(config.WITHOUT_REFERENCE)
    assert [name for name, one in OBJECTIVES.items() if not one.strict_order] == list(config.OF_PAIRS)
    assert [name for name, one in OBJECTIVES.items() if one.default_gamma is not None] == ["simpo"]


def test_empty_settings_are_the_objectives_own():
    """Prevents SimPO with the beta of DPO, which is twenty times smaller."""
    assert OBJECTIVES["simpo"].settings(TrainingSettings(objective="simpo")) == LossSettings(2.0, 1.0)
    given = TrainingSettings(objective="dpo", dpo_beta=0.3, kl_weight=0.5)  # beta by its former name
    assert OBJECTIVES["dpo"].settings(given) == LossSettings(0.3, 0.0, kl_weight=0.5)


@pytest.mark.parametrize("name", WITH_RANKING)
def test_the_gradient_raises_the_better_answer(name):
    """Prevents a wrong sign, which would teach the reverse of every ranking."""
    objective = OBJECTIVES[name]
    sums = tensor([-6.0, -2.0], requires_grad=True)
    scores = ListScores(sums, tensor([2.0, 2.0]), parent=tensor([-4.0, -4.0]))
    objective.list_terms(scores, objective.settings(TrainingSettings(sft_weight=0.0))).ranking.backward()
    assert sums.grad[0] < 0 < sums.grad[1]


@pytest.mark.parametrize("name", PAIRWISE)
def test_the_gradient_raises_the_chosen_answer(name):
    """Prevents a wrong sign in pairs, and lengths that are swapped: in IPO the longer answer has the smaller slope."""
    objective = OBJECTIVES[name]
    sums = tensor([[-6.0], [-2.0]], requires_grad=True)
    scores = PairScores(sums, tensor([[4], [2]]), tensor([[-4.0], [-4.0]]), tensor([0.1]))
    objective.pair_terms(scores, objective.settings(TrainingSettings(kl_weight=1.0))).ranking.sum().backward()
    assert sums.grad[0] < 0 < sums.grad[1]
    ratio = (sums.grad[0] / sums.grad[1]).item()
    assert ratio == pytest.approx(-0.5 if name == "ipo" else -1)


def test_sft_is_cross_entropy_of_the_best_answer_alone():
    """Prevents a baseline that also learns from the order of the other answers."""
    objective, sums = OBJECTIVES["sft"], tensor([-6.0, -2.0, -3.0], requires_grad=True)
    terms = objective.list_terms(ListScores(sums, tensor([2.0, 2.0, 1.0])), objective.settings(TrainingSettings()))
    terms.loss.backward()
    assert (terms.ranking.item(), terms.loss.item()) == (0, 6)
    assert sums.grad.tolist() == [-1, 0, 0]


def test_sft_without_its_only_term_is_refused():
    """Prevents a training that learns nothing and says so nowhere."""
    with pytest.raises(ValueError, match="sft_weight must be above 0"):
        TrainingSettings(objective="sft", sft_weight=0.0)


def test_list_dpo_golden_value():
    """Two answers: DPO of the pair. Three: Plackett-Luce on beta times the log-ratios."""
    objective = OBJECTIVES["list_dpo"]
    scores = ListScores(tensor([-3.0, -5.0]), tensor([2.0, 7.0]), parent=tensor([-4.0, -4.5]))
    value = objective.list_terms(scores, LossSettings(beta=0.4)).loss.item()
    assert value == pytest.approx(torch.nn.functional.softplus(tensor(-0.4 * 1.5)).item())
    three = ListScores(tensor([-3.0, -5.0, -1.0]), torch.ones(3), parent=tensor([-4.0, -4.0, -4.0]))
    expected = plackett_luce(tensor([0.4, -0.4, 1.2])).item()
    assert objective.list_terms(three, LossSettings(beta=0.4)).loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", [name for name in LISTWISE if OBJECTIVES[name].needs_reference])
def test_a_reference_that_is_the_policy_adds_no_preference(name):
    """Prevents raw log-probs in place of ratios: answers that the parent finds unlikely are no worse for it."""
    objective = OBJECTIVES[name]
    sums = tensor([-9.0, -1.0, -4.0])
    at_parent = objective.list_terms(ListScores(sums, torch.ones(3), parent=sums), LossSettings(beta=0.5)).loss
    others = objective.list_terms(ListScores(sums * 3, torch.ones(3), parent=sums * 3), LossSettings(beta=0.5)).loss
    assert at_parent.item() == pytest.approx(others.item())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_anchor_is_a_term_of_its_own_in_every_objective(name):
    """Prevents an anchor that an objective ignores, or counts per answer instead of as a mean."""
    objective, settings = OBJECTIVES[name], LossSettings(beta=0.5, sft_weight=0.0, kl_weight=2.0)
    kl = torch.expm1(tensor([0.5, -0.5])) - tensor([0.5, -0.5])
    if objective.trainer == "listwise":
        scores = ListScores(tensor([-3.0, -5.0]), tensor([2.0, 2.0]), parent=tensor([-4.0, -4.0]))
        terms = objective.list_terms(scores, settings)
    else:
        pair = PairScores(tensor([[-3.0], [-5.0]]), tensor([[2], [2]]), tensor([[-4.0], [-4.0]]), tensor([0.0]))
        terms = objective.pair_terms(pair, settings)
    assert terms.kl.item() == pytest.approx(2 * kl.mean().item(), rel=1e-6)
    assert terms.loss.item() == pytest.approx(terms.ranking.item() + terms.kl.item())
