"""Images with captions: drawn on the spot, or read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.cprd import demo_data
from cyclealign.distill.cprd.config import DEMO, DataSettings
from cyclealign.distill.cprd.sources import Source, read
from cyclealign.errors import DistillError
from cyclealign.records import content_id


@dataclass(frozen=True)
class Pairs:
    """Captions, and their images: a pair is a caption with its image, which may have others.

    ``images`` have shape (images, side, side, 3), in 0..255, and the names ``files``. Of each pair there are the text,
    what it is about, and in ``image`` the number of its image.
    """

    images: NDArray[np.uint8]
    files: tuple[str, ...]
    texts: tuple[str, ...]
    about: tuple[frozenset[str], ...]
    image: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def own(self) -> NDArray[np.bool_]:
        """Which texts are captions of which image, shape (images, texts)."""
        found: NDArray[np.bool_] = self.image[None, :] == np.arange(len(self.images))[:, None]
        return found

    def overlap(self) -> NDArray[np.float32]:
        """Graded truth: shared share of what image and text are about (Jaccard), shape (images, texts).

        An image is about all that its captions are about.
        """
        seen: list[frozenset[str]] = [frozenset()] * len(self.images)
        for number, about in zip(self.image.tolist(), self.about, strict=True):
            seen[number] = seen[number] | about
        return np.array([[shared(image, text) for text in self.about] for image in seen], dtype=np.float32)

    def content(self) -> str:
        """The hash of all that is in them: other pixels or captions have other labels."""
        pixels = hashlib.sha256(np.ascontiguousarray(self.images).tobytes()).hexdigest()
        about = [sorted(each) for each in self.about]
        return content_id("pairs", pixels, self.images.shape, self.files, self.texts, about, self.image.tolist())


@dataclass(frozen=True)
class Splits:
    """Training and test pairs, which share no image."""

    train: Pairs
    test: Pairs


def shared(one: frozenset[str], two: frozenset[str]) -> float:
    """Jaccard index of two sets; 0 for two empty ones."""
    return len(one & two) / max(len(one | two), 1)


def load(settings: DataSettings, seed: int) -> Splits:
    """The pairs that the settings name; the same seed gives the same split.

    Raises:
        DistillError: the source or a line of its captions cannot be read, or it holds too few images.
    """
    if settings.source == DEMO:
        return drawn(settings, seed)
    source = read(settings)
    files = list(dict.fromkeys(each.file for each in source.captions))
    needed = settings.test + 2
    if len(files) < needed:
        raise DistillError(
            f"{settings.source}: {len(files)} images with captions; with data.test = {settings.test}, {needed} are "
            "needed."
        )
    order = [files[number] for number in np.random.default_rng([seed, 3]).permutation(len(files))]
    test, train = order[: settings.test], order[settings.test : settings.test + settings.train]
    return Splits(opened(source, train), opened(source, test))


def opened(source: Source, files: Sequence[str]) -> Pairs:
    """Some images with all their captions, which stand in the order of their images."""
    place = {file: number for number, file in enumerate(files)}
    chosen = sorted((each for each in source.captions if each.file in place), key=lambda each: place[each.file])
    return Pairs(
        np.stack([source.image(file) for file in files]),
        tuple(files),
        tuple(each.text for each in chosen),
        tuple(each.about for each in chosen),
        np.array([place[each.file] for each in chosen], dtype=np.int64),
    )


def drawn(settings: DataSettings, seed: int) -> Splits:
    """Pictures of scenes, named by their captions; no scene is in both splits."""
    generator = np.random.default_rng([seed, 5])
    scenes = demo_data.scenes(settings.train + settings.test, generator)
    test = min(settings.test, len(scenes) // 4)

    def pairs(chosen: Sequence[demo_data.Scene]) -> Pairs:
        images = np.stack([demo_data.picture(scene, settings.image_size, generator) for scene in chosen])
        texts = tuple(demo_data.caption(scene) for scene in chosen)
        return Pairs(
            images, texts, texts, tuple(demo_data.attributes(scene) for scene in chosen), np.arange(len(chosen))
        )

    return Splits(pairs(scenes[test:]), pairs(scenes[:test]))
