"""Rotations and quantisation of vectors, as pure functions over arrays of shape (N, D).

``N`` vectors, ``D`` dimensions. Truncation to the first dimensions (MRL) is in `evaluate.Arm.truncated`.
"""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

LEVELS = 255  # steps between the largest negative and positive coordinate, as `quantize_embeddings` counts them


def unit(vectors_ND: Vectors) -> Vectors:
    """Divide each row by its L2 norm; a row of zeros stays one."""
    norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    normalised: Vectors = (vectors_ND / np.where(norms_N1 == 0, 1, norms_N1)).astype(np.float32)
    return normalised


def is_unit(vectors_ND: Vectors) -> bool:
    """Return whether every row has length 1, up to the precision of float16."""
    return bool(np.all(np.abs(np.linalg.norm(vectors_ND, axis=1) - 1) < 1e-2))


def largest(vectors_ND: Vectors) -> float:
    """Return the largest absolute coordinate, which is the range of int8."""
    return float(np.abs(vectors_ND).max())


def quantised(vectors_ND: Vectors, precision: str, largest_coordinate: float) -> Vectors:
    """Quantise vectors and return them de-quantised to float32.

    int8 uses one scale for all dimensions, of queries and documents alike; a scale per dimension would change the
    metric. binary keeps the signs, +1 or -1: the dot product of two such vectors is D - 2 * their Hamming distance.

    Args:
        precision: ``float32``, ``int8`` or ``binary``.
        largest_coordinate: int8 covers minus this to this; coordinates beyond are clipped.
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
    # The library rounds down, so the middle of a step is the best reconstruction of its code: 128 + 0.5.
    return ((codes_ND.astype(np.float32) + 128.5) * step - largest_coordinate).astype(np.float32)


def random_rotation(dims: int, seed: int) -> NDArray[np.float64]:
    """Draw an orthogonal matrix (D, D), uniformly: it keeps every dot product and mixes all dimensions."""
    draws_DD = np.random.default_rng(seed).standard_normal((dims, dims))
    q_DD, r_DD = np.linalg.qr(draws_DD)
    # The signs make the distribution uniform (Mezzadri 2007, arXiv math-ph/0609050).
    return np.asarray(q_DD * np.sign(np.diag(r_DD)))


def principal_axes(vectors_ND: Vectors) -> NDArray[np.float64]:
    """Return the orthogonal matrix (D, D) that sorts dimensions by their energy, largest first.

    Its columns are the eigenvectors of the uncentred second moment: ``vectors @ axes`` keeps all dot products, and of
    all rotations it loses least in the mean square when it is truncated.
    """
    vectors_ND = vectors_ND.astype(np.float64)
    _, axes_DD = np.linalg.eigh(vectors_ND.T @ vectors_ND)
    return np.asarray(axes_DD[:, ::-1])  # eigh sorts eigenvalues in rising order


def rotated(vectors_ND: Vectors, rotation_DD: NDArray[np.float64]) -> Vectors:
    """Return the rows multiplied by an orthogonal matrix."""
    return (vectors_ND @ rotation_DD).astype(np.float32)
