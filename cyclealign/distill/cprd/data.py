"""Images with captions, in splits that share no image."""

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
    """Captions with their images; an image may have several captions.

    Attributes:
        images: in 0..255, shape (images, side, side, 3).
        files: name of each image.
        texts: caption of each pair.
        about: words and keywords of each caption.
        image: index of each caption's image, shape (pairs,).
    """

    images: NDArray[np.uint8]
    files: tuple[str, ...]
    texts: tuple[str, ...]
    about: tuple[frozenset[str], ...]
    image: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def own(self) -> NDArray[np.bool_]:
        """Return which texts are captions of which image, shape (images, texts)."""
        own: NDArray[np.bool_] = self.image[None, :] == np.arange(len(self.images))[:, None]
        return own

    def overlap(self) -> NDArray[np.float32]:
        """Return the graded relevance, from 0 to 1: the Jaccard index of keywords, shape (images, texts).

        An image has the keywords of all its captions.
        """
        of_images: list[frozenset[str]] = [frozenset()] * len(self.images)
        for number, about in zip(self.image.tolist(), self.about, strict=True):
            of_images[number] = of_images[number] | about
        return np.array([[jaccard(image, text) for text in self.about] for image in of_images], dtype=np.float32)

    def content(self) -> str:
        """Return the hash of pixels and captions, under which labels are kept."""
        pixels = hashlib.sha256(np.ascontiguousarray(self.images).tobytes()).hexdigest()
        about = [sorted(keywords) for keywords in self.about]
        return content_id("pairs", pixels, self.images.shape, self.files, self.texts, about, self.image.tolist())


@dataclass(frozen=True)
class Splits:
    """Training and test pairs, which share no image."""

    train: Pairs
    test: Pairs


def jaccard(one: frozenset[str], two: frozenset[str]) -> float:
    """Return the Jaccard index of two sets; 0 for two empty ones."""
    return len(one & two) / max(len(one | two), 1)


def load(settings: DataSettings, seed: int) -> Splits:
    """Load the pairs of the settings; reproducible by seed.

    Raises:
        DistillError: the source or a line of its captions cannot be read, or it holds too few images.
    """
    if settings.source == DEMO:
        return demo_splits(settings, seed)
    source = read(settings)
    files = list(dict.fromkeys(caption.file for caption in source.captions))
    needed = settings.test + 2
    if len(files) < needed:
        raise DistillError(
            f"{settings.source}: {len(files)} images with captions; with data.test = {settings.test}, {needed} are "
            "needed."
        )
    order = [files[number] for number in np.random.default_rng([seed, 3]).permutation(len(files))]
    test, train = order[: settings.test], order[settings.test : settings.test + settings.train]
    return Splits(read_pairs(source, train), read_pairs(source, test))


def read_pairs(source: Source, files: Sequence[str]) -> Pairs:
    """Read some images with all their captions, in the order of the images."""
    index = {file: number for number, file in enumerate(files)}
    captions = [caption for caption in source.captions if caption.file in index]
    captions.sort(key=lambda caption: index[caption.file])
    return Pairs(
        np.stack([source.image(file) for file in files]),
        tuple(files),
        tuple(caption.text for caption in captions),
        tuple(caption.about for caption in captions),
        np.array([index[caption.file] for caption in captions], dtype=np.int64),
    )


def demo_splits(settings: DataSettings, seed: int) -> Splits:
    """Draw the demo's scenes, named by their captions; no scene is in both splits."""
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
