"""Smaller vectors: what rotation, truncation and quantisation keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.distill.leaf.rotations import (
    LEVELS,
    is_unit,
    largest,
    principal_axes,
    random_rotation,
    read_back,
    rotated,
    unit,
)


def vectors(seed: int, dims: int = 13, count: int = 20):
    return np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)


@given(st.integers(0, 50), st.integers(2, 13))
def test_a_rotation_keeps_every_dot_product(seed, dims):
    """Prevents a control that is worse for another reason than its axes."""
    before = vectors(seed, dims)
    rotation = random_rotation(dims, seed)
    assert np.allclose(rotation @ rotation.T, np.eye(dims), atol=1e-9)
    after = rotated(before, rotation)
    assert np.allclose(after @ after.T, before @ before.T, atol=1e-3)
    assert not np.allclose(after[:, 0], before[:, 0])


@given(st.integers(0, 20), st.integers(1, 12))
def test_principal_axes_carry_most_in_the_first_dimensions(seed, dims):
    """Prevents rising instead of falling order, and a map that is no rotation."""
    before = vectors(seed) * np.arange(1, 14, dtype=np.float32)
    turned = rotated(before, principal_axes(before))
    assert np.allclose(turned @ turned.T, before @ before.T, rtol=1e-3, atol=1e-2)
    other = rotated(before, random_rotation(13, seed))
    assert (turned[:, :dims] ** 2).sum() >= (other[:, :dims] ** 2).sum() - 1e-3


@given(st.integers(0, 50))
def test_int8_has_one_scale_and_is_read_back_within_half_a_step(seed):
    """Prevents a scale for each dimension, which would be another metric: the small dimension keeps its size."""
    before = vectors(seed)
    before[:, 3] *= 1e-3
    scale = largest(before)
    after = read_back(before, "int8", scale)
    step = 2 * scale / LEVELS
    assert np.abs(after - before).max() <= step / 2 * 1.001
    assert len(np.unique(after[:, 3])) <= 2


def test_int8_cuts_what_is_beyond_the_documents_range():
    assert read_back(np.float32([[5.0, -5.0]]), "int8", 1.0) == pytest.approx(np.float32([[1, -1]]), abs=1 / 128)


@given(st.integers(0, 50), st.integers(1, 20))
def test_binary_dot_products_are_hamming_distances(seed, dims):
    """Prevents the padding bits of the last byte from counting, where the dimensions are no multiple of 8."""
    before = vectors(seed, dims)
    after = read_back(before, "binary", 1.0)
    signs = before > 0
    hamming = (signs[:, None] != signs[None]).sum(-1)
    assert np.array_equal(after @ after.T, dims - 2 * hamming)


def test_floats_are_left_alone_and_zero_stays_zero():
    before = vectors(0)
    assert read_back(before, "float32", 1.0) is before
    assert is_unit(unit(before))
    assert not is_unit(before)
    assert unit(np.zeros((1, 3), dtype=np.float32)).tolist() == [[0, 0, 0]]
