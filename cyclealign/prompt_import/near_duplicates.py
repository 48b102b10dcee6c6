"""Near-duplicates of prompts by MinHash (Broder, 1997) of character 5-grams, found by banded hashing.

The share of equal numbers in two signatures estimates the Jaccard similarity of the sets of 5-grams; with 128 numbers
its standard error is at most 0.045. Bands of 4 numbers find a pair of similarity s with probability 1 - (1 - s^4)^32:
87 % at 0.5, 99.9 % at 0.66.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cyclealign.records import Prompt, turn_text

GRAM = 5  # characters
NUM_HASHES, BAND = 128, 4
PART = 1 << 11  # 5-grams at once, so that a text of a megabyte takes little memory
Hashes = NDArray[np.uint64]
_RANDOM = np.random.default_rng(20261201)
_FACTORS: Hashes = _RANDOM.integers(0, 1 << 63, NUM_HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_SHIFTS: Hashes = _RANDOM.integers(0, 1 << 63, NUM_HASHES, dtype=np.uint64)


def compared_text(prompt: Prompt) -> str:
    """Return the text by which prompts are compared: all turns but those of the system, which requests share."""
    turns = [turn_text(turn) for turn in prompt.messages if turn["role"] != "system"]
    return " ".join(unicodedata.normalize("NFKC", "\n".join(turns)).casefold().split())


def grams(text: str) -> Hashes:
    """Return the hashes of the different 5-grams of a text, shape (G,); a shorter text is one gram."""
    points = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    width = min(GRAM, len(points))
    if not width:
        return np.zeros(1, dtype=np.uint64)
    mixed = np.zeros(len(points) - width + 1, dtype=np.uint64)
    for place in range(width):
        mixed = _mixed(mixed ^ points[place : len(points) - width + 1 + place])
    return np.unique(mixed)


def _mixed(values: Hashes) -> Hashes:
    """Return SplitMix64's finalizer (Steele et al., 2014) of the values plus its increment."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def signature(text: str) -> Hashes:
    """Return the smallest value of each hash function over the 5-grams, shape (128,)."""
    hashes = grams(text)
    smallest = np.full(NUM_HASHES, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(hashes), PART):
        part = hashes[start : start + PART]
        smallest = np.minimum(smallest, (part[:, None] * _FACTORS + _SHIFTS).min(axis=0))
    return smallest


def leaders(signatures: Sequence[Hashes], threshold: float) -> list[int]:
    """Return for each signature the position of its cluster's leader: the first one, which leads itself.

    A signature joins the most similar leader with a similarity of at least ``threshold``, and leads otherwise. Members
    are compared with leaders alone, so that a chain of similar texts does not become one cluster.
    """
    chosen: list[int] = []
    bands: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for place, row in enumerate(signatures):
        keys = [(band, row[band : band + BAND].tobytes()) for band in range(0, NUM_HASHES, BAND)]
        near = sorted({leader for key in keys for leader in bands.get(key, ())})
        similarities = [float(np.mean(signatures[leader] == row)) for leader in near]
        best = max(similarities, default=0.0)
        if near and best >= threshold:
            chosen.append(near[similarities.index(best)])
            continue
        chosen.append(place)
        for key in keys:
            bands[key].append(place)
    return chosen
