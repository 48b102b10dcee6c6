"""The interface between a job and its runner: timed steps, folders of stages and labels, progress, the outcome.

Knows neither the store nor Prefect: `cyclealign.distill.run` and the flows pass in what they add to a step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from cyclealign.config import Section, settings_identity
from cyclealign.files import appearing_folder, home
from cyclealign.progress import OnProgress, report_progress
from cyclealign.records import Metric, content_id
from cyclealign.records.distillation import Curve

P = ParamSpec("P")
R = TypeVar("R")


class StepRunner(Protocol):
    """Runs a step under its name: directly, or as a Prefect task."""

    def __call__(self, name: str, call: Callable[[], R]) -> R:
        """Return what ``call`` returns."""
        ...


def call_step(name: str, call: Callable[[], R]) -> R:
    """Run a step in this thread, without recording it."""
    return call()


@dataclass(frozen=True)
class Outcome:
    """The results of a job.

    Attributes:
        measures: the figures of teacher and arms, in the order in which the report shows them.
        curves: lines of the report's plot.
        student: the complete folder of the student to keep.
    """

    measures: Sequence[Metric]
    curves: Sequence[Curve] = ()
    student: Path | None = None


@dataclass(frozen=True)
class Steps:
    """The steps and folders of one run of a job.

    Attributes:
        job: name of the job.
        made_by: hash of everything that each stage depends on: files that the config names, version, seed.
        made_by_before: the same hash as release 0.1.0 formed it, where this version computes the same.
        run_step: runs a step under its name.
    """

    job: str
    made_by: str
    made_by_before: str | None = None
    run_step: StepRunner = call_step

    @property
    def labels(self) -> Path:
        """The folder of the job's label cache; runs with the same teacher and data share its labels."""
        return home() / "distill" / self.job / "labels"

    def step(self, name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function as a step of the run; its seconds are stored under ``name``, even if it raises."""
        report_progress(name, 0, 1)
        result = self.run_step(name, lambda: function(*args, **kwargs))
        report_progress(name, 1, 1)
        return result

    def stage_dir(self, stage: str, *made_of: Section | Mapping[str, object]) -> Path:
        """Return the folder of a stage: its name and the hash of everything that it is made of.

        Runs share the stages that are made of the same, so a student is reused when other settings change, such as
        those of the evaluation. A run with ``force`` has folders of its own. A stage of 0.1.0 keeps its folder.

        Args:
            stage: name of the stage, unique within the job.
            made_of: the settings that bear on it; version, seed and the content of files are added.
        """
        settings = [settings_identity(part) if isinstance(part, Section) else dict(part) for part in made_of]

        def folder(made_by: str) -> Path:
            made = content_id("stage", made_by, stage, settings)
            name = f"{stage.replace(', ', '-').replace(' ', '-')}-{made[:16]}"
            return home() / "distill" / self.job / "stages" / name

        before = folder(self.made_by_before) if self.made_by_before else None
        # An interrupted training has left no folder yet, but the checkpoints next to it.
        if before and (before.exists() or checkpoint_dir(before).exists()):
            return before
        return folder(self.made_by)

    def stage(
        self, stage: str, made_of: Sequence[Section | Mapping[str, object]], make: Callable[[Path], object]
    ) -> Path:
        """Return the folder of a stage, which ``make`` fills unless it exists. See `stage_dir`.

        Args:
            make: writes the stage's files into the folder that it is given, which then appears as a whole.
        """
        folder = self.stage_dir(stage, *made_of)
        if not folder.exists():
            with appearing_folder(folder) as unfinished:
                make(unfinished)
        return folder

    def progress(self, label: str) -> OnProgress:
        """Return a callback through which the library reports its progress under ``label``."""
        return lambda done, of: report_progress(label, done, of)


def checkpoint_dir(stage_dir: Path) -> Path:
    """Return the folder of a stage's checkpoints, next to the stage: it remains if the training is interrupted."""
    return stage_dir.with_name(f"{stage_dir.name}-steps")
