"""The metric: the same after loading, and the examination of it."""

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, RobertaConfig, RobertaModel

from cyclealign.distill.models.word_tokenizer import word_tokenizer
from cyclealign.distill.quantidce import data, demo_data, evaluate, predict, train
from cyclealign.distill.quantidce import model as student
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


KINDS = {
    "bert": (BertConfig, BertModel, {"intermediate_size": 8, "num_hidden_layers": 3}),
    "roberta": (RobertaConfig, RobertaModel, {"intermediate_size": 8, "num_hidden_layers": 3}),
    "distilbert": (DistilBertConfig, DistilBertModel, {"hidden_dim": 8, "n_layers": 3}),
}


@pytest.fixture
def encoder(tmp_path):
    """Makes the folder of an encoder: ``encoder(kind)``; three layers, positions for 30 tokens."""

    def make(kind: str) -> str:
        tokenizer = word_tokenizer(
            demo_data.vocabulary(), lowercase=True, model_input_names=["input_ids", "attention_mask"]
        )
        config_class, model_class, sizes = KINDS[kind]
        positions = 30 + (tokenizer.pad_token_id + 1 if kind == "roberta" else 0)
        given = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **sizes}
        names = {"hidden_size": 8, "num_attention_heads": 2, "max_position_embeddings": positions}
        torch.manual_seed(0)
        model_class(config_class(**names, **given)).save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        return str(tmp_path / kind)

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_layers_of_any_encoder_are_used(encoder, kind, dialogues, tmp_path):
    """Prevents a metric with other layers than the settings say, and kinds that end in a traceback."""
    folder = encoder(kind)
    made = [
        student.fresh(TINY.model_copy(update={"model": folder, "layers": n, "max_tokens": 30}), 0) for n in (2, None)
    ]
    tokens = made[0].encode(dialogues.scored[:4])
    few, all_ = (each.eval()(tokens, with_states=True) for each in made)
    assert (len(few.attention), len(all_.attention)) == (2, 3)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(few.hidden[:2], all_.hidden[:2], strict=True))
    made[0].save(tmp_path / "metric")
    found = predict.scores(student.load(tmp_path / "metric"), dialogues.scored)
    assert np.allclose(found, predict.scores(made[0], dialogues.scored), atol=1e-6)


@pytest.mark.parametrize("kind", ["demo", *KINDS])
def test_more_layers_than_there_are_is_refused(encoder, kind):
    """Prevents a setting that says one thing while another is trained."""
    model = kind if kind == "demo" else encoder(kind)
    with pytest.raises(DistillError, match=r"encoder\.layers is 4, but .* has [13] layers\. Lower it"):
        student.fresh(EncoderSettings(model=model, layers=4, max_tokens=16), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_longer_than_the_encoder_takes_are_refused_before_training(encoder, kind):
    """Prevents a run that ends at its first long dialogue; the longest allowed pair does go through."""
    settings = EncoderSettings(model=encoder(kind), max_tokens=30)
    long = Scored(("the soup " * 40,), "the soup can wait")
    assert np.isfinite(predict.scores(student.fresh(settings, 0).eval(), [long])).all()
    with pytest.raises(DistillError, match=r"encoder\.max_tokens is 31; .* takes 30 tokens at most"):
        student.fresh(settings.model_copy(update={"max_tokens": 31}), 0)


def test_a_loss_that_is_no_number_leaves_no_metric(dialogues):
    """Prevents a metric of NaN from being kept and compared."""
    settings = PretrainingSettings(epochs=1, contexts_per_step=4)
    made = student.fresh(TINY, seed=0)
    torch.nn.init.constant_(made.head[0].weight, float("nan"))
    with pytest.raises(DistillError, match="Lower the learning rate"):
        train.pretrain(made, dialogues.graded, "mlr", settings, 0, silent)


def test_a_folder_without_a_metric_is_named(tmp_path):
    with pytest.raises(DistillError, match="does not hold a readable coherence metric"):
        student.load(tmp_path)


@pytest.mark.parametrize("pooling", ["first", "mean", "match"])
def test_a_dialogue_scores_the_same_alone_and_among_others(dialogues, pooling):
    """Prevents a score that depends on the length of the other dialogues in the batch, and one given to another."""
    made = student.fresh(TINY.model_copy(update={"pooling": pooling}), seed=0).eval()
    short, long = dialogues.scored[0], Scored(("the soup ?",) * 9, "the soup can wait " * 9)
    alone = [predict.scores(made, [each])[0] for each in (long, short)]
    assert not np.isclose(*alone, atol=1e-3)
    assert np.allclose(predict.scores(made, [long, short] * 20), alone * 20, atol=1e-6)


def test_the_two_texts_are_told_apart_without_their_special_tokens():
    """Prevents a match of the context with itself, and one with the tokens that stand between the texts."""
    made = student.fresh(TINY, seed=0)
    tokens = made.encode([Scored(("the soup ?",), "the soup can wait"), Scored(("the soup",), "can wait")])
    words = [made.tokenizer.convert_ids_to_tokens(row.tolist()) for row in tokens["input_ids"]]
    context, response = (
        [[word for word, chosen in zip(*row, strict=True) if chosen] for row in zip(words, part.tolist(), strict=True)]
        for part in student.text_masks(tokens)
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
        train.pretrain(made, dialogues.graded, "mlr", settings, 0, silent)
        before = [each.detach().clone() for each in made.encoder.parameters()]
        settings = TuningSettings(epochs=2, learning_rate=1e-3, kd_weight=weight)
        train.tune(made, dialogues.scored, settings, True, 0, silent)
        return sum(float((new - old).pow(2).sum()) for new, old in zip(made.encoder.parameters(), before, strict=True))

    assert 0 < moved(1000.0) < moved(0.0)


def test_the_same_seed_gives_the_same_metric(dialogues):
    """Prevents runs that cannot be repeated."""
    settings = PretrainingSettings(epochs=1, contexts_per_step=4, learning_rate=1e-3)
    made = [train.pretrain(student.fresh(TINY, 5), dialogues.graded, "pairs", settings, 5, silent) for _ in range(2)]
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
