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

from cyclealign.distill.data.datasets import table
from cyclealign.distill.data.images import opened
from cyclealign.distill.pld.config import DataSettings
from cyclealign.errors import DistillError
from cyclealign.files import json_lines

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}

Labelled = tuple[NDArray[Any], list[str]]


def read(settings: DataSettings) -> Labelled:
    """Inputs (images: uint8, shape (items, side, side, channels); or texts) and the name of each one's class.

    Raises:
        DistillError: nothing is there, or it cannot be read; the message names the file.
    """
    if settings.source.startswith("hub_"):
        return from_hub(settings)
    if settings.source == "texts":
        rows = [row for path in settings.paths for row in text_rows(Path(path))]
        if not rows:
            raise DistillError(f"No texts in {', '.join(settings.paths)}.")
        return np.array([text for text, _ in rows], dtype=object), [name for _, name in rows]
    return images(settings)


def images(settings: DataSettings) -> Labelled:
    """Images of all paths. Files of a class with the same bytes are one item, so that no two splits share it."""
    found: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for path in map(Path, settings.paths):
        if path.suffix == ".npz":
            found.update(in_arrays(path, settings))
            continue
        for name, content in files_of(path):
            key = (name.rpartition("/")[0], hashlib.sha256(content).hexdigest())
            if not key[0]:
                raise DistillError(f"{path}: {name} lies in no folder of a class. Expected <class>/<image>.")
            if key not in found:
                found[key] = pixels(content, f"{path}: {name}", settings)
    if not found:
        raise DistillError(
            f"No images in {', '.join(settings.paths)}. Expected <class>/<image> with {sorted(ENDINGS)}."
        )
    return np.stack(list(found.values())), [name for name, _ in found]


def files_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names (relative to the folder, or to a .zip file's one top folder) and bytes of all images, sorted by name."""
    if path.is_dir():
        for each in sorted(path.rglob("*")):
            if each.suffix.lower() in ENDINGS:
                yield each.relative_to(path).as_posix(), each.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if Path(name).suffix.lower() in ENDINGS)
            tops = {name.split("/")[0] for name in names}
            cut = len(tops.pop()) + 1 if len(tops) == 1 and all(name.count("/") > 1 for name in names) else 0
            for name in names:
                yield name[cut:], archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise DistillError(f"{path}: no folder and no .zip file of images ({error}).") from error


def pixels(content: bytes | Any, where: str, settings: DataSettings) -> NDArray[np.uint8]:
    """An image file (or a Pillow image) as uint8 of shape (side, side, channels)."""
    picture = io.BytesIO(content) if isinstance(content, bytes) else content
    if not isinstance(picture, io.BytesIO | Image.Image):
        raise DistillError(f"{where}: an image is wanted, not {type(picture).__name__}.")
    converted = opened(picture, where).convert("RGB" if settings.colour else "L")
    small = np.asarray(
        converted.resize((settings.image_size, settings.image_size), Image.Resampling.BOX), dtype=np.uint8
    )
    return shaped(255 - small if settings.inverted else small)


def shaped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with a last axis of channels."""
    return image if image.ndim == 3 else image[..., None]


def in_arrays(path: Path, settings: DataSettings) -> dict[tuple[str, str], NDArray[np.uint8]]:
    """The images of an .npz file with x, shape (items, height, width[, channels]), and y, shape (items,)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            given, labels = file["x"], file["y"]
    except (OSError, KeyError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DistillError(f"{path}: no .npz file with arrays x and y ({error}).") from error
    need_images(given, labels, path)
    pictures = given.astype(np.uint8)
    if pictures.ndim == 4 and pictures.shape[-1] == 1:
        pictures = pictures[..., 0]
    return {
        (str(label), f"{path}:{number}"): pixels(Image.fromarray(image), f"{path}: {number}", settings)
        for number, (image, label) in enumerate(zip(pictures, labels, strict=True))
    }


def need_images(images: NDArray[Any], labels: NDArray[Any], path: Path) -> None:
    """Make sure that arrays are images and their classes.

    Raises:
        DistillError: they are something else, which would be read as noise or in black.
    """
    found = f"x has dtype {images.dtype} and shape {images.shape}, y dtype {labels.dtype} and shape {labels.shape}"
    wanted = (
        "Wanted: x of dtype uint8 (0 to 255) and shape (N, H, W) or (N, H, W, 3), y of shape (N,) with no fractions"
    )
    whole = images.dtype.kind in "iu" and (images.dtype == np.uint8 or within_a_byte(images))
    shaped_so = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] in (1, 3, 4))
    named = labels.ndim == 1 and labels.dtype.kind in "iuUb"
    if not (whole and shaped_so and 0 not in images.shape and named and len(labels) == len(images)):
        raise DistillError(f"{path}: {found}. {wanted}.")


def within_a_byte(numbers: NDArray[Any]) -> bool:
    """Whether all are from 0 to 255."""
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
    """A text, as it is; TypeError for anything else, which would be learnt from as its spelling ("None")."""
    if not isinstance(value, str):
        raise TypeError(f"no text: {value!r}")
    return value


def class_of(value: object) -> str:
    """The name of a class, from its name or number; TypeError for anything else."""
    if not isinstance(value, str | int):
        raise TypeError(f"no name or number of a class: {value!r}")
    return str(value)


def from_hub(settings: DataSettings) -> Labelled:
    """The rows of Hugging Face data sets, each given as ``name:split``."""
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
    """The name of a class, from its number where the data set knows the names; IndexError for a number without one."""
    if known and isinstance(label, int):
        if not 0 <= label < len(known):
            raise IndexError(f"no class has the number {label}")
        return known[label]
    return class_of(label)


def hub_rows(path: str, columns: Sequence[str]) -> Any:
    """One split of a data set, with a look that it has the columns."""
    rows = table(path)
    missing = [column for column in columns if column not in rows.column_names]
    if missing:
        raise DistillError(
            f"The data set '{path}' has no column {', '.join(missing)}; it has {rows.column_names} (data.input_column, "
            "data.label_column)."
        )
    return rows
