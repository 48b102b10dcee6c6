"""The toy job: labels are numbers, the student is a file with their mean."""

from pathlib import Path

import numpy as np

from cyclealign.distill.label_cache import cached_labels
from cyclealign.distill.steps import Outcome, Steps
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve
from tests.distill.toy.config import VERSION, Config

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "toy"


def inputs(config: Config) -> dict[str, str]:
    """Name no files."""
    return {}


def run(config: Config, steps: Steps) -> Outcome:
    """Label, train and evaluate."""
    numbers = steps.step("label", label, steps, config)

    def train(folder: Path) -> None:
        steps.progress("train")(1, 1)
        (folder / "mean.txt").write_text(str(numbers.mean()))

    student = steps.step("fit {mean}", steps.stage, "mean", [{"size": config.size}], train)
    mean = float((student / "mean.txt").read_text())
    return Outcome([Metric("value", mean, arm="mean")], [Curve("mean", "curve", "x", (1.0,), (mean,))], student)


def label(steps: Steps, config: Config) -> np.ndarray:
    """Return the numbers, computed once."""
    return cached_labels(steps.labels, {"size": config.size}, lambda: {"numbers": np.arange(config.size)})["numbers"]
