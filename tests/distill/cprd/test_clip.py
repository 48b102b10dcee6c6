"""A CLIP as student: its own normalisation, and data that fit it."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, CLIPConfig, CLIPImageProcessorPil, CLIPModel

from cyclealign.distill.cprd import data, predict, student, train
from cyclealign.distill.cprd.config import DataSettings, DistillationSettings, StudentSettings, TeacherSettings
from cyclealign.distill.cprd.labels import simulated_scores
from cyclealign.distill.models.word_tokenizer import word_tokenizer
from cyclealign.errors import DistillError

DATA = DataSettings(train=24, test=8, image_size=16, max_words=12)
MEAN, DEVIATION = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


@pytest.fixture(scope="module")
def splits():
    return data.load(DATA, seed=0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, splits):
    """A folder with a tiny CLIP of random weights, as one from the hub lies in the cache."""
    folder = tmp_path_factory.mktemp("clip")
    words = sorted({word for text in splits.train.texts for word in text.split()})
    tokenizer = word_tokenizer(words, model_input_names=["input_ids", "attention_mask"])
    common = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ids = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id, "pad_token_id": 0}
    config = CLIPConfig(
        text_config={**common, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 12},
        vision_config={**common, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    CLIPImageProcessorPil(image_mean=MEAN, image_std=DEVIATION, **size).save_pretrained(folder)
    return str(folder)


def test_a_clip_is_taught_saved_and_loaded_with_its_own_normalisation(clip, splits, tmp_path):
    """Prevents a pretrained encoder from seeing colours that it was not trained on, here or after it was saved."""
    settings = StudentSettings(model=clip, epochs=1, batch=8)
    scores = simulated_scores(splits.train, TeacherSettings(), 0)
    objective = train.Objective("cprd", scores, splits.train.image, DistillationSettings(num_hard_negatives=4, queue=8))
    made = student.fresh(settings, splits.train, DATA, 0)
    before = predict.similarities(made, splits.test)
    train.fit(made, splits.train, objective, settings, 0, lambda done, of: None)
    similarities = predict.similarities(made, splits.test)
    assert not np.allclose(similarities, before)
    made.save(tmp_path / "student")
    loaded = student.load(str(tmp_path / "student"), DATA)
    assert np.allclose(predict.similarities(loaded, splits.test), similarities, atol=1e-6)
    assert loaded.pixels == made.pixels
    assert loaded.pixels.mean == tuple(MEAN)
    assert loaded.pixels.deviation == tuple(DEVIATION)


def test_the_saved_image_processor_makes_the_same_pixels(clip, splits, tmp_path):
    """Prevents users of the saved folder from giving the student other images than it was taught with."""
    made = student.load(clip, DATA)
    made.save(tmp_path / "student")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "student", backend="pil")
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    theirs = processor(wide, return_tensors="pt")["pixel_values"]
    ours = made.pixels.of(np.asarray(wide.resize((16, 16), Image.Resampling.BICUBIC))[None])
    assert torch.allclose(theirs, ours.cpu(), atol=1e-5)


def test_data_that_do_not_fit_the_model_are_refused_at_loading(clip):
    """Prevents an error of the model after the teacher scored for hours."""
    with pytest.raises(DistillError, match="takes images of 16 pixels"):
        student.load(clip, DATA.model_copy(update={"image_size": 32}))
    with pytest.raises(DistillError, match="at most 12 tokens"):
        student.load(clip, DATA.model_copy(update={"max_words": 13}))


def test_a_model_without_an_image_processor_is_refused(clip, tmp_path):
    """Prevents a normalisation that was guessed."""
    made = student.load(clip, DATA)
    made.save(tmp_path / "student")
    (tmp_path / "student" / "preprocessor_config.json").unlink()
    with pytest.raises(DistillError, match=r"preprocessor_config\.json"):
        student.load(str(tmp_path / "student"), DATA)
