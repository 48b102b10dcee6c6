"""Teachers: cross-encoders or the demo's simulated teacher, as functions from pairs to scores."""

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.margin_mse.config import DEMO, Config
from cyclealign.distill.margin_mse.data import Collection
from cyclealign.distill.margin_mse.students.cat import load_cross_encoder, load_trained_cross_encoder

Pair = tuple[str, str]  # ids of a query and a passage
Scorer = Callable[[Sequence[Pair]], NDArray[np.float64]]

# Relevance is within [-1, 1]; scores then span about the range of a cross-encoder, with margins of about twelve.
SIMULATED_SCALE = 8.0


def simulated(collection: Collection, noise: float, seed: int) -> Scorer:
    """Return a teacher that gives the demo data's true relevance with normal noise, the same in every call for a pair.

    Args:
        noise: standard deviation.
    """

    def noise_of(pair: Pair) -> float:
        digest = hashlib.sha256(json.dumps([seed, *pair]).encode()).digest()
        return float(np.random.default_rng(int.from_bytes(digest[:8], "big")).normal())

    def score(pairs: Sequence[Pair]) -> NDArray[np.float64]:
        relevance = collection.true_relevance
        return np.array([SIMULATED_SCALE * relevance(*pair) + noise * noise_of(pair) for pair in pairs])

    return score


def ensemble(models: Sequence[str], collection: Collection, config: Config) -> Scorer:
    """Return the mean of the raw scores of cross-encoders, without rescaling: the paper's T1 (one model) and T2.

    Raises:
        DistillError: a model cannot be loaded, or was not trained to give one score.
    """
    cross_encoders = [load_trained_cross_encoder(model, max_pair_tokens(config)) for model in models]

    def score(pairs: Sequence[Pair]) -> NDArray[np.float64]:
        texts = [(collection.queries[query], collection.documents[passage]) for query, passage in pairs]
        rows = [
            model.predict(
                texts, batch_size=config.teacher.batch, show_progress_bar=False, activation_fn=torch.nn.Identity()
            )
            for model in cross_encoders
        ]
        return np.mean(np.asarray(rows, dtype=np.float64), axis=0)

    return score


def load_scorer(config: Config, collection: Collection) -> Scorer | None:
    """Return the teacher if it needs no training, or None; models are loaded, so an unsuitable one is refused early.

    Raises:
        DistillError: a model of the settings does not suit the kind of teacher.
    """
    if config.teacher.kind == "simulated":
        return simulated(collection, config.data.demo.teacher_noise, config.seed)
    if config.teacher.kind == "cross_encoders":
        return ensemble(config.teacher.models, collection, config)
    if config.teacher.kind == "trained":
        for model in config.teacher.models:
            if model != DEMO:
                load_cross_encoder(model, max_pair_tokens(config))
    return None


def max_pair_tokens(config: Config) -> int:
    """Return the maximum number of tokens of a query and a passage together."""
    return config.student.query_tokens + config.student.passage_tokens
