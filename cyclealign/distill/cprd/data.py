"""Images with captions: drawn on the spot, or from a folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cyclealign.distill.cprd import drawing
from cyclealign.distill.cprd.config import DataSettings
from cyclealign.errors import DistillError

CAPTIONS = "captions.jsonl"


@dataclass(frozen=True)
class Pairs:
    """Images of shape (items, side, side, 3) in 0..255, their captions, and what each is about."""

    images: NDArray[np.uint8]
    texts: tuple[str, ...]
    about: tuple[frozenset[str], ...]

    def __len__(self) -> int:
        return len(self.texts)

    def overlap(self) -> NDArray[np.float32]:
        """Graded truth: shared share of what image and text are about (Jaccard), shape (images, texts)."""
        return np.array([[shared(image, text) for text in self.about] for image in self.about], dtype=np.float32)


@dataclass(frozen=True)
class Splits:
    """Training and test pairs, which share none."""

    train: Pairs
    test: Pairs


def shared(one: frozenset[str], two: frozenset[str]) -> float:
    """Jaccard index of two sets; 0 for two empty ones."""
    return len(one & two) / max(len(one | two), 1)


def load(settings: DataSettings, seed: int) -> Splits:
    """The pairs that the settings name; the same seed gives the same split.

    Raises:
        DistillError: the folder or a line of its captions cannot be read, or it holds too few pairs.
    """
    if settings.source == "drawn":
        return drawn(settings, seed)
    rows = read_captions(Path(settings.source))
    order = np.random.default_rng([seed, 3]).permutation(len(rows))
    needed = settings.test + 2
    if len(rows) < needed:
        raise DistillError(
            f"{settings.source}: {len(rows)} pairs; with data.test = {settings.test}, {needed} are needed."
        )
    test, train = order[: settings.test], order[settings.test : settings.test + settings.train]
    return Splits(*(opened(Path(settings.source), [rows[n] for n in part], settings.side) for part in (train, test)))


def drawn(settings: DataSettings, seed: int) -> Splits:
    """Pictures of scenes; no scene is in both splits."""
    generator = np.random.default_rng([seed, 5])
    scenes = drawing.scenes(settings.train + settings.test, generator)
    test = min(settings.test, len(scenes) // 4)

    def pairs(chosen: Sequence[drawing.Scene]) -> Pairs:
        images = np.stack([drawing.picture(scene, settings.side, generator) for scene in chosen])
        return Pairs(
            images,
            tuple(drawing.caption(scene) for scene in chosen),
            tuple(drawing.attributes(scene) for scene in chosen),
        )

    return Splits(pairs(scenes[test:]), pairs(scenes[:test]))


def read_captions(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``captions.jsonl``: file, text, and keywords."""
    path = folder / CAPTIONS
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines() would break at U+2028 within a text, too
    except (OSError, UnicodeDecodeError) as error:
        raise DistillError(f"{path} cannot be read as UTF-8 text: {error}. Name a folder that holds it.") from error
    return [row_of(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def row_of(line: str, where: str) -> dict[str, Any]:
    """One caption; without keywords it is about its words."""
    try:
        row = json.loads(line)
        text, file = row["text"], row["file"]
    except (ValueError, KeyError, TypeError) as error:
        raise DistillError(f'{where}: want {{"file": "a.png", "text": "...", "keywords": [...]}}.') from error
    keywords = row.get("keywords", [])
    if not (isinstance(text, str) and isinstance(file, str) and isinstance(keywords, list)):
        raise DistillError(f"{where}: file and text must be texts, keywords a list.")
    return {"file": file, "text": text, "about": frozenset([*text.lower().split(), *map(str, keywords)])}


def opened(folder: Path, rows: Sequence[dict[str, Any]], side: int) -> Pairs:
    """The rows with their images, scaled; transparent ground becomes white."""
    images = np.stack([scaled(folder / row["file"], side) for row in rows])
    return Pairs(images, tuple(row["text"] for row in rows), tuple(row["about"] for row in rows))


def scaled(path: Path, side: int) -> NDArray[np.uint8]:
    """An image file as RGB pixels, shape (side, side, 3)."""
    try:
        with Image.open(path) as image:
            full = image.convert("RGBA")
    except OSError as error:
        raise DistillError(f"{path}: the image cannot be read ({error}). Correct {CAPTIONS} or restore it.") from error
    ground = Image.new("RGBA", full.size, "white")
    flat = Image.alpha_composite(ground, full).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(flat, dtype=np.uint8)
