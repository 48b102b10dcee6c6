"""The metric: the same after loading, and the examination of it."""

import numpy as np
import pytest
import torch
from scipy import stats

from cyclealign.distill.quantidce import data, evaluate, predict, student, teacher
from cyclealign.distill.quantidce.config import DataSettings, EncoderSettings, PretrainingSettings, TuningSettings
from cyclealign.distill.quantidce.data import Scored
from cyclealign.errors import DistillError

TINY = EncoderSettings(max_tokens=48, head=(16, 8))


@pytest.fixture(scope="module")
def dialogues():
    return data.load(DataSettings(contexts=12, responses=2), seed=0)


def silent(done, of):
    pass


@pytest.mark.parametrize("pooling", ["first", "mean", "match"])
def test_a_saved_metric_gives_the_same_scores(tmp_path, dialogues, pooling):
    """Prevents a metric whose head, tokenizer, length or pooling is lost on the way to its user."""
    made = student.fresh(TINY.model_copy(update={"pooling": pooling}), seed=0).eval()
    made.save(tmp_path / "metric")
    found = predict.scores(student.load(tmp_path / "metric"), dialogues.scored)
    assert np.allclose(found, predict.scores(made, dialogues.scored), atol=1e-6)
    assert ((found >= 1) & (found <= 5)).all()
    assert not list((tmp_path / "metric").glob("*.bin"))


def test_a_folder_without_a_metric_is_named(tmp_path):
    with pytest.raises(DistillError, match="no coherence metric"):
        student.load(tmp_path)


@pytest.mark.parametrize("pooling", ["mean", "match"])
def test_a_mean_leaves_out_what_only_fills_up(dialogues, pooling):
    """Prevents a score that depends on the length of the other dialogues in the batch."""
    made = student.fresh(TINY.model_copy(update={"pooling": pooling}), seed=0).eval()
    short, long = dialogues.scored[0], Scored(("the soup ?",) * 9, "the soup can wait " * 9)
    assert np.allclose(predict.scores(made, [short, long])[0], predict.scores(made, [short])[0], atol=1e-6)


def test_the_two_texts_are_told_apart_without_their_special_tokens():
    """Prevents a match of the context with itself, and one with the tokens that stand between the texts."""
    made = student.fresh(TINY, seed=0)
    tokens = made.encode([Scored(("the soup ?",), "the soup can wait"), Scored(("the soup",), "can wait")])
    words = [made.tokenizer.convert_ids_to_tokens(row.tolist()) for row in tokens["input_ids"]]
    context, response = (
        [[word for word, chosen in zip(*row, strict=True) if chosen] for row in zip(words, part.tolist(), strict=True)]
        for part in student.places_of_texts(tokens)
    )
    assert context == [["the", "soup", "?"], ["the", "soup"]]
    assert response == [["the", "soup", "can", "wait"], ["can", "wait"]]


def test_a_long_context_loses_its_beginning(dialogues):
    """Prevents the last turn, which the response answers, from being cut away."""
    made = student.fresh(TINY, seed=0)
    long = Scored(("the hedge " * 60, "and the soup ?"), "the soup can wait")
    words = made.tokenizer.convert_ids_to_tokens(made.encode([long])["input_ids"][0].tolist())
    assert len(words) == 48
    assert "soup" in words[: words.index("[SEP]")]
    assert words[-2] == "wait"
    both = Scored(("the hedge " * 60,), "the soup " * 60)
    assert made.encode([both])["input_ids"].shape == (1, 48)


def test_both_stages_change_the_metric_and_distillation_holds_it(dialogues):
    """Prevents a second stage that ignores its weight: held strongly, the metric moves less."""

    def moved(weight):
        made = student.fresh(TINY, seed=0)
        settings = PretrainingSettings(epochs=1, contexts_per_step=4, learning_rate=1e-3)
        teacher.pretrain(made, dialogues.graded, "mlr", settings, 0, silent)
        before = [each.detach().clone() for each in made.encoder.parameters()]
        settings = TuningSettings(epochs=2, learning_rate=1e-3, kd_weight=weight)
        teacher.tune(made, dialogues.scored, settings, True, 0, silent)
        return sum(float((new - old).pow(2).sum()) for new, old in zip(made.encoder.parameters(), before, strict=True))

    assert 0 < moved(1000.0) < moved(0.0)


def test_the_same_seed_gives_the_same_metric(dialogues):
    """Prevents runs that cannot be repeated."""
    settings = PretrainingSettings(epochs=1, contexts_per_step=4, learning_rate=1e-3)
    made = [teacher.pretrain(student.fresh(TINY, 5), dialogues.graded, "pairs", settings, 5, silent) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*(each.parameters() for each in made), strict=True))


def test_correlations_are_scipys():
    generator = np.random.default_rng(0)
    found, given = generator.normal(size=40), generator.integers(1, 6, size=40).astype(float)
    assert evaluate.correlation("Pearson", found, given) == pytest.approx(stats.pearsonr(found, given).statistic)
    assert evaluate.correlation("Spearman", found, given) == pytest.approx(stats.spearmanr(found, given).statistic)
    assert evaluate.correlation("Kendall", found, given) == pytest.approx(stats.kendalltau(found, given).statistic)
    assert evaluate.correlation("Pearson", np.ones(40), given) == 0


def test_arms_are_compared_on_the_same_items():
    """Prevents a difference whose interval is as wide as two unpaired ones: an arm beside itself differs by nothing."""
    generator = np.random.default_rng(1)
    given, found = generator.normal(size=30), generator.normal(size=30)
    measures = evaluate.agreement("t", {"a": [found], "b": [found]}, given)
    above = [each for each in measures if "above" in each.name]
    assert len(above) == 3
    assert all((each.value, each.low, each.high) == (0, 0, 0) for each in above)


def test_levels_out_of_order_are_counted(dialogues):
    """Prevents centroids whose means are in order from hiding contexts in which they are not."""
    found = np.array([[4.0, 4, 3, 3, 2, 2], [2, 2, 3, 3, 4, 4]]).ravel()
    measures = {each.name: each.value for each in evaluate.levels("a", dialogues.held_out[:2], found)}
    assert measures["levels in order"] == 0.5
    assert measures["centroid of level 1"] == pytest.approx(0.5)
