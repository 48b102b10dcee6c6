"""The teacher: a trained classifier as it is, or one that learns from the labels first; its logits are data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclealign.config import settings_identity
from cyclealign.distill.label_cache import Arrays, in_parts, labelled_in_parts
from cyclealign.distill.pld import predict, train
from cyclealign.distill.pld.config import Config
from cyclealign.distill.pld.data import Items, Splits, hash_of, model_hashes
from cyclealign.distill.pld.model import Classifier, load, made
from cyclealign.errors import DistillError
from cyclealign.files import appearing_folder
from cyclealign.records import content_id

LABELLED_AT_ONCE = 2048

Tell = Callable[[int, int], None]


def label(folder: Path, config: Config, splits: Splits, train_tell: Tell, tell: Tell) -> Arrays:
    """The teacher's logits of every split, in the order of our classes; computed once, part by part.

    Args:
        folder: where teachers and their labels lie.

    Returns:
        ``train`` (its views one after the other), ``valid`` and ``test``, each of shape (items, classes).
    """
    made_of = {
        "teacher": settings_identity(config.teacher),
        "known by": model_hashes(config.teacher),
        "trained on": [hash_of(splits.train), splits.views] if config.teacher.epochs else None,
        "classes": splits.classes,
        "seed": config.seed,
    }
    teacher = Lazily(lambda: trained(folder / f"teacher-{content_id(made_of)}", config, splits, train_tell))
    found: Arrays = {}
    for name, items in splits.named().items():
        parts = in_parts(len(items.labels), LABELLED_AT_ONCE)

        def logits(part: range, items: Items = items) -> Arrays:
            some = Items(items.inputs[part.start : part.stop], items.labels[part.start : part.stop])
            return {"logits": in_our_order(predict.logits(teacher.get(), some), teacher.get(), splits.classes)}

        found[name] = labelled_in_parts(folder, {**made_of, "items": hash_of(items)}, parts, logits, tell)["logits"]
    return found


class Lazily:
    """A teacher that is made when first wanted: labels that are all there need none."""

    def __init__(self, make: Callable[[], Classifier]) -> None:
        self.make = make
        self.made: Classifier | None = None

    def get(self) -> Classifier:
        if self.made is None:
            self.made = self.make()
        return self.made


def trained(folder: Path, config: Config, splits: Splits, tell: Tell) -> Classifier:
    """The teacher as it is used; one that is trained here is kept in ``folder``."""
    channels = 3 if config.data.colour else 1
    if config.teacher.epochs == 0:
        return made(config.teacher, splits.classes, config.data.texts, channels, config.seed)
    if not folder.exists():
        classifier = made(config.teacher, splits.classes, config.data.texts, channels, config.seed)
        without_teacher = np.zeros((len(splits.train.labels), len(splits.classes)), dtype=np.float32)
        train.fit(classifier, splits, without_teacher, "ce", config.teacher, {}, config.seed, tell)
        with appearing_folder(folder) as made_there:
            classifier.save(made_there)
    return load(folder, config.data.texts)


def in_our_order(logits: NDArray[np.float32], classifier: Classifier, classes: Sequence[str]) -> NDArray[np.float32]:
    """The columns in the order of our classes, by their names.

    A model whose labels have no names (LABEL_0, ...) is taken to be in our order.

    Raises:
        DistillError: its classes are not ours.
    """
    names: dict[Any, str] = classifier.model.config.id2label
    columns = {str(names[number]): number for number in range(logits.shape[1]) if number in names}
    if set(columns) == set(classes):
        return logits[:, [columns[name] for name in classes]]
    if logits.shape[1] == len(classes) and all(name == f"LABEL_{number}" for name, number in columns.items()):
        return logits
    raise DistillError(
        f"The teacher knows other classes ({', '.join(list(columns)[:4])} ...) than the data ({', '.join(classes[:4])} "
        "...). Rename the data's, or set teacher.epochs to train it with a head of the data's classes."
    )
