"""What is learnt from, chosen on and tested on has nothing in common."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

from cyclealign.errors import DistillError


def refuse_shared(what: str, *parts: tuple[str, Iterable[Any]]) -> None:
    """Refuse what is in two parts: a student that was shown what it is tested on looks better than it is.

    Args:
        what: the kind of thing, in the plural.
        parts: the name of each part, and what is in it.

    Raises:
        DistillError: two parts have something in common; the message names them.
    """
    for (one, some), (other, others) in combinations(parts, 2):
        both = set(some) & set(others)
        if both:
            raise DistillError(f"{len(both)} {what} are in {one} and in {other}, {min(both)!r} for one. Part them.")
