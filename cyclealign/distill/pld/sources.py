"""Labelled images and texts from folders, .zip, .npz and .jsonl files, and Hugging Face data sets."""

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cyclealign.distill.data.datasets import load_table
from cyclealign.distill.data.images import is_turned, load_rgb
from cyclealign.distill.pld.config import DataSettings
from cyclealign.errors import DistillError
from cyclealign.files import json_lines

FIRST_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
ENDINGS = FIRST_ENDINGS | ({".tif", ".tiff", ".avif"} & set(Image.registered_extensions()))

Labelled = tuple[NDArray[Any], list[str]]


def read(settings: DataSettings) -> Labelled:
    """Read inputs (images: uint8, shape (items, side, side, channels); or texts) and the names of their classes.

    Raises:
        DistillError: the source is empty or cannot be read; the message names the file.
    """
    if settings.source.startswith("hub_"):
        return read_hub(settings)
    if settings.source == "texts":
        rows = [row for path in settings.paths for row in text_rows(Path(path))]
        if not rows:
            raise DistillError(f"No texts in {', '.join(settings.paths)}.")
        return np.array([text for text, _ in rows], dtype=object), [name for _, name in rows]
    return read_images(settings)


def read_images(settings: DataSettings) -> Labelled:
    """Read the images of all paths. Files of a class with the same bytes are one item, so that splits stay disjoint."""
    images: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for path in map(Path, settings.paths):
        if path.suffix == ".npz":
            images.update(read_arrays(path, settings))
            continue
        for name, content in files_of(path):
            key = (name.rpartition("/")[0], hashlib.sha256(content).hexdigest())
            if not key[0]:
                raise DistillError(f"{path}: {name} is not in the folder of a class. Expected <class>/<image>.")
            if key not in images:
                images[key] = pixels(content, f"{path}: {name}", settings)
    if not images:
        raise DistillError(
            f"No images in {', '.join(settings.paths)}. Expected <class>/<image> with {sorted(ENDINGS)}."
        )
    return np.stack(list(images.values())), [name for name, _ in images]


def read_otherwise(paths: Sequence[str]) -> bool:
    """Return whether folders or .zip files hold images that 0.1.0 read otherwise: turned ones, or other file types."""
    return any(
        Path(name).suffix.lower() not in FIRST_ENDINGS or is_turned(io.BytesIO(content))
        for path in map(Path, paths)
        if path.exists() and path.suffix != ".npz"
        for name, content in files_of(path)
    )


def files_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each image, by path, relative to the folder (or to a .zip file's only top folder)."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in ENDINGS:
                yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if Path(name).suffix.lower() in ENDINGS)
            tops = {name.split("/")[0] for name in names}
            cut = len(tops.pop()) + 1 if len(tops) == 1 and all(name.count("/") > 1 for name in names) else 0
            for name in names:
                yield name[cut:], archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise DistillError(f"{path}: expected a folder or a .zip file of images ({error}).") from error


def pixels(content: bytes | Any, where: str, settings: DataSettings) -> NDArray[np.uint8]:
    """Convert an image file (or a Pillow image) to uint8, shape (side, side, channels)."""
    picture = io.BytesIO(content) if isinstance(content, bytes) else content
    if not isinstance(picture, io.BytesIO | Image.Image):
        raise DistillError(f"{where}: expected an image, found {type(picture).__name__}.")
    converted = load_rgb(picture, where).convert("RGB" if settings.colour else "L")
    small = np.asarray(
        converted.resize((settings.image_size, settings.image_size), Image.Resampling.BOX), dtype=np.uint8
    )
    return with_channels(255 - small if settings.inverted else small)


