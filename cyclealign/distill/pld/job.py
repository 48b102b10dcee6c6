"""PLD: the teacher labels all items once, then the students of each arm are tuned, trained and tested."""

from collections.abc import Mapping
from pathlib import Path

from cyclealign.distill.label_cache import Arrays
from cyclealign.distill.pld import data, evaluate, model
from cyclealign.distill.pld.config import VERSION, Config
from cyclealign.distill.pld.labels import label
from cyclealign.distill.pld.tuning import ArmRunner
from cyclealign.distill.settings import bearing
from cyclealign.distill.steps import Outcome, Steps

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "pld"


def inputs(config: Config) -> dict[str, str]:
    """Return content hashes of the data and models that the config names; other content is another run."""
    return data.hashes(config)


def run(config: Config, steps: Steps) -> Outcome:
    """Distil a classifier with PLD, and compare it with other losses, each tuned over as many settings."""
    splits = steps.step("data", data.load, config.data, config.seed)
    # A student that cannot be built is reported before the teacher is trained.
    model.build(config.student, splits.classes, config.data.texts, 3 if config.data.colour else 1, config.seed)
    callbacks = steps.progress("train the teacher"), steps.progress("label in parts")
    labels = steps.step("label", label, steps.labels, config, splits, *callbacks)
    runner = arm_runner(steps, config, splits, labels)
    results: dict[str, evaluate.ArmResult] = {
        arm.loss: steps.step(f"arm {arm.loss}", runner.run, arm, steps.progress(f"students of {arm.loss}"))
        for arm in config.arms
    }
    measures = evaluate.teacher_measures(labels["test"], splits.test.labels) + evaluate.arm_measures(results)
    kept = [
        runner.student_dir(arm.loss, arm.tries[results[arm.loss].chosen], run=0)
        for arm in config.arms
        if arm.loss == evaluate.REFERENCE
    ]
    return Outcome(measures, evaluate.tuning_curves(results), kept[0] if kept else None)


def arm_runner(steps: Steps, config: Config, splits: data.Splits, labels: Arrays) -> ArmRunner:
    """Return the runner of the arms. A student depends on data, teacher and student settings, and on what was tried."""

    def stage_dir(stage: str, tried: Mapping[str, float]) -> Path:
        return steps.stage_dir(stage, config.data, config.teacher, config.student, tried, *bearing(config.trainer))

    return ArmRunner(config, splits, labels, stage_dir, steps.progress)
