"""Scores of a teacher that were made elsewhere."""

import numpy as np
import pytest

from cyclealign.distill.cprd import data
from cyclealign.distill.cprd.config import DataSettings
from cyclealign.distill.cprd.score_file import read_scores
from cyclealign.errors import DistillError

SMALL = DataSettings(train=6, test=2, image_size=16)


@pytest.fixture(scope="module")
def pairs():
    return data.load(SMALL, seed=0).train


def written(path, scores, images, texts):
    np.savez(path, scores=scores, images=np.array(images), texts=np.array(texts))
    return path


def test_scores_are_found_by_name_whatever_the_order_of_the_file(pairs, tmp_path):
    """Prevents scores from being attached to other pairs where the file's order is not that of the seed's split."""
    scores = np.random.default_rng(0).random((7, 8)).astype(np.float32)
    images, texts = ["other.png", *reversed(pairs.files)], [*reversed(pairs.texts), "a", "b"]
    found = read_scores(written(tmp_path / "s.npz", scores, images, texts), pairs)
    assert found.shape == (6, 6)
    assert found[2, 4] == scores[images.index(pairs.files[2]), texts.index(pairs.texts[4])]
    turned = written(tmp_path / "turned.npz", scores[::-1], images[::-1], texts)
    assert (read_scores(turned, pairs) == found).all()


def test_what_the_file_lacks_is_named(pairs, tmp_path):
    """Prevents training on a file that was made for another seed or other data."""
    path = written(tmp_path / "s.npz", np.zeros((6, 5)), pairs.files, pairs.texts[:5])
    with pytest.raises(DistillError, match=f"texts: 1 .*'{pairs.texts[5]}'"):
        read_scores(path, pairs)
    path = written(tmp_path / "s.npz", np.zeros((6, 6)), [*pairs.files[:5], pairs.files[0]], pairs.texts)
    with pytest.raises(DistillError, match="twice"):
        read_scores(path, pairs)


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.5])
def test_scores_that_are_no_probabilities_are_refused(pairs, tmp_path, wrong):
    """Prevents logits, or a NaN that would make every loss NaN, from passing for match probabilities."""
    scores = np.full((6, 6), 0.5)
    scores[3, 3] = wrong
    with pytest.raises(DistillError, match="from 0 to 1"):
        read_scores(written(tmp_path / "s.npz", scores, pairs.files, pairs.texts), pairs)


def test_an_array_without_names_is_refused(pairs, tmp_path):
    """Prevents a bare array, whose order nobody can check, and pickled names, which could run code."""
    np.save(tmp_path / "s.npy", np.zeros((6, 6)))
    np.savez(tmp_path / "o.npz", scores=np.zeros((6, 6)), images=np.array(pairs.files, object), texts=pairs.texts)
    written(tmp_path / "shape.npz", np.zeros((5, 6)), pairs.files, pairs.texts)
    for name in ("s.npy", "o.npz", "shape.npz", "missing.npz"):
        with pytest.raises(DistillError, match=r"expected an \.npz file with scores"):
            read_scores(tmp_path / name, pairs)
