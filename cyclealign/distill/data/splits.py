"""Splits for training, validation and testing have nothing in common."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

from cyclealign.errors import DistillError


def require_disjoint(items: str, *splits: tuple[str, Iterable[Any]]) -> None:
    """Refuse splits that share items: a student tested on its training data looks better than it is.

    Args:
        items: name of the items in error messages, in the plural.
        splits: name and items of each split.

    Raises:
        DistillError: two splits share an item; the message names both splits and one item.
    """
    for (first_name, first), (second_name, second) in combinations(splits, 2):
        shared = set(first) & set(second)
        if shared:
            raise DistillError(
                f"{len(shared)} {items} are in both {first_name} and {second_name}, for example {min(shared)!r}. "
                "Remove them from one of the two."
            )
