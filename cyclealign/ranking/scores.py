"""Scores by which a policy ranks its own answers, and their length control. Pure functions on log-probs in nats.

Let x be the prompt, a the answer of T tokens (after its thought, if it has one), p the policy and p0 its base model.
"""

from collections.abc import Mapping, Sequence
from math import exp, log
from statistics import fmean


def mean_logprob(logprob_sum: float, tokens: int) -> float:
    """Return log p(a | x) / T (RRHF, arXiv 2304.05302, eq. 1), in nats per token."""
    return logprob_sum / max(tokens, 1)


def pmi(logprob_sum: float, without_question: float) -> float:
    """Return the pointwise mutual information log p(a | x) - log p(a | no question), in nats.

    Li et al. (arXiv 1510.03055, eq. 6, with lambda = 1) rank replies by it, Holtzman et al. (arXiv 2104.08315) choices.
    """
    return logprob_sum - without_question


def implicit_reward(logprob_sum: float, under_base: float) -> float:
    """Return log p(a | x) - log p0(a | x), in nats: the reward that training p has taught, up to a factor and a term in
    x alone (DPO, arXiv 2305.18290, eq. 5).
    """
    return logprob_sum - under_base


def label_logprobs(logprob_sums: Sequence[float]) -> list[float]:
    """Return the log-probs of the labels of one request given that the reply names one of them (log-softmax)."""
    highest = max(logprob_sums)
    total = highest + log(sum(exp(value - highest) for value in logprob_sums))
    return [value - total for value in logprob_sums]


def mean_over_orders(orders: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each item's label log-prob over the orders shown.

    If every item has every place and label once, a bias that these add is the same for all items.
    """
    return {item: fmean(order[item] for order in orders) for item in orders[0]}


def length_slope(lists: Sequence[Sequence[tuple[float, int]]]) -> float:
    """Return the slope of the score in the number of tokens within lists: least squares with an intercept for each list
    (the within estimator of a fixed-effects regression).

        b = sum_ij (T_ij - T_i) (s_ij - s_i) / sum_ij (T_ij - T_i)^2,  T_i, s_i: means of list i

    Args:
        lists: (score, tokens) of the answers of each list.

    Returns:
        b; 0.0 if all answers of each list have the same length.
    """
    covariance = variance = 0.0
    for answers in lists:
        score, length = fmean(value for value, _ in answers), fmean(tokens for _, tokens in answers)
        covariance += sum((tokens - length) * (value - score) for value, tokens in answers)
        variance += sum((tokens - length) ** 2 for _, tokens in answers)
    return covariance / variance if variance else 0.0


def length_controlled(score: float, tokens: int, slope: float) -> float:
    """Return the residual of the score on length, up to a constant of its list: s - b T."""
    return score - slope * tokens
