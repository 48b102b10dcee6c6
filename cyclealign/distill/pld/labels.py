"""Labels: the teacher's logits of every split. The teacher is used as it is, or first trained on the data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclealign.config import settings_identity
from cyclealign.distill.label_cache import Arrays, cached_labels_in_parts, parts_of
from cyclealign.distill.pld import predict, train
from cyclealign.distill.pld.config import Config
from cyclealign.distill.pld.data import Items, Splits, hash_of, model_hashes
from cyclealign.distill.pld.model import Classifier, build, load
from cyclealign.distill.settings import bearing
from cyclealign.distill.training import Loop, trained_folder
from cyclealign.errors import DistillError
from cyclealign.progress import OnProgress
from cyclealign.records import content_id

ITEMS_PER_PART = 2048


def label(
    folder: Path, config: Config, splits: Splits, on_training_progress: OnProgress, on_progress: OnProgress
) -> Arrays:
    """Return the teacher's logits of every split, computed at most once, part by part.

    Args:
        folder: the label cache; a teacher that is trained here is kept in it.
        config: names the teacher.
        splits: the items.
        on_training_progress: called with the epochs of the teacher's training.
        on_progress: called with the parts of the split that is being labelled.

    Returns:
        ``train`` (its views one after the other), ``valid`` and ``test``, each of shape (items, classes), the classes
        in the order of the data.

    Raises:
        DistillError: the teacher cannot be loaded, or has other classes than the data.
    """
    made_of = {
        "teacher": settings_identity(config.teacher),
        "known by": model_hashes(config.teacher),
        "trained on": [hash_of(splits.train), splits.views] if config.teacher.epochs else None,
        "classes": splits.classes,
        "seed": config.seed,
    }
    if config.teacher.epochs:
        made_of |= {f"trainer {number}": part for number, part in enumerate(bearing(config.trainer))}
    teacher_dir = folder / f"teacher-{content_id(made_of)}"
    teacher = LazyTeacher(lambda: load_or_train(teacher_dir, config, splits, on_training_progress))
    labels: Arrays = {}
    for name, items in splits.named().items():

        def logits(part: range, items: Items = items) -> Arrays:
            chosen = Items(items.inputs[part.start : part.stop], items.labels[part.start : part.stop])
            classifier = teacher.get()
            return {"logits": reorder_classes(predict.logits(classifier, chosen), classifier, splits.classes)}

        parts = parts_of(len(items.labels), ITEMS_PER_PART)
        of_split = {**made_of, "items": hash_of(items)}
        labels[name] = cached_labels_in_parts(folder, of_split, parts, logits, on_progress)["logits"]
    return labels


class LazyTeacher:
    """A teacher that is loaded on first use: not at all if all labels are cached."""

    def __init__(self, load_teacher: Callable[[], Classifier]) -> None:
        self._load = load_teacher
        self._classifier: Classifier | None = None

    def get(self) -> Classifier:
        """Return the teacher."""
        if self._classifier is None:
            self._classifier = self._load()
        return self._classifier


def load_or_train(folder: Path, config: Config, splits: Splits, on_progress: OnProgress) -> Classifier:
    """Return the teacher; if ``teacher.epochs`` is not 0 it is trained at most once and kept in ``folder``."""
    channels = 3 if config.data.colour else 1
    if config.teacher.epochs == 0:
        return build(config.teacher, splits.classes, config.data.texts, channels, config.seed)

    def make(unfinished: Path, loop: Loop) -> None:
        classifier = build(config.teacher, splits.classes, config.data.texts, channels, config.seed)
        unused_logits = np.zeros((len(splits.train.labels), len(splits.classes)), dtype=np.float32)
        train.fit(classifier, splits, unused_logits, "ce", config.teacher, {}, config.seed, on_progress, loop)
        classifier.save(unfinished)

    return load(trained_folder(folder, config.trainer, make), config.data.texts)


def reorder_classes(logits: NDArray[np.float32], classifier: Classifier, classes: Sequence[str]) -> NDArray[np.float32]:
    """Return the columns in the order of the data's classes, matched by name; shape (items, classes).

    A model whose classes have no names (LABEL_0, ...) is assumed to have the data's order.

    Raises:
        DistillError: the model has other classes than the data.
    """
    names: dict[Any, str] = classifier.model.config.id2label
    columns = {str(names[number]): number for number in range(logits.shape[1]) if number in names}
    if set(columns) == set(classes):
        return logits[:, [columns[name] for name in classes]]
    if logits.shape[1] == len(classes) and all(name == f"LABEL_{number}" for name, number in columns.items()):
        return logits
    raise DistillError(
        f"The teacher has other classes ({', '.join(list(columns)[:4])} ...) than the data ({', '.join(classes[:4])} "
        "...). Rename the data's classes, or set teacher.epochs to train it with a head for the data's classes."
    )
