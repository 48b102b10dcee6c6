"""Data, teacher, student and figures of CPRD."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, ViltConfig, ViltForImageAndTextRetrieval

from cyclealign.distill.cprd import data, evaluate, predict, student
from cyclealign.distill.cprd import train as training
from cyclealign.distill.cprd.config import DataSettings, DistillationSettings, StudentSettings, TeacherSettings
from cyclealign.distill.cprd.labels import simulated_scores
from cyclealign.distill.cprd.teacher_models import CrossEncoder
from cyclealign.distill.models.word_tokenizer import word_tokenizer
from cyclealign.errors import DistillError

SMALL = DataSettings(train=24, test=8, image_size=16)
TINY = StudentSettings(layers=1, size=16, epochs=1, batch=8)
K = DistillationSettings(num_hard_negatives=4, queue=8)


@pytest.fixture(scope="module")
def splits():
    return data.load(SMALL, seed=0)


def silent(done, of):
    pass


def fitted(arm, splits, seed=0):
    made = student.fresh(TINY, splits.train, SMALL, seed)
    scores = simulated_scores(splits.train, TeacherSettings(), 0)
    objective = training.Objective(arm, scores, splits.train.image, K)
    return training.fit(made, splits.train, objective, TINY, seed, silent)


def test_no_scene_is_in_both_splits(splits):
    """Prevents retrieval of what was trained on."""
    assert not set(splits.train.texts) & set(splits.test.texts)
    assert len(splits.test) == 8


def test_the_truth_is_graded_and_highest_for_the_own_text(splits):
    truth = splits.test.overlap()
    assert (truth.diagonal() == 1).all()
    assert len(np.unique(truth)) > 3
    assert np.allclose(truth, truth.T)


def test_the_simulated_teacher_piles_up_at_both_ends(splits):
    """Prevents a teacher so mild that KL and ranking would be told the same."""
    scores = simulated_scores(splits.train, TeacherSettings(), 0)
    assert ((scores < 0.1) | (scores > 0.9)).mean() > 0.6
    assert scores.diagonal().min() > 0.9


@pytest.mark.parametrize("arm", ["none", "kl all", "kl hard", "rank all", "untruncated", "cprd"])
def test_every_arm_trains_from_the_same_start_to_its_own_end(splits, arm, tmp_path):
    """Prevents an arm that silently does nothing of its own, and a student that is lost on the way to its user."""
    made = fitted(arm, splits)
    similarities = predict.similarities(made, splits.test)
    assert np.isfinite(similarities).all()
    if arm != "none":
        assert not np.allclose(similarities, predict.similarities(fitted("none", splits), splits.test))
    made.save(tmp_path / "student")
    loaded = student.load(str(tmp_path / "student"), SMALL)
    assert np.allclose(predict.similarities(loaded, splits.test), similarities, atol=1e-6)
    assert not list((tmp_path / "student").glob("*.bin"))


def test_the_queue_keeps_the_newest_and_no_gradient():
    queue = training.Queue(3)
    for step in range(3):
        queue.push(torch.tensor([2 * step, 2 * step + 1]), torch.full((2, 4), float(step), requires_grad=True))
    assert queue.numbers.tolist() == [4, 5, 2]
    assert not queue.features.requires_grad


def test_a_real_cross_encoder_scores_all_pairs(splits, tmp_path):
    """Prevents loading code that nobody ever ran: a ViLT made here, saved, and loaded as a user's would be."""
    words = {word for text in splits.train.texts for word in text.split()}
    tokenizer = word_tokenizer(sorted(words), lowercase=True, model_input_names=["input_ids", "attention_mask"])
    config = ViltConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8, max_image_length=-1, max_position_embeddings=16,
    )  # fmt: skip
    ViltForImageAndTextRetrieval(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(DistillError, match=r"preprocessor_config\.json"):
        CrossEncoder(str(tmp_path), 16)
    CLIPImageProcessorPil(image_mean=[0.1, 0.2, 0.3]).save_pretrained(tmp_path)
    scores = CrossEncoder(str(tmp_path), 16).score_rows(splits.test, range(2, 5))
    assert scores.shape == (3, 8)
    assert ((scores > 0) & (scores < 1)).all()
    CLIPImageProcessorPil(image_mean=[0.9, 0.9, 0.9]).save_pretrained(tmp_path)
    other = CrossEncoder(str(tmp_path), 16).score_rows(splits.test, range(2, 5))
    assert not np.array_equal(other, scores)
    with pytest.raises(DistillError, match="patches of 8"):
        CrossEncoder(str(tmp_path), 20)


def test_a_folder_is_read_and_a_wrong_line_named(tmp_path):
    """Prevents a caption without its image, or half a folder, from being trained on."""
    rows = [{"file": f"{n}.png", "text": f"thing {n}", "keywords": ["a", "b"]} for n in range(6)]
    for row in rows:
        Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / row["file"])
    captions = tmp_path / "captions.jsonl"
    captions.write_text("\n".join(map(json.dumps, rows)))
    settings = DataSettings(source=str(tmp_path), train=10, test=2, image_size=8)
    splits = data.load(settings, 0)
    assert (len(splits.train), len(splits.test)) == (4, 2)
    assert (splits.train.images == 255).all()  # transparent ground is white
    captions.write_text('{"file": "0.png"}')
    with pytest.raises(DistillError, match=r"captions\.jsonl, line 1"):
        data.load(settings, 0)
    captions.write_text("\n".join(map(json.dumps, [*rows[:5], {"file": "none.png", "text": "x"}])))
    with pytest.raises(DistillError, match=r"none\.png"):
        data.load(settings, 0)


