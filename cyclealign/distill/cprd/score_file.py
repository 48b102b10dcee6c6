"""A teacher's scores from a file: match probabilities under the names of images and captions."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.cprd.data import Pairs
from cyclealign.errors import DistillError

Scores = NDArray[np.float32]

FORMAT = "an .npz file with scores (images x texts), images (file names) and texts (captions)"


def read_scores(path: Path, pairs: Pairs) -> Scores:
    """Read the scores of all training images with all training captions; shape (images, texts).

    The file may name them in any order, and more of them.

    Raises:
        DistillError: the file does not hold match probabilities, or not those of all pairs.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            scores, images, texts = file["scores"], file["images"], file["texts"]
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DistillError(f"{path}: expected {FORMAT} ({error}).") from error
    if images.ndim != 1 or texts.ndim != 1 or scores.shape != (len(images), len(texts)):
        shapes = f"{scores.shape}, {images.shape} and {texts.shape}"
        raise DistillError(f"{path}: expected {FORMAT}; their shapes are {shapes}.")
    if scores.dtype.kind not in "fiu" or not ((scores >= 0) & (scores <= 1)).all():  # False for NaN
        raise DistillError(f"{path}: scores must be match probabilities, numbers from 0 to 1.")
    rows = indices_of(images, pairs.files, f"{path}: images")
    columns = indices_of(texts, pairs.texts, f"{path}: texts")
    return np.asarray(scores[np.ix_(rows, columns)], dtype=np.float32)


def indices_of(names: NDArray[Any], wanted: Sequence[str], where: str) -> list[int]:
    """Return the index of each wanted name.

    Raises:
        DistillError: a wanted name is missing, or the file names something twice.
    """
    index = {str(name): number for number, name in enumerate(names)}
    if len(index) < len(names):
        repeated = next(name for number, name in enumerate(names) if index[str(name)] != number)
        raise DistillError(f"{where}: '{repeated}' occurs twice. Name each once.")
    missing = [name for name in dict.fromkeys(wanted) if name not in index]
    if missing:
        named = ", ".join(f"'{name}'" for name in missing[:3])
        raise DistillError(
            f"{where}: {len(missing)} of the training data are missing, such as {named}. Score them too; another seed "
            "trains on others."
        )
    return [index[name] for name in wanted]
