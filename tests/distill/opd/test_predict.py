"""Answers and the tokens that the loss is over."""

import pytest
import torch

from cyclealign.distill.opd import student
from cyclealign.distill.opd.losses import generalised_jsd
from cyclealign.distill.opd.predict import Batch, Row, answer_logits, cut, divergences, sample
from tests.distill.opd.conftest import PROMPTS

pytestmark = pytest.mark.slow
ROWS = [Row((1, 9, 8), (7, 6)), Row((1, 5), (4, 3, 2)), Row((1, 9, 8, 7, 6), (5,))]


def test_answers_end_with_their_first_end_token_and_follow_the_seed(student_source, generation):
    """Prevents loss on what follows an answer, and a resumed step with other answers."""
    model = student.model_of(student_source)
    rows = sample(model, PROMPTS, generation, 3)
    assert [row.prompt for row in rows] == PROMPTS
    assert all(0 < len(row.answer) <= 6 for row in rows)
    assert all(not generation.end_tokens & set(row.answer[:-1]) for row in rows)
    assert rows == sample(model, PROMPTS, generation, 3)
    assert rows != sample(model, PROMPTS, generation, 4)
    assert cut((5, 6, 2, 2, 0), frozenset({2})) == (5, 6, 2)
    assert cut((5, 6), frozenset({2})) == (5, 6)


def test_logits_are_those_before_each_answer_token(student_source):
    """Prevents a shift by one token, logits of the prompt, and padding that changes a row."""
    model = student.model_of(student_source)
    batch = Batch.of(ROWS, "cpu")
    assert batch.targets_N.tolist() == [7, 6, 4, 3, 2, 5]
    alone = [model(input_ids=torch.tensor([row.ids])).logits[0, len(row.prompt) - 1 : -1] for row in ROWS]
    assert torch.allclose(answer_logits(model, batch), torch.cat(alone), atol=1e-5)


def test_divergences_are_means_over_the_answers_tokens(student_source, teacher_source):
    """Prevents a mean over padding, and rows in another order than they were given."""
    own, teacher = student.model_of(student_source), student.model_of(teacher_source)
    values = divergences(own, teacher, ROWS, 1.0, 12)
    for row, value in zip(ROWS, values, strict=True):
        ids = torch.tensor([row.ids])
        pair = [model(input_ids=ids).logits[0, len(row.prompt) - 1 : -1] for model in (own, teacher)]
        assert value == pytest.approx(generalised_jsd(*pair, 1.0).mean().item(), rel=1e-4)
    assert divergences(own, own, ROWS, 1.0, 100) == [0.0, 0.0, 0.0]
