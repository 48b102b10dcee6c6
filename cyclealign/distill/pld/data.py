"""Items to classify, split so that no item is in two splits, and the views of the training images."""

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
from cyclealign.distill.models.encoders import identity
from cyclealign.distill.pld import demo_data, sources
from cyclealign.distill.pld.config import Config, DataSettings, ModelSettings
from cyclealign.errors import DistillError

DRAWN_TO_TRAIN = 20
# Standard deviations of a view's turn and scale, and of its shift as a share of half the side.
TURN, SHIFT = 0.1, 0.07


@dataclass(frozen=True)
class Items:
    """Inputs (images: uint8, shape (items, side, side, channels); or texts) and the number of each one's class."""

    inputs: NDArray[Any]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Three splits that share no item. ``train`` holds its views one after the other, ``views`` times its items."""

    train: Items
    valid: Items
    test: Items
    classes: tuple[str, ...]
    views: int

    def named(self) -> dict[str, Items]:
        return {"train": self.train, "valid": self.valid, "test": self.test}


def load(settings: DataSettings, seed: int) -> Splits:
    """The splits that the settings describe; the same seed gives the same ones.

    Raises:
        DistillError: the data cannot be read, or a class has too few items.
    """
    inputs, labels, classes = everything(settings, seed)
    places = split(labels, classes, settings, np.random.default_rng([seed, 2]))
    train, valid, test = (Items(inputs[chosen], labels[chosen]) for chosen in places)
    if settings.views > 1:
        images = views(train.inputs, settings.views, seed)
        train = Items(images, np.tile(train.labels, settings.views))
    return Splits(train, valid, test, classes, settings.views)


def everything(settings: DataSettings, seed: int) -> tuple[NDArray[Any], NDArray[np.int64], tuple[str, ...]]:
    """All inputs, their labels, and the names of the classes, sorted."""
    if settings.source == "demo":
        each = (settings.train_per_class or DRAWN_TO_TRAIN) + settings.valid_per_class + settings.test_per_class
        images, labels = demo_data.world(settings.classes, each, seed)
        return images, labels, tuple(f"drawing {number}" for number in range(settings.classes))
    inputs, names = sources.read(settings)
    classes = tuple(sorted(set(names)))
    if len(classes) < 2:
        raise DistillError(f"{', '.join(settings.paths)}: at least 2 classes are wanted; all is of '{classes[0]}'.")
    numbers = {name: number for number, name in enumerate(classes)}
    return inputs, np.array([numbers[name] for name in names], dtype=np.int64), classes


def split(
    labels: NDArray[np.int64], classes: Sequence[str], settings: DataSettings, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Places of the training, validation and test items: of every class as many as the settings say."""
    test, valid = settings.test_per_class, settings.valid_per_class
    train: list[NDArray[np.int64]] = []
    held: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    for number, name in enumerate(classes):
        mine = generator.permutation(np.flatnonzero(labels == number))
        rest = mine[test + valid :]
        if len(rest) < (settings.train_per_class or 1):
            wanted = f"{settings.train_per_class or 1} + {valid} + {test}"
            raise DistillError(f"The class '{name}' has {len(mine)} items; the settings ask for {wanted} of each.")
        train.append(rest[: settings.train_per_class])
        held[0].append(mine[test : test + valid])
        held[1].append(mine[:test])
    return np.concatenate(train), np.concatenate(held[0]), np.concatenate(held[1])


def views(images: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.uint8]:
    """The images, then ``count - 1`` times all of them turned, sheared, scaled and shifted at random."""
    generator = torch.Generator().manual_seed(seed)
    given = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    made = [images]
    for _ in range(count - 1):
        maps = torch.eye(2, 3) + torch.randn(len(images), 2, 3, generator=generator) * torch.tensor([TURN, TURN, SHIFT])
        grid = functional.affine_grid(maps, list(given.shape), align_corners=False)
        moved = functional.grid_sample(given, grid, align_corners=False, padding_mode="border")
        made.append(moved.round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(made)


def hash_of(items: Items) -> str:
    """SHA-256 of inputs and labels, as 64 hexadecimal digits: other items are other work, whatever the settings say."""
    digest = hashlib.sha256()
    for array in (items.inputs, items.labels):
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(
            json.dumps(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).data
        )
    return digest.hexdigest()


def model_hashes(settings: ModelSettings) -> dict[str, str]:
    """What the pretrained parts of a model are known by."""
    parts = {"model": identity(settings.model, settings.revision)} if settings.model else {}
    return {**parts, "tokenizer": identity(settings.tokenizer)} if settings.tokenizer else parts


def hashes(config: Config) -> dict[str, str]:
    """What the sources and models that the settings name are known by: other content is another run."""
    hub = config.data.source.startswith("hub_")
    found = {path: fingerprint(path) for path in config.data.paths if hub or Path(path).exists()}
    models = {"teacher": model_hashes(config.teacher), "student": model_hashes(config.student)}
    return found | {f"{name} {part}": known for name, parts in models.items() for part, known in parts.items()}
