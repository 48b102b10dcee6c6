"""Generated data of the demo: small drawings of a few strokes in many classes, each with variations of its own."""

import numpy as np
from numpy.typing import NDArray

SIDE = 28
STROKES = 3
VARIANTS = 5  # classes that differ in one stroke only, so that the teacher's order of the classes is informative
INK_POINTS = 14


def drawings(classes: int, per_class: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return drawings, shape (items, side, side, 1) in 0..255, and their class numbers; reproducible by seed."""
    generator = np.random.default_rng([seed, 1])
    shapes = class_shapes(classes, generator)
    labels = np.arange(classes, dtype=np.int64).repeat(per_class)
    return np.stack([drawing(shapes[label], generator) for label in labels])[..., None], labels


def class_shapes(classes: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the control points of each class's strokes in the unit square, shape (classes, strokes, 3, 2)."""
    families = generator.uniform(0.1, 0.9, size=(-(-classes // VARIANTS), STROKES, 3, 2))
    shapes = families.repeat(VARIANTS, axis=0)[:classes]
    for number in range(classes):
        shapes[number, number % STROKES] += generator.normal(0, 0.16, size=(3, 2))
    return shapes


def drawing(strokes: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return one drawing, shape (side, side): quadratic Bezier strokes under a random affine map, with noise."""
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
