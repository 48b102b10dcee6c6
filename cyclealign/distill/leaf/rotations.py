"""Smaller vectors: the first dimensions only (MRL), int8, one bit a dimension. Pure functions over arrays (N, D)."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

LEVELS = 255


def unit(vectors_ND: Vectors) -> Vectors:
    """Each row divided by its L2 norm."""
    norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    divided: Vectors = (vectors_ND / np.where(norms_N1 == 0, 1, norms_N1)).astype(np.float32)
    return divided


def is_unit(vectors_ND: Vectors) -> bool:
    """Whether every row has length 1, up to the precision of half floats."""
    return bool(np.all(np.abs(np.linalg.norm(vectors_ND, axis=1) - 1) < 1e-2))


def largest(vectors_ND: Vectors) -> float:
    """The largest absolute coordinate: what ``read_back`` needs to know of the teacher's documents for int8."""
    return float(np.abs(vectors_ND).max())


def read_back(vectors_ND: Vectors, precision: str, largest_coordinate: float) -> Vectors:
    """What is left of vectors that were stored at a precision, as floats again.

    int8 has ONE scale for all dimensions, of queries and documents alike, and is de-quantised: a scale for each
    dimension without de-quantisation would be another metric. binary keeps the signs: the dot product of two such
    vectors is D - 2 * their Hamming distance.

    Args:
        precision: ``float32``, ``int8`` or ``binary``.
        largest_coordinate: int8 spans from minus this to this; what is beyond is cut.
    """
    from sentence_transformers import quantize_embeddings

    if precision == "float32":
        return vectors_ND
    dims = vectors_ND.shape[1]
    if precision == "binary":
        bits_ND = np.unpackbits(quantize_embeddings(vectors_ND, precision="ubinary"), axis=1, count=dims)
        return bits_ND.astype(np.float32) * 2 - 1
    ranges_2D = np.repeat([[-largest_coordinate], [largest_coordinate]], dims, axis=1).astype(np.float32)
    codes_ND = quantize_embeddings(vectors_ND, precision="int8", ranges=ranges_2D)
    step = 2 * largest_coordinate / LEVELS
    # The library rounds down, so that a code stands for the middle of its step.
    return ((codes_ND.astype(np.float32) + 128.5) * step - largest_coordinate).astype(np.float32)


def random_rotation(dims: int, seed: int) -> NDArray[np.float64]:
    """An orthogonal matrix (D, D), uniformly random: it keeps every dot product and mixes all dimensions."""
    draws_DD = np.random.default_rng(seed).standard_normal((dims, dims))
    q_DD, r_DD = np.linalg.qr(draws_DD)
    return np.asarray(q_DD * np.sign(np.diag(r_DD)))


def principal_axes(vectors_ND: Vectors) -> NDArray[np.float64]:
    """The orthogonal matrix (D, D) after which the first dimensions carry the most energy, in falling order.

    Eigenvectors of the uncentred second moment: ``vectors @ result`` has all dot products of ``vectors``, and of all
    rotations it loses least when it is truncated, in the mean square.
    """
    vectors_ND = vectors_ND.astype(np.float64)
    _, axes_DD = np.linalg.eigh(vectors_ND.T @ vectors_ND)
    return np.asarray(axes_DD[:, ::-1])


def rotated(vectors_ND: Vectors, rotation_DD: NDArray[np.float64]) -> Vectors:
    """Rows times an orthogonal matrix."""
    return (vectors_ND @ rotation_DD).astype(np.float32)
