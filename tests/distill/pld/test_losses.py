"""The arms' losses: golden values, special cases that are other losses, and what leaves them unchanged."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor
from torch.nn import functional

from cyclealign.distill.pld.config import KEYWORDS
from cyclealign.distill.pld.losses import (
    LOSSES,
    cross_entropy,
    decoupled,
    dist,
    kd,
    listmle,
    pearson_distance,
    pld,
    teacher_order,
)
from cyclealign.training.losses import plackett_luce


def double(values):
    return tensor(values, dtype=torch.float64)


S = double([[1, 0.2, -0.5, 0.3], [0, 2, 1, -1]])
T = double([[3, 1, 0, 2], [1, 0.5, 2, -1]])
Y = tensor([0, 1])
rows = st.lists(st.lists(st.floats(-5, 5), min_size=4, max_size=4), min_size=2, max_size=2).map(double)


def test_the_label_comes_first_then_the_teachers_order():
    """The second teacher prefers class 2 to the label: the label still leads."""
    assert teacher_order(T, Y).tolist() == [[0, 3, 1, 2], [1, 2, 0, 3]]


def test_golden_values():
    assert pld(S, T, Y).item() == pytest.approx(0.557520866, abs=1e-9)
    assert pld(S, T, Y, tau=4).item() == pytest.approx(0.457277179, abs=1e-9)
    assert cross_entropy(S, T, Y).item() == pytest.approx(0.607238207, abs=1e-9)
    assert kd(S, T, Y, alpha=0, tau=2).item() == pytest.approx(0.379305111, abs=1e-9)
    assert kd(S, T, Y).item() == pytest.approx(0.402098421, abs=1e-9)


def test_dist_golden_value_of_its_relation_between_classes():
    assert dist(S, T, Y, ce=0, inter=1, intra=0, tau=1).item() == pytest.approx(0.505570622, abs=5e-9)


def test_equals_the_listing_of_the_paper():
    """Ascending order, label last, logcumsumexp, as the authors write it."""
    masked = T.clone()
    masked[torch.arange(2), Y] = torch.inf
    ascending = masked.argsort(dim=1)
    scores = S.gather(1, ascending)
    weights = functional.softmax(T, dim=1).gather(1, ascending)
    expected = (weights * (torch.logcumsumexp(scores, dim=1) - scores)).sum(1).mean()
    assert pld(S, T, Y).item() == pytest.approx(expected.item(), abs=1e-12)


@given(rows)
def test_a_teacher_that_is_sure_gives_cross_entropy(student):
    """Weight 1 on the label and none elsewhere."""
    sure = functional.one_hot(Y, 4).double() * 1000
    assert pld(student, sure, Y).item() == pytest.approx(cross_entropy(student, sure, Y).item(), abs=1e-9)


@given(rows)
def test_a_teacher_that_knows_nothing_gives_listmle(student):
    """At a temperature without end all weights are 1 / C, while the order stays."""
    assert pld(student, T, Y, tau=1e9).item() == pytest.approx(listmle(student, T, Y).item(), abs=1e-6)
    order = teacher_order(T, Y)
    assert listmle(student, T, Y).item() == pytest.approx(plackett_luce(student.gather(1, order)).mean().item() / 4)


@pytest.mark.parametrize("name", LOSSES)
@given(student=rows, offset=st.floats(-20, 20))
def test_an_offset_of_an_items_logits_changes_nothing(name, student, offset):
    loss = LOSSES[name]
    assert loss(student + offset, T - offset, Y).item() == pytest.approx(loss(student, T, Y).item(), abs=1e-6)


@pytest.mark.parametrize("name", ["kd", "dkd"])
def test_nothing_is_left_to_learn_from_a_teacher_that_is_matched(name):
    loss = LOSSES[name](T, T, Y)
    own = 0.1 if name == "kd" else 1.0
    assert loss.item() == pytest.approx(own * cross_entropy(T, T, Y).item(), abs=1e-9)


@given(rows)
def test_dkd_parts_make_up_the_whole_divergence(student):
    """KL = TCKD + (1 - p) NCKD, p the teacher's for the label (arXiv 2203.08679, eq. 7)."""
    target, others = decoupled(student, T, Y)
    whole = functional.kl_div(student.log_softmax(1), T.log_softmax(1), reduction="none", log_target=True).sum(1)
    p = T.softmax(1).gather(1, Y.unsqueeze(1)).squeeze(1)
    assert torch.allclose(whole, target + (1 - p) * others, atol=1e-9)


def test_dist_asks_for_the_relation_and_not_for_the_scale():
    """Pearson: a matrix that is a scaled and shifted other is alike."""
    a = torch.rand(3, 5, dtype=torch.float64)
    assert pearson_distance(a, 3 * a + 2).item() == pytest.approx(0, abs=1e-6)
    assert pearson_distance(a, -a).item() == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_confident_logits_give_finite_losses_and_gradients(name):
    """Prevents NaN students of a teacher that is very sure."""
    student = (S * 300).requires_grad_()
    loss = LOSSES[name](student, T * 300, Y)
    loss.backward()
    assert math.isfinite(loss.item())
    assert student.grad.isfinite().all()


def test_every_keyword_that_the_settings_allow_is_taken():
    """Prevents a setting that is accepted and ends in a traceback."""
    assert set(KEYWORDS) == set(LOSSES)
    for name, keywords in KEYWORDS.items():
        assert LOSSES[name](S, T, Y, **dict.fromkeys(keywords, 1.5)).isfinite()
