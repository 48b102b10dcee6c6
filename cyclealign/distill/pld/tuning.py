"""The arms: each tries its settings on the validation items, then fits its runs with the best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from cyclealign.distill.label_cache import Arrays
from cyclealign.distill.pld import model, predict, train
from cyclealign.distill.pld.config import ArmSettings, Config
from cyclealign.distill.pld.data import Items, Splits
from cyclealign.distill.pld.evaluate import Trained, accuracy
from cyclealign.files import appearing_folder

TUNING_SEEDS = 500  # added to the number of a run: no run of a test starts where one of the tuning started


@dataclass(frozen=True)
class ArmRunner:
    """What the arms share: they differ in nothing but the loss and its settings.

    ``place`` gives the folder of a student's name and the settings that were tried with it.
    """

    config: Config
    splits: Splits
    labels: Arrays
    place: Callable[[str, Mapping[str, float]], Path]

    def run(self, arm: ArmSettings, tell: Callable[[int, int], None]) -> Trained:
        """Tune and fit one arm; students that are in their places already are not fitted again."""
        runs, tuning = range(self.config.runs), range(self.config.tuning_runs if len(arm.tries) > 1 else 0)
        of = len(tuning) * len(arm.tries) + len(runs)
        tell(0, of)
        tried: list[float] = []
        for number in range(len(arm.tries)):
            found = [self.accuracy(arm, arm.tries[number], TUNING_SEEDS + run, self.splits.valid) for run in tuning]
            tried += [fmean(found)] if found else []
            tell(len(tuning) * (number + 1), of)
        chosen = tried.index(max(tried)) if tried else 0
        best = arm.tries[chosen]
        top1, top5 = [], []
        for run in runs:
            top1.append(self.accuracy(arm, best, run, self.splits.test))
            top5.append(self.accuracy(arm, best, run, self.splits.test, 5))
            tell(of - len(runs) + run + 1, of)
        return Trained(tuple(tried), chosen, tuple(top1), tuple(top5))

    def accuracy(self, arm: ArmSettings, tried: Mapping[str, float], run: int, items: Items, top: int = 1) -> float:
        """Of the student that this try and run make."""
        folder = self.fitted(arm.loss, tried, run)
        found = predict.logits(model.load(folder, self.config.data.texts), items)
        return accuracy(found, items.labels, top)

    def fitted(self, loss: str, tried: Mapping[str, float], run: int) -> Path:
        """The folder of a student; arms of the same run start from the same weights and see the same batches."""
        final = self.student(loss, tried, run)
        if not final.exists():
            config, seed = self.config, self.config.seed * 1000 + run
            channels = 3 if config.data.colour else 1
            fresh = model.made(config.student, self.splits.classes, config.data.texts, channels, seed)
            train.fit(fresh, self.splits, self.labels["train"], loss, config.student, tried, seed)
            with appearing_folder(final) as made:
                fresh.save(made)
        return final

    def student(self, loss: str, tried: Mapping[str, float], run: int) -> Path:
        """Where a student lies, or will."""
        return self.place(f"{loss} {run}", tried)
