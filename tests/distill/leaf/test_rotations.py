"""Properties of rotation, truncation and quantisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.distill.leaf.rotations import (
    LEVELS,
    is_unit,
    largest,
    principal_axes,
    quantised,
    random_rotation,
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
    """Prevents ascending instead of descending order, and a matrix that is not orthogonal."""
    before = vectors(seed) * np.arange(1, 14, dtype=np.float32)
    sorted_axes = rotated(before, principal_axes(before))
    assert np.allclose(sorted_axes @ sorted_axes.T, before @ before.T, rtol=1e-3, atol=1e-2)
    other = rotated(before, random_rotation(13, seed))
    assert (sorted_axes[:, :dims] ** 2).sum() >= (other[:, :dims] ** 2).sum() - 1e-3


@given(st.integers(0, 50))
def test_int8_has_one_scale_and_an_error_of_at_most_half_a_step(seed):
    """Prevents a scale per dimension, which would change the metric: the small dimension stays small."""
    before = vectors(seed)
    before[:, 3] *= 1e-3
    scale = largest(before)
    after = quantised(before, "int8", scale)
    step = 2 * scale / LEVELS
    assert np.abs(after - before).max() <= step / 2 * 1.001
    assert len(np.unique(after[:, 3])) <= 2


def test_int8_clips_beyond_the_range_of_the_documents():
    """Prevents large query coordinates from wrapping around to the other sign."""
    assert quantised(np.float32([[5.0, -5.0]]), "int8", 1.0) == pytest.approx(np.float32([[1, -1]]), abs=1 / 128)


@given(st.integers(0, 50), st.integers(1, 20))
def test_binary_dot_products_are_hamming_distances(seed, dims):
    """Prevents the padding bits of the last byte from counting if the dimensions are not a multiple of 8."""
    before = vectors(seed, dims)
    after = quantised(before, "binary", 1.0)
    signs = before > 0
    hamming = (signs[:, None] != signs[None]).sum(-1)
    assert np.array_equal(after @ after.T, dims - 2 * hamming)


def test_float32_is_unchanged_and_zero_stays_zero():
    """Prevents a copy in another precision, and NaN from normalising a zero vector."""
    before = vectors(0)
    assert quantised(before, "float32", 1.0) is before
    assert is_unit(unit(before))
    assert not is_unit(before)
    assert unit(np.zeros((1, 3), dtype=np.float32)).tolist() == [[0, 0, 0]]
