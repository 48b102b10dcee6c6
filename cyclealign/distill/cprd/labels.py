"""Labels: the teacher's match probabilities of all training images with all training captions."""

from pathlib import Path

import numpy as np

from cyclealign.config import settings_identity
from cyclealign.distill.cprd.config import VERSION, Config, TeacherSettings
from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.score_file import Scores, read_scores
from cyclealign.distill.cprd.teacher_models import CrossEncoder
from cyclealign.distill.label_cache import cached_labels, cached_labels_in_parts, parts_of
from cyclealign.distill.legacy import CPRD_SIMULATED_TEACHER
from cyclealign.distill.models.encoders import model_identity
from cyclealign.distill.settings import version_key
from cyclealign.files import hash_of_file
from cyclealign.progress import OnProgress

IMAGES_PER_PART = 16


def label(folder: Path, config: Config, pairs: Pairs, on_progress: OnProgress = lambda done, of: None) -> Scores:
    """Return the teacher's match probabilities, computed at most once; shape (images, texts).

    Args:
        folder: the label cache.
        config: names the teacher: `simulated`, a score file or a cross-encoder.
        pairs: the training pairs.
        on_progress: called with the number of parts done and their total.

    Raises:
        DistillError: the teacher cannot be loaded, or its file does not hold the scores of these pairs.
    """
    settings = config.teacher
    if settings.model == "simulated":
        # Labels of version 1 are keyed as 0.1.0 keyed them.
        code = CPRD_SIMULATED_TEACHER if VERSION == 1 else version_key("cprd", VERSION)
        made_of = {
            "pairs": pairs.content(),
            "teacher": settings_identity(settings),
            "seed": config.seed,
            "code": code,
        }
        labels = cached_labels(folder, made_of, lambda: {"scores": simulated_scores(pairs, settings, config.seed)})
        return labels["scores"]
    if Path(settings.model).suffix in (".npz", ".npy"):
        return read_scores(Path(settings.model), pairs)
    encoder = CrossEncoder(settings.model, config.data.image_size)
    labels = cached_labels_in_parts(
        folder,
        {"pairs": pairs.content(), "teacher": teacher_identity(settings.model)},
        parts_of(len(pairs.images), IMAGES_PER_PART),
        lambda part: {"scores": encoder.score_rows(pairs, part)},
        on_progress,
    )
    return labels["scores"]


def teacher_identity(model: str) -> str:
    """Return the hash of a score file, or the identity of a cross-encoder. Whoever reads a missing file reports it."""
    return hash_of_file(Path(model)) if Path(model).is_file() else model_identity(model)


def simulated_scores(pairs: Pairs, settings: TeacherSettings, seed: int) -> Scores:
    """Return the true overlap with noise, through a steep sigmoid; shape (images, texts).

    Like a cross-encoder's match probabilities, the scores pile up near 0 and 1.
    """
    generator = np.random.default_rng([seed, 9])
    overlap = pairs.overlap()
    noisy = overlap + generator.normal(0, settings.noise, size=overlap.shape)
    return (1 / (1 + np.exp(-settings.steepness * (noisy - 0.5)))).astype(np.float32)
