"""The demo: its prompts, and a pair of models with one tokenizer."""

from statistics import fmean

import pytest

from cyclealign.distill.opd import demo_data, demo_models, student
from cyclealign.distill.opd.student import Source
from tests.distill.opd.conftest import STUDENT, TEACHER


def test_no_prompt_of_the_evaluation_is_trained_on():
    """Prevents figures of the demo on prompts that the student has seen."""
    training, evaluation = demo_data.prompts("training"), demo_data.prompts("evaluation")
    assert (len(training), len(evaluation)) == (810, 90)
    assert not {*training} & {*evaluation}


def test_the_teachers_answers_are_better_than_the_students():
    """Prevents a demo without a gap to close."""
    best, mixed = demo_data.teacher_pairs(60, 8, 0), demo_data.student_pairs(60, 0)
    assert fmean(demo_data.quality(*pair) for pair in best) > fmean(demo_data.quality(*pair) for pair in mixed) + 0.2
    assert best == demo_data.teacher_pairs(60, 8, 0)


@pytest.mark.slow
def test_the_pair_is_trained_once_with_one_tokenizer(tmp_path):
    """Prevents a demo that trains its models at every start, or refuses its own pair."""
    recipe = demo_models.PairRecipe(teacher=TEACHER, student=STUDENT, best_of=2)
    reported = []
    pair = demo_models.demo_pair(tmp_path, lambda done, of: reported.append(done), recipe)
    student.require_one_tokenizer(Source("student.model", str(pair.student)), Source("t", str(pair.teacher)))
    trained = len(reported)
    assert trained > 0
    assert demo_models.demo_pair(tmp_path, lambda done, of: reported.append(done), recipe) == pair
    assert len(reported) == trained
