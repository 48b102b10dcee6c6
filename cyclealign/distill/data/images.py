"""Image files as RGB of 8 bits, upright: 16-bit greys keep their shades, and transparent backgrounds turn white."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from cyclealign.errors import DistillError

SIXTEEN_BITS = "I;16"  # prefix of Pillow's names for 16-bit grey modes (I;16, I;16B, I;16L)
UPRIGHT, TURNED = 1, range(2, 9)  # values of the EXIF orientation
WITHOUT_RANGE = ("I", "F")  # 32-bit integers and floats: the file does not say which value is white


def load_rgb(file: Path | BytesIO | Image.Image, where: str) -> Image.Image:
    """Load an image in mode RGB on a white background, turned upright as its EXIF orientation says.

    Args:
        file: an image, or a file that holds one.
        where: name of the image in error messages.

    Raises:
        DistillError: it cannot be read, or its pixel values have no known range.
    """
    try:
        if isinstance(file, Image.Image):
            return _flatten(file, where)
        with Image.open(file) as image:
            return _flatten(ImageOps.exif_transpose(image), where)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DistillError(f"{where}: cannot be read as an image ({error}). Restore it, or remove it.") from error


def is_turned(file: Path | BytesIO) -> bool:
    """Return whether an image file is to be turned or mirrored before it is shown; False if it cannot be read."""
    try:
        with Image.open(file) as image:
            return image.getexif().get(ExifTags.Base.Orientation, UPRIGHT) in TURNED
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _flatten(image: Image.Image, where: str) -> Image.Image:
    if image.mode in WITHOUT_RANGE:
        raise DistillError(f"{where}: mode {image.mode} does not define white. Save the image with 8 or 16 bits.")
    layered = (_to_8_bits(image) if image.mode.startswith(SIXTEEN_BITS) else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Return the upper 8 bits of a 16-bit grey image; Pillow's own conversion clips everything above 255."""
    greys = np.asarray(image)
    transparent = greys == image.info.get("transparency", -1)  # PNG may declare one grey value as transparent
    return Image.fromarray(np.where(transparent, 255, greys >> 8).astype(np.uint8))
