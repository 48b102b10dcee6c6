"""Items to classify: small drawings made on the spot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.pld.config import DataSettings

SIDE = 28
STROKES = 3
VARIANTS = 5  # classes that differ from one another in one stroke: the teacher has something to tell
INK_POINTS = 14


@dataclass(frozen=True)
class Items:
    """Items of one split: images of shape (items, height, width) in 0..255, and the number of each one's class."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Three splits that share no item, and the names of the classes."""

    train: Items
    valid: Items
    test: Items
    classes: tuple[str, ...]


def load(settings: DataSettings, seed: int) -> Splits:
    """The splits that the settings describe; the same seed gives the same ones."""
    generator = np.random.default_rng([seed, 1])
    shapes = class_shapes(settings.classes, generator)
    counts = (settings.train_per_class, settings.valid_per_class, settings.test_per_class)
    train, valid, test = (drawn(shapes, count, generator) for count in counts)
    return Splits(train, valid, test, tuple(f"drawing {number}" for number in range(settings.classes)))


def class_shapes(classes: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Control points of each class's strokes in the unit square, shape (classes, strokes, 3, 2)."""
    families = generator.uniform(0.1, 0.9, size=(-(-classes // VARIANTS), STROKES, 3, 2))
    shapes = families.repeat(VARIANTS, axis=0)[:classes]
    for number in range(classes):
        shapes[number, number % STROKES] += generator.normal(0, 0.16, size=(3, 2))
    return shapes


def drawn(shapes: NDArray[np.float64], per_class: int, generator: np.random.Generator) -> Items:
    """Drawings of every class, each with a hand of its own: jitter, slant, size, place and ink."""
    labels = np.arange(len(shapes)).repeat(per_class)
    images = np.stack([drawing(shapes[label], generator) for label in labels])
    return Items(images, labels.astype(np.int64))


def drawing(strokes: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.uint8]:
    """One drawing: quadratic Bezier strokes under a random affine map, with noise."""
    points = strokes + generator.normal(0, 0.05, size=strokes.shape)
    along = np.linspace(0, 1, INK_POINTS)[:, None]
    start, bend, end = points[:, None, 0], points[:, None, 1], points[:, None, 2]
    ink = (start * (1 - along) ** 2 + 2 * bend * along * (1 - along) + end * along**2).reshape(-1, 2)
    turned = np.eye(2) + generator.normal(0, 0.12, size=(2, 2))
    ink = (ink - 0.5) @ turned + 0.5 + generator.normal(0, 0.05, size=2)
    grid = (np.arange(SIDE) + 0.5) / SIDE
    width = generator.uniform(0.025, 0.04)
    near_y = np.exp(-((grid[:, None] - ink[:, 1]) ** 2) / (2 * width**2))
    near_x = np.exp(-((grid[:, None] - ink[:, 0]) ** 2) / (2 * width**2))
    image = (near_y[:, None, :] * near_x[None, :, :]).max(axis=-1) + generator.normal(0, 0.12, size=(SIDE, SIDE))
    return (image.clip(0, 1) * 255).astype(np.uint8)
