"""Image files of all modes become the pixels that a person sees, in both image jobs."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclealign.distill.cprd.sources import scaled
from cyclealign.distill.data.images import load_rgb
from cyclealign.distill.pld.config import DataSettings
from cyclealign.distill.pld.sources import pixels
from cyclealign.errors import DistillError

SIDE = 8
GREYS = np.linspace(0, 63_000, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)


def file_of(image: Image.Image, kind: str = "PNG", **more: object) -> BytesIO:
    file = BytesIO()
    image.save(file, format=kind, **more)
    return BytesIO(file.getvalue())


def in_pld(file: BytesIO, **more: object) -> np.ndarray:
    settings = DataSettings(source="images", paths=("x",), image_size=SIDE, **more)
    return pixels(file.getvalue(), "x", settings)


def in_cprd(file: BytesIO, tmp_path: Path) -> np.ndarray:
    (tmp_path / "x").write_bytes(file.getvalue())
    return scaled(tmp_path / "x", "x", SIDE)


def test_a_16_bit_grey_image_keeps_its_shades(tmp_path):
    """Prevents an image of many greys from becoming black and white."""
    file = file_of(Image.fromarray(GREYS))
    assert np.array_equal(in_pld(file)[..., 0], GREYS >> 8)
    assert np.array_equal(in_cprd(file, tmp_path), (GREYS >> 8)[..., None].repeat(3, axis=-1))
    big = Image.frombytes("I;16B", (SIDE, SIDE), GREYS.astype(">u2").tobytes())
    assert np.array_equal(np.asarray(load_rgb(big, "x"))[..., 0], GREYS >> 8)


@pytest.mark.parametrize(
    ("mode", "ink", "shown", "more"),
    [
        ("LA", (0, 255), 0, {}),
        ("RGBA", (0, 0, 0, 255), 0, {}),
        ("P", 1, 0, {"transparency": 0}),  # all of an empty palette is black
        ("L", 9, 9, {"transparency": 0}),
        ("I;16", 700, 2, {"transparency": 0}),
    ],
)
def test_a_transparent_background_turns_white(mode, ink, shown, more, tmp_path):
    """Prevents black ink on a transparent background from becoming black on black."""
    image = Image.new(mode, (SIDE, SIDE))
    image.putpixel((3, 4), ink)
    wanted = np.full((SIDE, SIDE), 255)
    wanted[4, 3] = shown
    file = file_of(image, **more)
    assert np.array_equal(in_pld(file)[..., 0], wanted)
    assert np.array_equal(in_pld(file, colour=True)[..., 1], wanted)
    assert np.array_equal(in_cprd(file, tmp_path)[..., 2], wanted)


def test_8_bit_greys_and_colours_are_unchanged():
    """Prevents every result from moving because common images are read differently."""
    greys, colours = (np.random.default_rng(0).integers(0, 256, (8, 8, *more), dtype=np.uint8) for more in ((), (3,)))
    assert np.array_equal(in_pld(file_of(Image.fromarray(greys)))[..., 0], greys)
    assert np.array_equal(in_pld(file_of(Image.fromarray(colours)), colour=True), colours)
    assert np.array_equal(in_pld(file_of(Image.fromarray(colours)))[..., 0], Image.fromarray(colours).convert("L"))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_modes_without_a_known_range_are_refused(kind, tmp_path):
    """Prevents images with an unknown white from being clipped at 255."""
    file = file_of(Image.fromarray(GREYS.astype(kind)), "TIFF")
    with pytest.raises(DistillError, match=r"x: mode . does not define white"):
        in_pld(file)
    with pytest.raises(DistillError, match=r"x: mode . does not define white"):
        in_cprd(file, tmp_path)


def test_a_file_that_is_not_an_image_is_named(tmp_path):
    """Prevents a library error that does not name the broken file."""
    whole = file_of(Image.fromarray(GREYS)).getvalue()
    for content in (b"no image", whole[: len(whole) // 2]):
        with pytest.raises(DistillError, match="x: cannot be read as an image"):
            in_cprd(BytesIO(content), tmp_path)
        with pytest.raises(DistillError, match="x: cannot be read as an image"):
            in_pld(BytesIO(content))
