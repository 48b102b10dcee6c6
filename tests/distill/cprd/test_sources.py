"""Captions and images: split by image, from folders and data sets."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Pictures

from cyclealign.distill.cprd import data, student, train
from cyclealign.distill.cprd.config import DataSettings, DistillationSettings, StudentSettings, TeacherSettings
from cyclealign.distill.cprd.labels import simulated_scores
from cyclealign.distill.data.datasets import fingerprint
from cyclealign.errors import DistillError


def picture(number):
    return Pictures.fromarray(np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Ten images; five captions of each, a line each, not beside one another."""
    for number in range(10):
        picture(number).save(tmp_path / f"{number}.png")
    rows = [{"file": f"{n}.png", "text": f"thing {n} told {turn}"} for turn in range(5) for n in range(10)]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def settings(source, **more):
    return DataSettings(source=str(source), train=6, test=3, image_size=16, **more)


def test_no_image_is_in_both_splits(folder):
    """Prevents a student from being examined on images that it was trained on under another caption."""
    splits = data.load(settings(folder), 0)
    assert (len(splits.train.files), len(splits.test.files)) == (6, 3)
    assert not set(splits.train.files) & set(splits.test.files)
    assert (len(splits.train), len(splits.test)) == (30, 15)
    for number, text in zip(splits.train.image, splits.train.texts, strict=True):
        assert text.startswith(f"thing {splits.train.files[number].removesuffix('.png')} ")


def test_images_of_one_caption_are_split_as_they_always_were(folder):
    """Prevents published figures from becoming those of another split."""
    rows = [{"file": f"{n}.png", "text": f"thing {n}"} for n in range(10)]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    order = np.random.default_rng([7, 3]).permutation(10)
    splits = data.load(settings(folder), 7)
    assert splits.test.texts == tuple(f"thing {n}" for n in order[:3])
    assert splits.train.texts == tuple(f"thing {n}" for n in order[3:9])
    assert splits.train.image.tolist() == list(range(6))


@pytest.mark.parametrize("arm", ["kl all", "kl hard", "rank all", "untruncated", "cprd"])
def test_captions_of_one_image_are_never_its_negatives(folder, arm):
    """Prevents an arm from pushing an image's other captions away from it."""
    pairs = data.load(settings(folder), 0).train
    chosen = [np.flatnonzero(pairs.image == 0), np.flatnonzero(pairs.image < 2)]
    scores = simulated_scores(pairs, TeacherSettings(), 0)
    objective = train.Objective(arm, scores, pairs.image, DistillationSettings(num_hard_negatives=4, queue=8))
    generator = torch.Generator().manual_seed(0)
    for numbers, some in zip(chosen, (False, True), strict=True):  # alone in the first step; then not
        images, texts = (torch.randn(len(numbers), 4, generator=generator, requires_grad=True) for _ in range(2))
        loss = objective.loss(torch.from_numpy(numbers), images, texts)
        loss.backward()
        assert loss.isfinite()
        assert bool(images.grad.abs().sum() > 1e-6) == some


def test_a_student_is_taught_with_several_captions_of_an_image(folder):
    """Prevents scores (images x texts) from being read as if each text had an image of its own."""
    splits, tiny = data.load(settings(folder), 0), StudentSettings(layers=1, size=16, epochs=1, batch=8)
    scores = simulated_scores(splits.train, TeacherSettings(), 0)
    assert scores.shape == (6, 30)
    made = student.fresh(tiny, splits.train, settings(folder), 0)
    objective = train.Objective("cprd", scores, splits.train.image, DistillationSettings(num_hard_negatives=4, queue=8))
    train.fit(made, splits.train, objective, tiny, 0, lambda done, of: None)
    assert made.of_texts(["thing 1"]).isfinite().all()


def test_a_data_set_is_read_as_the_folder_is(folder, tmp_path):
    """Prevents captions of a data set from being put beside other images than their own."""
    rows = {
        "picture": [str(folder / f"{n}.png") for n in range(10)],
        "told": [[f"thing {n} told {turn}" for turn in range(5)] for n in range(10)],
        "name": [f"{n}.png" for n in range(10)],
    }
    features = Features({"picture": Image(), "told": List(Value("string")), "name": Value("string")})
    Dataset.from_dict(rows, features).to_parquet(str(tmp_path / "rows.parquet"))
    columns = {"image_column": "picture", "text_column": "told"}
    found = data.load(settings(tmp_path / "rows.parquet", file_column="name", **columns), 0)
    wanted = data.load(settings(folder), 0)
    assert found.test.content() == wanted.test.content()
    assert found.train.content() == wanted.train.content()
    unnamed = data.load(settings(tmp_path / "rows.parquet", **columns), 0)
    assert unnamed.train.texts == wanted.train.texts


def test_rows_of_the_same_image_stay_together_in_a_data_set_without_names(folder, tmp_path):
    """Prevents a data set with a row a caption from showing its test images in training."""
    rows = {
        "image": [str(folder / f"{n % 10}.png") for n in range(20)],
        "text": [f"thing {n % 10} told {n // 10}" for n in range(20)],
    }
    source = str(tmp_path / "rows.parquet")
    Dataset.from_dict(rows, Features({"image": Image(), "text": Value("string")})).to_parquet(source)
    splits = data.load(settings(source), 0)
    assert (len(splits.train), len(splits.train.files)) == (12, 6)
    assert not set(splits.train.files) & set(splits.test.files)
    assert splits.train.own().sum(axis=1).tolist() == [2] * 6


def test_what_a_data_set_lacks_is_named(folder, tmp_path):
    """Prevents an error of a library that names neither the source nor its columns."""
    source = tmp_path / "rows.parquet"
    Dataset.from_dict({"image": ["no picture"], "text": ["x"], "count": [3]}).to_parquet(str(source))
    with pytest.raises(DistillError, match="no column caption; it has image, text, count"):
        data.load(settings(source, text_column="caption"), 0)
    with pytest.raises(DistillError, match=r"rows\.parquet.*(count|row 0)"):
        data.load(settings(source, image_column="count"), 0)
    with pytest.raises(DistillError, match=r"no folder .*captions\.jsonl"):
        data.load(settings(tmp_path / "nowhere"), 0)


def test_a_changed_image_is_another_source(folder):
    """Prevents a finished run from standing for images that were changed since."""
    before = fingerprint(str(folder))
    picture(99).save(folder / "3.png")
    assert fingerprint(str(folder)) != before
