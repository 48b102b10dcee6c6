"""Image files as pixels, whatever their mode: no depth is cut off, and no transparent ground turns black."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from cyclealign.errors import DistillError

DEEP = "I;16"  # how Pillow's names of its grey modes of 16 bits begin
NO_RANGE = ("I", "F")  # whole numbers of 32 bits, and fractions: which of them is white is not said


def opened(file: Path | BytesIO | Image.Image, where: str) -> Image.Image:
    """An image in mode RGB, its transparent ground white.

    Args:
        file: an image, or the file of one.
        where: how an error speaks of it.

    Raises:
        DistillError: it cannot be read, or its numbers have no known range.
    """
    try:
        if isinstance(file, Image.Image):
            return _flat(file, where)
        with Image.open(file) as image:
            return _flat(image, where)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DistillError(f"{where}: cannot be read as an image ({error}). Restore it, or leave it out.") from error


def _flat(image: Image.Image, where: str) -> Image.Image:
    if image.mode in NO_RANGE:
        raise DistillError(f"{where}: an image of mode {image.mode} has no known white. Save it with 8 or 16 bits.")
    full = (_of_16_bits(image) if image.mode.startswith(DEEP) else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", full.size, "white"), full).convert("RGB")


def _of_16_bits(image: Image.Image) -> Image.Image:
    """The upper 8 bits, which Pillow keeps of colours; of a grey of 16 bits it would keep the lower values only."""
    deep = np.asarray(image)
    ground = deep == image.info.get("transparency", -1)  # one grey of the file may stand for no ink
    return Image.fromarray(np.where(ground, 255, deep >> 8).astype(np.uint8))
