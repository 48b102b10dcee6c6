"""What CPRD's labels and runs are known by."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessorPil, ViltConfig, ViltForImageAndTextRetrieval

from cyclealign.distill.cprd import data
from cyclealign.distill.cprd.config import Config
from cyclealign.distill.label_cache import labelled
from cyclealign.distill.models.word_tokenizer import word_tokenizer

SMALL = {"train": 6, "test": 2, "image_size": 16}


@dataclass
class Labels:
    """Stands for a job: where its labels lie."""

    labels: Path

    def tells(self, what):
        return lambda done, of: None


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


def test_labels_of_another_image_or_cross_encoder_are_made_anew(pairs, tmp_path):
    """Prevents students from being taught with what an older model said, or said of images that were replaced."""
    from cyclealign.distill.cprd.job import inputs_of, label

    job = Labels(tmp_path / "labels")
    config = vilt(tmp_path / "vilt", pairs, seed=0)
    first, inputs = label(job, config, pairs)["scores"], inputs_of(config)
    assert first.shape == (6, 6)
    assert (label(job, config, pairs)["scores"] == first).all()
    assert len(list(job.labels.iterdir())) == 1
    other = replace(pairs, images=np.ascontiguousarray(pairs.images[::-1]))
    assert np.allclose(label(job, config, other)["scores"], first[::-1], atol=1e-7)
    assert not np.array_equal(first, first[::-1])
    config = vilt(tmp_path / "vilt", pairs, seed=1)
    assert not np.array_equal(label(job, config, pairs)["scores"], first)
    assert inputs_of(config) != inputs


def test_simulated_labels_follow_the_scenes(pairs, tmp_path):
    """Prevents scores of scenes that the drawing code no longer draws from being taken for those of today's."""
    from cyclealign.distill.cprd.job import label

    job = Labels(tmp_path / "labels")
    config = Config(data=SMALL)
    turned = replace(pairs, about=pairs.about[::-1])
    assert not np.allclose(label(job, config, pairs)["scores"], label(job, config, turned)["scores"])
    assert len(list(job.labels.iterdir())) == 2


def test_simulated_labels_of_0_1_0_are_taken(pairs, tmp_path):
    """Prevents labels that are kept from being made anew because a source file was moved or edited."""
    from cyclealign.distill.cprd.job import label

    made_of = {
        "pairs": pairs.content(),
        "teacher": {"model": "simulated", "steepness": 12.0, "noise": 0.08},
        "seed": 0,
        "code": "c2301316458c9640ba28059c8a0f89803668fdaaed337b8def2bd5259e37f5ab",
    }
    kept = np.full((6, 6), 0.5, dtype=np.float32)
    labelled(tmp_path / "labels", made_of, lambda: {"scores": kept})
    assert (label(Labels(tmp_path / "labels"), Config(data=SMALL), pairs)["scores"] == kept).all()


def test_a_score_file_is_read_by_the_flow_and_a_changed_one_makes_another_run(pairs, tmp_path):
    """Prevents a finished run from standing for scores that were corrected since."""
    from cyclealign.distill.cprd.job import inputs_of, label

    path = tmp_path / "scores.npz"
    config = Config(data=SMALL, teacher={"model": str(path)})
    known = []
    for value in (0.2, 0.7):
        np.savez(path, scores=np.full((6, 6), value), images=np.array(pairs.files), texts=np.array(pairs.texts))
        known.append(inputs_of(config))
        assert np.allclose(label(Labels(tmp_path), config, pairs)["scores"], value)
    assert known[0] != known[1]