def with_channels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image with a last axis of channels."""
    return image if image.ndim == 3 else image[..., None]


def read_arrays(path: Path, settings: DataSettings) -> dict[tuple[str, str], NDArray[np.uint8]]:
    """Read an .npz file with images x, shape (items, height, width[, channels]), and classes y, shape (items,)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["x"], file["y"]
    except (OSError, KeyError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DistillError(f"{path}: expected an .npz file with arrays x and y ({error}).") from error
    check_arrays(images, labels, path)
    bytes_ = images.astype(np.uint8)
    if bytes_.ndim == 4 and bytes_.shape[-1] == 1:
        bytes_ = bytes_[..., 0]  # Pillow takes grey images without an axis of channels
    return {
        (str(label), f"{path}:{number}"): pixels(Image.fromarray(image), f"{path}: {number}", settings)
        for number, (image, label) in enumerate(zip(bytes_, labels, strict=True))
    }


def check_arrays(images: NDArray[Any], labels: NDArray[Any], path: Path) -> None:
    """Check that the arrays hold images and classes.

    Raises:
        DistillError: they do not, and would be read as noise or as black images.
    """
    actual = f"x has dtype {images.dtype} and shape {images.shape}, y dtype {labels.dtype} and shape {labels.shape}"
    expected = (
        "Expected: x of dtype uint8 (0 to 255) and shape (N, H, W) or (N, H, W, 3), y of shape (N,) without fractions"
    )
    whole = images.dtype.kind in "iu" and (images.dtype == np.uint8 or within_a_byte(images))
    image_shape = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] in (1, 3, 4))
    class_labels = labels.ndim == 1 and labels.dtype.kind in "iuUb"
    if not (whole and image_shape and 0 not in images.shape and class_labels and len(labels) == len(images)):
        raise DistillError(f"{path}: {actual}. {expected}.")


def within_a_byte(numbers: NDArray[Any]) -> bool:
    """Return whether all numbers are from 0 to 255."""
    return numbers.size > 0 and int(numbers.min()) >= 0 and int(numbers.max()) <= 255


def text_rows(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (text, class) of every line of a .jsonl file."""
    for where, row in json_lines(path, DistillError):
        try:
            yield text_of(row["text"]), class_of(row["label"])
        except (KeyError, TypeError) as error:
            raise DistillError(
                f'{where}: expected {{"text": ..., "label": ...}}: a text, and a class by name or number.'
            ) from error


def text_of(value: object) -> str:
    """Return a text; raise TypeError for anything else, which would be read as its spelling ("None")."""
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {value!r}")
    return value


def class_of(value: object) -> str:
    """Return the name of a class, from its name or number; raise TypeError for anything else."""
    if not isinstance(value, str | int):
        raise TypeError(f"expected the name or number of a class, found {value!r}")
    return str(value)


def read_hub(settings: DataSettings) -> Labelled:
    """Read Hugging Face data sets, each named as ``name:split``."""
    inputs: list[Any] = []
    names: list[str] = []
    for path in settings.paths:
        rows = hub_rows(path, (settings.input_column, settings.label_column))
        known = getattr(rows.features[settings.label_column], "names", None)
        for number, row in enumerate(rows, 1):
            where = f"{path}, row {number}"
            value = row[settings.input_column]
            try:
                names.append(named_class(row[settings.label_column], known))
                inputs.append(text_of(value) if settings.texts else pixels(value, where, settings))
            except (TypeError, IndexError) as error:
                raise DistillError(f"{where}: {error}.") from error
    if not inputs:
        raise DistillError(f"No rows in {', '.join(settings.paths)}.")
    return (np.array(inputs, dtype=object) if settings.texts else np.stack(inputs)), names


def named_class(label: object, known: Sequence[str] | None) -> str:
    """Return the name of a class, from its number if the data set has names; raise IndexError for an unknown number."""
    if known and isinstance(label, int):
        if not 0 <= label < len(known):
            raise IndexError(f"there is no class {label}")
        return known[label]
    return class_of(label)


def hub_rows(path: str, columns: Sequence[str]) -> Any:
    """Return one split of a data set; raise DistillError if it lacks a column."""
    rows = load_table(path)
    missing = [column for column in columns if column not in rows.column_names]
    if missing:
        raise DistillError(
            f"The data set '{path}' has no column {', '.join(missing)}; it has {rows.column_names} (data.input_column, "
            "data.label_column)."
        )
    return rows