def test_figures_of_a_perfect_and_a_reversed_order():
    """Prevents a figure that counts the own text as a graded neighbour, or ties as finds."""
    truth = np.array([[1.0, 0.6, 0.1], [0.6, 1.0, 0.3], [0.1, 0.3, 1.0]])
    own = np.eye(3, dtype=bool)
    best, worst = evaluate.figures(truth, truth, own), evaluate.figures(-truth, truth, own)
    assert best["recall@1"] == 1
    assert (best["graded (Spearman)"], worst["graded (Spearman)"]) == (pytest.approx(1), pytest.approx(-1))
    assert best["graded (nDCG@10)"] == pytest.approx(1)
    assert worst["graded (nDCG@10)"] < 1
    assert worst["recall@1"] == 0


def test_any_caption_of_an_image_is_a_find():
    """Prevents a student from losing recall or gaining graded order, by an image's other captions."""
    own = np.array([[True, True, False], [False, False, True]])
    similarity = np.array([[0.1, 0.9, 0.5], [0.0, 0.2, 0.6]])
    assert evaluate.recall(similarity, own, 1) == 1
    assert evaluate.recall(similarity[:, [0, 2, 1]], own[:, [0, 2, 1]], 1) == 1
    truth = np.array([[1.0, 1.0, 0.3], [0.2, 0.4, 1.0]])
    assert evaluate.graded(similarity, truth, own) == pytest.approx(1)


def test_what_the_test_pairs_leave_undefined_is_left_out():
    """Prevents NaN in the report where no two test pairs have anything in common, or a student tells nothing apart."""
    own = np.eye(3, dtype=bool)
    apart = evaluate.figures(np.eye(3), np.eye(3), own)
    assert list(apart) == ["recall@1", "recall@5", "recall@10"]
    truth = np.array([[1.0, 0.6, 0.1], [0.6, 1.0, 0.3], [0.1, 0.3, 1.0]])
    assert evaluate.figures(np.ones((3, 3)), truth, own)["graded (Spearman)"] == 0


def test_a_loss_that_is_no_number_ends_the_training(splits):
    """Prevents a student of NaN from being kept and examined."""
    scores = simulated_scores(splits.train, TeacherSettings(), 0)
    made = student.fresh(TINY, splits.train, SMALL, 0)
    with torch.no_grad():
        made.model.text_projection.weight.fill_(torch.nan)
    with pytest.raises(DistillError, match="step 1"):
        training.fit(made, splits.train, training.Objective("cprd", scores, splits.train.image, K), TINY, 0, silent)


def test_other_pixels_or_captions_are_other_content(splits):
    """Prevents labels of one set of images from being taken for another's."""
    train = splits.train
    pixels = train.images.copy()
    pixels[0, 0, 0, 0] ^= 1
    texts = (train.texts[1], *train.texts[1:])
    found = {each.content() for each in (train, replace(train, images=pixels), replace(train, texts=texts))}
    assert len(found) == 3
    assert data.load(SMALL, seed=0).train.content() == train.content()
