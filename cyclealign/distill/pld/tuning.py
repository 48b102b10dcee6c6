"""Tune the settings of each arm on the validation items, then train its runs with the best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from cyclealign.distill.label_cache import Arrays
from cyclealign.distill.pld import model, predict, train
from cyclealign.distill.pld.config import ArmSettings, Config
from cyclealign.distill.pld.data import Items, Splits
from cyclealign.distill.pld.evaluate import ArmResult, accuracy
from cyclealign.distill.training import Loop, trained_folder
from cyclealign.progress import OnProgress

# Added to the number of a run, so that no tuning run starts from the weights of a run that is tested.
TUNING_SEEDS = 500


@dataclass(frozen=True)
class ArmRunner:
    """Trains the students of all arms, which differ only in the loss and its settings.

    Attributes:
        config: of the job.
        splits: the items.
        labels: the teacher's logits by split, see `cyclealign.distill.pld.labels.label`.
        stage_dir: returns the folder of a student by its name and the tried settings.
        step_progress: returns what is called with the steps of one student, by its name.
    """

    config: Config
    splits: Splits
    labels: Arrays
    stage_dir: Callable[[str, Mapping[str, float]], Path]
    step_progress: Callable[[str], OnProgress] = lambda label: lambda done, of: None

    def run(self, arm: ArmSettings, on_progress: OnProgress) -> ArmResult:
        """Tune and train one arm; students that exist are reused.

        Args:
            arm: its loss, and the settings to try; a single try is not tuned.
            on_progress: called with the number of students done and their total.
        """
        runs, tuning_runs = range(self.config.runs), range(self.config.tuning_runs if len(arm.tries) > 1 else 0)
        total = len(tuning_runs) * len(arm.tries) + len(runs)
        on_progress(0, total)
        validation: list[float] = []
        for number, tried in enumerate(arm.tries):
            accuracies = [self.accuracy(arm, tried, TUNING_SEEDS + run, self.splits.valid) for run in tuning_runs]
            validation += [fmean(accuracies)] if accuracies else []
            on_progress(len(tuning_runs) * (number + 1), total)
        chosen = validation.index(max(validation)) if validation else 0
        best = arm.tries[chosen]
        top1, top5 = [], []
        for run in runs:
            top1.append(self.accuracy(arm, best, run, self.splits.test))
            top5.append(self.accuracy(arm, best, run, self.splits.test, 5))
            on_progress(total - len(runs) + run + 1, total)
        return ArmResult(tuple(validation), chosen, tuple(top1), tuple(top5))

    def accuracy(self, arm: ArmSettings, tried: Mapping[str, float], run: int, items: Items, top: int = 1) -> float:
        """Return the top-``top`` accuracy of the student of a try and run, from 0 to 1."""
        folder = self.fit(arm.loss, tried, run)
        logits = predict.logits(model.load(folder, self.config.data.texts), items)
        return accuracy(logits, items.labels, top)

    def fit(self, loss: str, tried: Mapping[str, float], run: int) -> Path:
        """Return the folder of a student, trained at most once.

        All arms of a run start from the same weights and see the same batches.
        """
        folder = self.student_dir(loss, tried, run)
        config, seed = self.config, self.config.seed * 1000 + run

        def make(unfinished: Path, loop: Loop) -> None:
            channels = 3 if config.data.colour else 1
            student = model.build(config.student, self.splits.classes, config.data.texts, channels, seed)
            on_progress = self.step_progress(f"train {loss} {run}")
            labels = self.labels["train"]
            train.fit(student, self.splits, labels, loss, config.student, tried, seed, on_progress, loop)
            student.save(unfinished)

        return trained_folder(folder, config.trainer, make)

    def student_dir(self, loss: str, tried: Mapping[str, float], run: int) -> Path:
        """Return the folder of a student, whether it exists or not."""
        return self.stage_dir(f"{loss} {run}", tried)
