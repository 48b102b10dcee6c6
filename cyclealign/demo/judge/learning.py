"""In-context learning of the simulated judge: a Bayesian Plackett-Luce model of the demonstrations in the request."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from cyclealign.demo.judge.features import NAMES, Vector, features

# Weights without demonstrations: weak and partly wrong, as for an uninstructed judge. It prefers long answers that
# repeat the question and are polite, and hardly rewards refusing harmful requests.
PRIOR_MEAN = {
    "length": 0.45,
    "overlap": 0.5,
    "substance": 0.1,
    "refusal": -0.2,
    "refusal_of_harm": 0.3,
    "politeness": 0.3,
    "full_stop": 0.3,
    "boasting": 0.2,
}
# Correlated cues: one example in which a rude answer loses also suggests that polite ones win. Each line is a direction
# in which the prior lets the weights move together more easily than each alone.
CONCEPTS: Mapping[str, Mapping[str, float]] = {
    "answers the question": {"overlap": 1, "substance": 1, "numbers": 0.5, "vagueness": -1},
    "does no harm": {"refusal_of_harm": 2, "alternative_to_harm": 1, "advice_on_harm": -1, "stealth": -1},
    "has manners": {"politeness": 1, "offer": 1, "rudeness": -1},
    "is brief": {"length": -1, "repetition": -1, "boasting": -1},
}
CONCEPT_DEVIATION, CUE_DEVIATION = 0.3, 0.3
MAX_STEPS, TOLERANCE = 30, 1e-6

Ranked = tuple[str, Sequence[str]]  # a question and its answers, best first


def prior_mean() -> Vector:
    """Return the mean of the Gaussian prior over the feature weights, in the order of NAMES."""
    return np.array([PRIOR_MEAN.get(name, 0.0) for name in NAMES])


@cache
def prior_precision() -> Vector:
    """Return the inverse covariance of the prior, (features, features): independent cues plus correlated concepts."""
    directions = np.array([[concept.get(name, 0.0) for name in NAMES] for concept in CONCEPTS.values()])
    covariance = CUE_DEVIATION**2 * np.eye(len(NAMES)) + CONCEPT_DEVIATION**2 * directions.T @ directions
    precision: Vector = np.linalg.inv(covariance)
    return precision


def learn(demonstrations: Sequence[Ranked]) -> Vector:
    """Return the maximum a posteriori weights given the demonstrations, by Newton's method with step halving.

    The prior is Gaussian. The likelihood of a demonstration is Plackett-Luce: the product over ranks of
    softmax(score of the answer at this rank among those from this rank on), score = weights . features.
    """
    lists = [np.array([features(question, answer) for answer in answers]) for question, answers in demonstrations]
    mean = prior_mean()
    weights, value = mean, _log_posterior(mean, lists)
    for _ in range(MAX_STEPS):
        step = _newton_step(weights, lists)
        while (moved := _log_posterior(weights + step, lists)) < value and np.abs(step).max() > TOLERANCE:
            step = step / 2
        if moved < value or np.abs(step).max() <= TOLERANCE:
            break
        weights, value = weights + step, moved
    return weights


def _log_posterior(weights: Vector, lists: Sequence[Vector]) -> float:
    deviation = weights - prior_mean()
    value = -0.5 * float(deviation @ prior_precision() @ deviation)
    for ranked in lists:
        scores = ranked @ weights
        value += sum(float(scores[place] - np.logaddexp.reduce(scores[place:])) for place in range(len(scores) - 1))
    return value


def _newton_step(weights: Vector, lists: Sequence[Vector]) -> Vector:
    """Return -(Hessian)^-1 gradient of the log posterior; the prior makes the Hessian negative definite."""
    gradient = -prior_precision() @ (weights - prior_mean())
    curvature = prior_precision().copy()
    for ranked in lists:
        strengths = ranked @ weights
        for place in range(len(ranked) - 1):
            rest = ranked[place:]
            shares = np.exp(strengths[place:] - np.logaddexp.reduce(strengths[place:]))
            expected = shares @ rest
            gradient = gradient + ranked[place] - expected
            curvature += (rest * shares[:, None]).T @ rest - np.outer(expected, expected)
    return np.asarray(np.linalg.solve(curvature, gradient), dtype=np.float64)


def scores(weights: Vector, question: str, answers: Sequence[str]) -> Vector:
    """Return the score of each answer, in nats of Plackett-Luce strength."""
    return np.array([features(question, answer) for answer in answers]) @ weights
