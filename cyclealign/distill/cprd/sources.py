"""Captions and their images from a folder or a data set."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cyclealign.distill.cprd.config import DataSettings
from cyclealign.distill.data.datasets import load_table
from cyclealign.distill.data.images import is_turned, load_rgb
from cyclealign.errors import DistillError
from cyclealign.files import json_lines

CAPTIONS = "captions.jsonl"


@dataclass(frozen=True)
class Caption:
    """A caption, the name of its image, and its words and keywords."""

    file: str
    text: str
    about: frozenset[str]


@dataclass(frozen=True)
class Source:
    """All captions, and a function that reads an image by name, shape (side, side, 3)."""

    captions: Sequence[Caption]
    image: Callable[[str], NDArray[np.uint8]]


def read(settings: DataSettings) -> Source:
    """Read the captions of the settings; images are read later, one by one.

    Raises:
        DistillError: it cannot be read; the message names the file and line.
    """
    folder = Path(settings.source)
    if folder.is_dir():
        return Source(
            read_captions(folder), lambda file: scaled(folder / file, str(folder / file), settings.image_size)
        )
    return from_table(settings)


def has_turned(settings: DataSettings) -> bool:
    """Return whether some image is to be turned upright, which 0.1.0 did not do; raise as `read`."""
    folder = Path(settings.source)
    if folder.is_dir():
        return any(is_turned(folder / file) for file in {caption.file for caption in read_captions(folder)})
    rows = rows_of(settings.source)
    if settings.image_column not in rows.column_names:
        return False  # `read` names the missing column
    images = _encoded(rows, settings)
    return any(is_turned(_bytes(row, f"{settings.source}, row {number}")) for number, row in enumerate(images))


def rows_of(source: str) -> Any:
    """Return the rows of a file, or of a data set on the hub."""
    try:
        return load_table(source)
    except DistillError as error:
        raise DistillError(f"There is no folder '{source}' (with {CAPTIONS}). {error}") from error


def read_captions(folder: Path) -> list[Caption]:
    """Return the lines of ``captions.jsonl``: file, text, and keywords; without keywords a caption has its words."""
    return [_caption_of(row, where) for where, row in json_lines(folder / CAPTIONS, DistillError)]


def _caption_of(row: Any, where: str) -> Caption:
    try:
        return caption(row["file"], row["text"], row.get("keywords", []), where)
    except (KeyError, TypeError) as error:
        raise DistillError(f'{where}: expected {{"file": "a.png", "text": "...", "keywords": [...]}}.') from error


def caption(file: Any, text: Any, keywords: Any, where: str) -> Caption:
    """Return a caption; raise DistillError if a part has another type."""
    if not (isinstance(text, str) and isinstance(file, str) and isinstance(keywords, list)):
        raise DistillError(f"{where}: file and text must be texts, keywords a list.")
    return Caption(file, text, frozenset([*text.lower().split(), *map(str, keywords)]))


def from_table(settings: DataSettings) -> Source:
    """Read the rows of a .parquet file, or of a data set on the hub."""
    rows = rows_of(settings.source)
    columns = [settings.image_column, settings.text_column, *filter(None, [settings.file_column])]
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise DistillError(
            f"{settings.source}: no column {', '.join(missing)}; it has {', '.join(rows.column_names)}. Name its "
            "columns in data.image_column, data.text_column and data.file_column."
        )
    images = _encoded(rows, settings)
    files = (
        [str(name) for name in rows[settings.file_column]]
        if settings.file_column
        else _named_by_content(images, settings)
    )
    index = {file: number for number, file in reversed(list(enumerate(files)))}  # the first row of each name

    def image(file: str) -> NDArray[np.uint8]:
        where = f"{settings.source}, row {index[file]}"
        return scaled(_bytes(images[index[file]], where), where, settings.image_size)

    return Source(list(_captions(rows, files, settings)), image)


def _encoded(rows: Any, settings: DataSettings) -> Any:
    """Return the column of images, undecoded: bytes or paths."""
    from datasets import Image as Images

    name = settings.image_column
    try:
        return rows.select_columns([name]).cast_column(name, Images(decode=False))[name]
    except (TypeError, ValueError, NotImplementedError) as error:  # Arrow's errors are subclasses of these
        raise DistillError(f"{settings.source}: column {name} does not hold images ({error}).") from error


def _bytes(row: Any, where: str) -> io.BytesIO | Path:
    image = row or {}
    if image.get("bytes"):
        return io.BytesIO(image["bytes"])
    if image.get("path"):
        return Path(image["path"])
    raise DistillError(f"{where}: the image is missing.")


def _named_by_content(images: Any, settings: DataSettings) -> list[str]:
    files = (_bytes(row, f"{settings.source}, row {number}") for number, row in enumerate(images))
    contents = (file.read_bytes() if isinstance(file, Path) else file.getvalue() for file in files)
    return [hashlib.sha256(content).hexdigest()[:16] for content in contents]


def _captions(rows: Any, files: Sequence[str], settings: DataSettings) -> Iterator[Caption]:
    keywords = rows["keywords"] if "keywords" in rows.column_names else [[]] * len(rows)
    for number, (file, captions, words) in enumerate(zip(files, rows[settings.text_column], keywords, strict=True)):
        for text in captions if isinstance(captions, list) else [captions]:
            yield caption(file, text, words or [], f"{settings.source}, row {number}")


def scaled(file: Path | io.BytesIO, where: str, side: int) -> NDArray[np.uint8]:
    """Read an image file as RGB pixels, shape (side, side, 3)."""
    return np.asarray(load_rgb(file, where).resize((side, side), Image.Resampling.BICUBIC), dtype=np.uint8)
