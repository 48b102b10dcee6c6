"""Generated data of the demo: images of two coloured shapes, with captions that describe them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

COLOURS = {"red": "#d62728", "blue": "#1f4fd6", "green": "#2ca02c", "yellow": "#e7c21b", "white": "#f2f2f2"}
SHAPES = ("circle", "square", "triangle", "bar")
PLACES = {"above": ((0.5, 0.27), (0.5, 0.73)), "beside": ((0.27, 0.5), (0.73, 0.5))}
Scene = tuple[str, str, str, str, str]  # colour, shape, place, colour, shape


def scenes(count: int, draw: np.random.Generator) -> list[Scene]:
    """Return at most ``count`` different scenes in random order."""
    all_scenes = [
        (one, first, place, two, second)
        for one in COLOURS
        for first in SHAPES
        for place in PLACES
        for two in COLOURS
        for second in SHAPES
        if (one, first) != (two, second)
    ]
    return [all_scenes[number] for number in draw.permutation(len(all_scenes))[:count]]


def caption(scene: Scene) -> str:
    """Return the description of a scene."""
    one, first, place, two, second = scene
    return f"a {one} {first} {place} a {two} {second}"


def attributes(scene: Scene) -> frozenset[str]:
    """Return the keywords of a scene: each object, its colour and its shape, and their arrangement."""
    one, first, place, two, second = scene
    return frozenset({f"{one} {first}", f"{two} {second}", one, two, first, second, place})


def picture(scene: Scene, side: int, draw: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a scene, shape (side, side, 3): positions and sizes vary, the background is dark and noisy."""
    one, first, place, two, second = scene
    image = Image.new("RGB", (side, side), "#20242c")
    pen = ImageDraw.Draw(image)
    for colour, shape, (x, y) in ((one, first, PLACES[place][0]), (two, second, PLACES[place][1])):
        centre = (np.array([x, y]) + draw.normal(0, 0.03, size=2)) * side
        draw_shape(pen, shape, COLOURS[colour], centre, side * draw.uniform(0.15, 0.2))
    noisy = np.asarray(image, dtype=np.float64) + draw.normal(0, 8, size=(side, side, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def draw_shape(pen: ImageDraw.ImageDraw, shape: str, colour: str, centre: NDArray[np.float64], radius: float) -> None:
    """Draw one shape."""
    x, y = (float(value) for value in centre)
    box: Sequence[float] = (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    elif shape == "bar":
        pen.rectangle((x - radius, y - radius / 3, x + radius, y + radius / 3), fill=colour)
    else:
        pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=colour)
