"""How the simulated judge learns in context: a Bayesian Plackett-Luce model of the demonstrations in the request."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from cyclealign.demo.judge.features import NAMES, Vector, features

# What the judge believes before it has read a demonstration: weak and partly wrong, as untaught judges are said to be.
# It likes long answers that echo the question and sound nice, and has hardly a notion of when to refuse.
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
# Cues hang together: who learns from one example that rude answers lose also expects polite ones to win. Each line is a
# direction in which the weights may move together, more easily than each on its own.
CONCEPTS: Mapping[str, Mapping[str, float]] = {
    "answers the question": {"overlap": 1, "substance": 1, "numbers": 0.5, "vagueness": -1},
    "does no harm": {"refusal_of_harm": 2, "alternative_to_harm": 1, "advice_on_harm": -1, "stealth": -1},
    "has manners": {"politeness": 1, "offer": 1, "rudeness": -1},
    "is brief": {"length": -1, "repetition": -1, "boasting": -1},
}
CONCEPT_DEVIATION, CUE_DEVIATION = 0.3, 0.3
MOST_STEPS, CLOSE_ENOUGH = 30, 1e-6

Ranked = tuple[str, Sequence[str]]  # a question and its answers, best first


def prior_mean() -> Vector:
    """Mean of the Gaussian prior over the weights of the features, in the order of NAMES."""
    return np.array([PRIOR_MEAN.get(name, 0.0) for name in NAMES])


@cache
def prior_precision() -> Vector:
    """Inverse covariance of the prior, (cues, cues): independent cues, and concepts that tie some of them together."""
    directions = np.array([[concept.get(name, 0.0) for name in NAMES] for concept in CONCEPTS.values()])
    covariance = CUE_DEVIATION**2 * np.eye(len(NAMES)) + CONCEPT_DEVIATION**2 * directions.T @ directions
    precision: Vector = np.linalg.inv(covariance)
    return precision


def learn(demonstrations: Sequence[Ranked]) -> Vector:
    """The weights that are most probable after the demonstrations (MAP), by Newton's method with step halving.

    Prior: a Gaussian. Likelihood of a demonstration: Plackett-Luce, the product over places of
    softmax(score of the answer placed here among those placed from here on), score = weights . features.
    """
    lists = [np.array([features(question, answer) for answer in answers]) for question, answers in demonstrations]
    mean = prior_mean()
    weights, value = mean, _log_posterior(mean, lists)
    for _ in range(MOST_STEPS):
        step = _newton_step(weights, lists)
        while (moved := _log_posterior(weights + step, lists)) < value and np.abs(step).max() > CLOSE_ENOUGH:
            step = step / 2
        if moved < value or np.abs(step).max() <= CLOSE_ENOUGH:
            break
        weights, value = weights + step, moved
    return weights


def _log_posterior(weights: Vector, lists: Sequence[Vector]) -> float:
    apart = weights - prior_mean()
    value = -0.5 * float(apart @ prior_precision() @ apart)
    for ranked in lists:
        scores = ranked @ weights
        value += sum(float(scores[place] - np.logaddexp.reduce(scores[place:])) for place in range(len(scores) - 1))
    return value


def _newton_step(weights: Vector, lists: Sequence[Vector]) -> Vector:
    """-(Hessian)^-1 gradient of the log-posterior; the Hessian is negative definite thanks to the prior."""
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
    """How good the judge finds each answer, in nats of Plackett-Luce strength."""
    return np.array([features(question, answer) for answer in answers]) @ weights
