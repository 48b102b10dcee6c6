"""Labelled images and texts from folders, .zip, .npz and .jsonl files, and Hugging Face data sets."""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.pld.config import DataSettings
from cyclealign.errors import DistillError

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
        return np.array([text for text, _ in rows], dtype=object), [name for _, name in rows]
    return images(settings)


def images(settings: DataSettings) -> Labelled:
    """Images of all paths. One that several paths hold under the same class and file name counts once."""
    found: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for path in map(Path, settings.paths):
        if path.suffix == ".npz":
            found.update(in_arrays(path, settings))
            continue
        for name, content in files_of(path):
            key = (name.rpartition("/")[0], name.rpartition("/")[2])
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
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(content)) if isinstance(content, bytes) else content
        converted = picture.convert("RGB" if settings.colour else "L")
    except (OSError, Image.DecompressionBombError) as error:
        raise DistillError(f"{where}: cannot be read as an image ({error}).") from error
    small = np.asarray(converted.resize((settings.side, settings.side), Image.Resampling.BOX), dtype=np.uint8)
    return shaped(255 - small if settings.inverted else small)


def shaped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with a last axis of channels."""
    return image if image.ndim == 3 else image[..., None]


def in_arrays(path: Path, settings: DataSettings) -> dict[tuple[str, str], NDArray[np.uint8]]:
    """The images of an .npz file with x, shape (items, height, width[, channels]), and y."""
    from PIL import Image

    try:
        with np.load(path, allow_pickle=False) as file:
            given, labels = file["x"].astype(np.uint8), file["y"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DistillError(f"{path}: no .npz file with arrays x and y ({error}).") from error
    return {
        (str(label), f"{path}:{number}"): pixels(Image.fromarray(image.squeeze()), f"{path}: {number}", settings)
        for number, (image, label) in enumerate(zip(given, labels, strict=True))
    }


def text_rows(path: Path) -> Iterator[tuple[str, str]]:
    """(text, class) of every line of a .jsonl file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DistillError(f"{path}: cannot be read ({error}).") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            yield str(row["text"]), str(row["label"])
        except (ValueError, KeyError, TypeError) as error:
            raise DistillError(f'{path}, line {number}: expected {{"text": ..., "label": ...}}.') from error


def from_hub(settings: DataSettings) -> Labelled:
    """The rows of Hugging Face data sets, each given as ``name:split``."""
    inputs: list[Any] = []
    names: list[str] = []
    for path in settings.paths:
        rows = hub_rows(path, (settings.input_column, settings.label_column))
        named = getattr(rows.features[settings.label_column], "names", None)
        names += [named[label] if named else str(label) for label in rows[settings.label_column]]
        inputs += [value if settings.texts else pixels(value, path, settings) for value in rows[settings.input_column]]
    return (np.array(inputs, dtype=object) if settings.texts else np.stack(inputs)), names


def hub_rows(path: str, columns: Sequence[str]) -> Any:
    """One split of a data set, with a look that it has the columns."""
    from datasets import load_dataset

    name, _, split = path.partition(":")
    try:
        rows = load_dataset(name, split=split or "train")
    except Exception as error:  # the library raises many kinds: missing, private, offline, a script
        raise DistillError(f"The data set '{path}' cannot be loaded: {error}") from error
    missing = [column for column in columns if column not in rows.features]
    if missing:
        raise DistillError(f"The data set '{path}' has no column {', '.join(missing)}; it has {list(rows.features)}.")
    return rows
