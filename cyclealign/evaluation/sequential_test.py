"""An anytime-valid test of "the mean score of paired duels is above one half", by betting. Loads no torch.

Scores x are in [0, 1]: 1 a win, 0.5 a tie, 0 a loss. The null hypothesis: given all earlier scores, the expected next
one is at most 1/2. A gambler with one unit of capital bets the same share of it on each score:

    E_t = product over i <= t of (1 + b (x_i - 1/2)),    b = min(sqrt(2 ln(1 / alpha) / (n / 4)), 3 / 2)

Under the null E_t is a nonnegative supermartingale that starts at 1 (an e-process): its mean is at most 1 at any time
at which one chooses to look, and by Ville's inequality it ever reaches 1 / alpha with a probability of at most alpha.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024), arXiv 2010.09686:
E_t is their capital process for the mean 1/2. b is their bet for a sample of known size n, with 1/4, the largest
variance of a score, in place of the running estimate, and with their truncation at 3/4 of the largest bet. As b depends
on nothing but alpha and the planned n, any order of the scores gives the same value, and a tie changes nothing. A
sample of another size than planned costs power, not validity.

There is no confidence sequence here: the e-value answers one question, and the win rate keeps its bootstrap interval.
"""

from enum import Enum
from math import log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHANCE = 0.5
DESIGN_ALPHA = 0.05  # of a bet for a test whose level is not known
MAX_VARIANCE = 0.25  # of a score in [0, 1]
MAX_BET = 1.5  # 3/4 of 1 / CHANCE, with which one loss would take all capital for good
# An e-value may be replaced by any smaller one. Beyond this, differences mean nothing to a reader.
MAX_E_VALUE = 1e6


def bet(planned: int, alpha: float = DESIGN_ALPHA) -> float:
    """Return b, the bet on each of ``planned`` scores; it must be fixed before the first score is seen.

    Args:
        alpha: level of the test that the bet is the best one for; a test at another level is valid, too.

    Raises:
        ValueError: ``planned`` is less than 1.
    """
    if planned < 1:
        raise ValueError(f"a test needs at least one planned score: {planned}")
    return min(sqrt(2 * log(1 / alpha) / (MAX_VARIANCE * planned)), MAX_BET)


def e_process(scores: ArrayLike, planned: int, alpha: float = DESIGN_ALPHA) -> NDArray[np.float64]:
    """Return E_t after each score, along the last axis; no scores give an empty array.

    Args:
        scores: numbers in [0, 1], shape (..., scores), in an order that was fixed before the first one was seen.
        planned: number of scores that were planned.
        alpha: level that the bet is made for.

    Raises:
        ValueError: a score is outside of [0, 1] or not a number.
    """
    return np.exp(np.cumsum(_log_factors(scores, planned, alpha), axis=-1))


def e_values(scores: ArrayLike, planned: int, alpha: float = DESIGN_ALPHA) -> NDArray[np.float64]:
    """Return E after the last score, shape (...), at most MAX_E_VALUE; 1, no evidence, without scores.

    Evidence for a mean below 1/2, against the new policy, is that of the scores 1 - x.

    Args:
        scores: numbers in [0, 1], shape (..., scores).
        planned: number of scores that were planned.
        alpha: level that the bet is made for.

    Raises:
        ValueError: a score is outside of [0, 1] or not a number.
    """
    total = np.sum(_log_factors(scores, planned, alpha), axis=-1)
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum(np.exp(total), MAX_E_VALUE), dtype=np.float64)


class Look(Enum):
    """What a look at the scores so far says about further ones."""

    UNDECIDED = "undecided"
    CANNOT_WIN = "cannot win"
    DECIDED = "decided"


def look(scores: ArrayLike, planned: int, alpha: float, left: int, against: float) -> Look:
    """Return whether further scores can still decide the test.

    ``DECIDED``: an e-value has reached what is needed, or neither can, even if one side won all scores that are left.
    ``CANNOT_WIN``: only evidence against the new policy is still within reach.

    Args:
        scores: numbers in [0, 1], shape (scores,).
        planned: number of scores that the bets are made for.
        alpha: level of the test of "not better", which the bets are made for, too.
        left: number of further scores that there may be.
        against: level of the test of "not worse".
    """
    values = np.asarray(scores, dtype=np.float64)
    win, loss = (float(np.sum(_log_factors(side, planned, alpha))) for side in (values, 1 - values))
    most = left * log(1 + bet(planned, alpha) / 2)
    if win >= -log(alpha) or loss >= -log(against):
        return Look.DECIDED
    if win + most >= -log(alpha):
        return Look.UNDECIDED
    return Look.CANNOT_WIN if loss + most >= -log(against) else Look.DECIDED


def _log_factors(scores: ArrayLike, planned: int, alpha: float) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("scores of duels must be numbers from 0 to 1")
    return np.log1p(bet(planned, alpha) * (values - CHANCE))
