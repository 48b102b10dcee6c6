"""Image files of all modes become the pixels that a person sees, in both image jobs."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from cyclealign.distill.cprd.config import DataSettings as CaptionedSettings
from cyclealign.distill.cprd.sources import has_turned, scaled
from cyclealign.distill.data.images import is_turned, load_rgb
from cyclealign.distill.pld.config import DataSettings
from cyclealign.distill.pld.sources import ENDINGS, files_of, pixels, read_otherwise
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


def photograph(orientation: int | None, kind: str = "JPEG") -> BytesIO:
    """A photograph that is black at the left and white at the right as it is stored."""
    image = Image.fromarray(np.repeat([[0] * SIDE + [255] * SIDE], 2 * SIDE, axis=0).astype(np.uint8))
    exif = Image.Exif()
    if orientation:
        exif[ExifTags.Base.Orientation] = orientation
    return file_of(image, kind, exif=exif)


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_a_photograph_is_read_as_it_is_shown(orientation, tmp_path):
    """Prevents photographs from lying on their side, which no error would tell."""
    dark = {None: "left", 1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}
    for image in (in_pld(photograph(orientation))[..., 0], in_cprd(photograph(orientation), tmp_path)[..., 0]):
        halves = {"left": image[:, :3], "right": image[:, -3:], "top": image[:3], "bottom": image[-3:]}
        assert min(halves, key=lambda side: halves[side].mean()) == dark[orientation]
    assert is_turned(photograph(orientation)) == (orientation not in (None, 1))


def test_tiff_and_avif_are_read(tmp_path):
    """Prevents images from being left out of their class by the ending of their names."""
    (tmp_path / "a").mkdir()
    for ending, kind in ((".tif", "TIFF"), (".avif", "AVIF"), (".png", "PNG")):
        if ending in ENDINGS:
            (tmp_path / "a" / f"x{ending}").write_bytes(photograph(None, kind).getvalue())
    found = [name for name, _ in files_of(tmp_path)]
    assert {"a/x.png", "a/x.tif"} <= {*found}
    for file in found:
        assert in_pld(BytesIO((tmp_path / file).read_bytes()))[4].mean() == pytest.approx(127, abs=5)


def test_only_images_that_are_read_otherwise_change_a_run(tmp_path):
    """Prevents students of photographs on their side from being kept, and all others from being trained again."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(photograph(1).getvalue())
    assert not read_otherwise([str(tmp_path)])
    (tmp_path / "captions.jsonl").write_text('{"file": "a/x.jpg", "text": "half dark"}\n')
    captioned = CaptionedSettings(source=str(tmp_path))
    assert not has_turned(captioned)
    (tmp_path / "a" / "x.jpg").write_bytes(photograph(6).getvalue())
    assert read_otherwise([str(tmp_path)])
    assert has_turned(captioned)
    (tmp_path / "a" / "x.jpg").unlink()
    (tmp_path / "a" / "x.tif").write_bytes(photograph(None, "TIFF").getvalue())
    assert read_otherwise([str(tmp_path)])
