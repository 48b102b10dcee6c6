"""Items to classify, in disjoint splits, and augmented views of the training images."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cyclealign.distill.data.datasets import fingerprint
from cyclealign.distill.models.encoders import model_identity
from cyclealign.distill.pld import demo_data, sources
from cyclealign.distill.pld.config import Config, DataSettings, ModelSettings
from cyclealign.errors import DistillError

DEMO_TRAIN_PER_CLASS = 20
# Standard deviations of a view's rotation, shear and scale, and of its shift as a share of half the image size.
AFFINE, SHIFT = 0.1, 0.07


@dataclass(frozen=True)
class Items:
    """Inputs (images: uint8, shape (items, side, side, channels); or texts) and class numbers, shape (items,)."""

    inputs: NDArray[Any]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Three disjoint splits. ``train`` holds ``views`` times its items, one view after the other."""

    train: Items
    valid: Items
    test: Items
    classes: tuple[str, ...]
    views: int

    def named(self) -> dict[str, Items]:
        """Return the splits by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


def load(settings: DataSettings, seed: int) -> Splits:
    """Load the data and split it; reproducible by seed.

    Raises:
        DistillError: the data cannot be read, or a class has too few items.
    """
    inputs, labels, classes = read(settings, seed)
    indices = split(labels, classes, settings, np.random.default_rng([seed, 2]))
    train, valid, test = (Items(inputs[chosen], labels[chosen]) for chosen in indices)
    if settings.views > 1:
        images = add_views(train.inputs, settings.views, seed)
        train = Items(images, np.tile(train.labels, settings.views))
    return Splits(train, valid, test, classes, settings.views)


def read(settings: DataSettings, seed: int) -> tuple[NDArray[Any], NDArray[np.int64], tuple[str, ...]]:
    """Return all inputs, their class numbers, and the sorted names of the classes."""
    if settings.source == "demo":
        per_class = (
            (settings.train_per_class or DEMO_TRAIN_PER_CLASS) + settings.valid_per_class + settings.test_per_class
        )
        images, labels = demo_data.drawings(settings.classes, per_class, seed)
        return images, labels, tuple(f"drawing {number}" for number in range(settings.classes))
    inputs, names = sources.read(settings)
    classes = tuple(sorted(set(names)))
    if len(classes) < 2:
        raise DistillError(f"{', '.join(settings.paths)}: expected at least 2 classes, found '{classes[0]}' only.")
    numbers = {name: number for number, name in enumerate(classes)}
    return inputs, np.array([numbers[name] for name in names], dtype=np.int64), classes


def split(
    labels: NDArray[np.int64], classes: Sequence[str], settings: DataSettings, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the training, validation and test items, as many per class as the settings say.

    Raises:
        DistillError: a class has too few items.
    """
    test, valid = settings.test_per_class, settings.valid_per_class
    train: list[NDArray[np.int64]] = []
    held_out: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])  # validation, test
    for number, name in enumerate(classes):
        of_class = generator.permutation(np.flatnonzero(labels == number))
        rest = of_class[test + valid :]
        if len(rest) < (settings.train_per_class or 1):
            needed = f"{settings.train_per_class or 1} + {valid} + {test}"
            raise DistillError(f"The class '{name}' has {len(of_class)} items; the settings need {needed} per class.")
        train.append(rest[: settings.train_per_class])
        held_out[0].append(of_class[test : test + valid])
        held_out[1].append(of_class[:test])
    return np.concatenate(train), np.concatenate(held_out[0]), np.concatenate(held_out[1])


def add_views(images: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.uint8]:
    """Return the images, then ``count - 1`` times all of them, rotated, sheared, scaled and shifted at random."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    views = [images]
    spread = torch.tensor([AFFINE, AFFINE, SHIFT])
    for _ in range(count - 1):
        maps = torch.eye(2, 3) + torch.randn(len(images), 2, 3, generator=generator) * spread
        grid = functional.affine_grid(maps, list(pixels.shape), align_corners=False)
        moved = functional.grid_sample(pixels, grid, align_corners=False, padding_mode="border")
        views.append(moved.round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(views)


def hash_of(items: Items) -> str:
    """Return the SHA-256 of inputs and labels, as 64 hexadecimal digits, independent of the settings."""
    digest = hashlib.sha256()
    for array in (items.inputs, items.labels):
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(
            json.dumps(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).data
        )
    return digest.hexdigest()


def model_hashes(settings: ModelSettings) -> dict[str, str]:
    """Return the identities of the pretrained parts of a model."""
    parts = {"model": model_identity(settings.model, settings.revision)} if settings.model else {}
    return {**parts, "tokenizer": model_identity(settings.tokenizer)} if settings.tokenizer else parts


def hashes(config: Config) -> dict[str, str]:
    """Return content hashes of the sources and models that the config names."""
    hub = config.data.source.startswith("hub_")
    found = {path: fingerprint(path) for path in config.data.paths if hub or Path(path).exists()}
    models = {"teacher": model_hashes(config.teacher), "student": model_hashes(config.student)}
    if config.data.source == "images" and sources.read_otherwise(config.data.paths):
        found["images"] = "upright, all types"  # students of images as 0.1.0 read them are not those of today
    return found | {f"{name} {part}": known for name, parts in models.items() for part, known in parts.items()}
