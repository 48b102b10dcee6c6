"""The keys of CPRD's labels and runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessorPil, ViltConfig, ViltForImageAndTextRetrieval

from cyclealign.distill.cprd import data
from cyclealign.distill.cprd.config import Config
from cyclealign.distill.cprd.job import inputs
from cyclealign.distill.cprd.labels import label
from cyclealign.distill.label_cache import cached_labels
from cyclealign.distill.models.word_tokenizer import word_tokenizer
from cyclealign.distill.steps import Steps

SMALL = {"train": 6, "test": 2, "image_size": 16}


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """The steps of a run whose labels lie in a home of the test's own."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    return Steps("cprd", "made by")


@pytest.fixture
def pairs():
    return data.load(Config(data=SMALL).data, 0).train


def vilt(folder, pairs, seed):
    words = {word for text in pairs.texts for word in text.split()}
    tokenizer = word_tokenizer(sorted(words), model_input_names=["input_ids", "attention_mask"])
    torch.manual_seed(seed)
    config = ViltConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8, max_image_length=-1, max_position_embeddings=16,
    )  # fmt: skip
    ViltForImageAndTextRetrieval(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    return Config(data=SMALL, teacher={"model": str(folder)})


def test_labels_of_another_image_or_cross_encoder_are_made_anew(steps, pairs, tmp_path):
    """Prevents students from being taught with what an older model said, or said of images that were replaced."""
    config = vilt(tmp_path / "vilt", pairs, seed=0)
    first, before = label(steps.labels, config, pairs), inputs(config)
    assert first.shape == (6, 6)
    assert (label(steps.labels, config, pairs) == first).all()
    assert len(list(steps.labels.iterdir())) == 1
    other = replace(pairs, images=np.ascontiguousarray(pairs.images[::-1]))
    assert np.allclose(label(steps.labels, config, other), first[::-1], atol=1e-7)
    assert not np.array_equal(first, first[::-1])
    config = vilt(tmp_path / "vilt", pairs, seed=1)
    assert not np.array_equal(label(steps.labels, config, pairs), first)
    assert inputs(config) != before


def test_simulated_labels_follow_the_scenes(steps, pairs):
    """Prevents scores of scenes that the drawing code no longer draws from being taken for those of today's."""
    config = Config(data=SMALL)
    turned = replace(pairs, about=pairs.about[::-1])
    assert not np.allclose(label(steps.labels, config, pairs), label(steps.labels, config, turned))
    assert len(list(steps.labels.iterdir())) == 2


def test_simulated_labels_of_0_1_0_are_taken(steps, pairs):
    """Prevents labels that are kept from being made anew because a source file was moved or edited."""
    made_of = {
        "pairs": pairs.content(),
        "teacher": {"model": "simulated", "steepness": 12.0, "noise": 0.08},
        "seed": 0,
        "code": "c2301316458c9640ba28059c8a0f89803668fdaaed337b8def2bd5259e37f5ab",
    }
    kept = np.full((6, 6), 0.5, dtype=np.float32)
    cached_labels(steps.labels, made_of, lambda: {"scores": kept})
    assert (label(steps.labels, Config(data=SMALL), pairs) == kept).all()


def test_a_score_file_is_read_by_the_flow_and_a_changed_one_makes_another_run(steps, pairs, tmp_path):
    """Prevents a finished run from standing for scores that were corrected since."""
    path = tmp_path / "scores.npz"
    config = Config(data=SMALL, teacher={"model": str(path)})
    known = []
    for value in (0.2, 0.7):
        np.savez(path, scores=np.full((6, 6), value), images=np.array(pairs.files), texts=np.array(pairs.texts))
        known.append(inputs(config))
        assert np.allclose(label(steps.labels, config, pairs), value)
    assert known[0] != known[1]
