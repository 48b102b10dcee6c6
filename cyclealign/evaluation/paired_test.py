"""An exact test of "the mean of paired differences is above 0", by flipping their signs."""

from collections.abc import Sequence
from itertools import product

import numpy as np

EXACT_UP_TO = 12  # differences other than 0: 4,096 sign patterns; beyond, SAMPLED ones, always the same
SAMPLED = 9_999
ROUNDING = 1e-9


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the one-sided p-value: the share of sign patterns with a sum of at least the observed one.

    Null hypothesis: the two arms of each pair could be exchanged, so each difference is as likely with either sign
    (Fisher 1935, section 21). Differences of 0 do not count.

    Args:
        differences: one per item, of independent items.
    """
    sizes = np.array([each for each in differences if abs(each) > ROUNDING])
    if not len(sizes):
        return 1.0
    exact = len(sizes) <= EXACT_UP_TO
    if exact:
        signs = np.array(list(product((1.0, -1.0), repeat=len(sizes))))
    else:
        signs = np.random.default_rng(len(sizes)).choice((1.0, -1.0), (SAMPLED, len(sizes)))
    reached = int(np.sum(signs @ np.abs(sizes) >= sizes.sum() - ROUNDING))
    return reached / len(signs) if exact else (reached + 1) / (SAMPLED + 1)


def spent(alpha: float, number: int) -> float:
    """Return the level of the k-th test, k = ``number`` from 1: alpha / (k (k + 1)), which sums to alpha over all."""
    return alpha / (number * (number + 1))
