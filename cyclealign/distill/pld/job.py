"""PLD: label once, fit the arms from equal starts, examine all with one evaluator."""

from collections.abc import Mapping
from pathlib import Path

from cyclealign.distill.label_cache import Arrays
from cyclealign.distill.pld import data, evaluate, model, teacher
from cyclealign.distill.pld.config import VERSION, Config
from cyclealign.distill.pld.tuning import ArmRunner
from cyclealign.distill.steps import Outcome, Steps

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "pld"


def inputs(config: Config) -> dict[str, str]:
    """Return the hashes of the data and models that the config names."""
    return data.hashes(config)


def run(config: Config, steps: Steps) -> Outcome:
    """Distil a classifier by PLD, beside other losses with as many settings tried for each."""
    splits = steps.step("data", data.load, config.data, config.seed)
    channels = 3 if config.data.colour else 1
    # What is wrong with the student is said here, not after the teacher was trained.
    model.made(config.student, splits.classes, config.data.texts, channels, config.seed)
    tells = steps.progress("train the teacher"), steps.progress("label in parts")
    labels = steps.step("label", teacher.label, steps.labels, config, splits, *tells)

    bench = bench_of(steps, config, splits, labels)
    arms: dict[str, evaluate.Trained] = {
        arm.loss: steps.step(f"arm {arm.loss}", bench.run, arm, steps.progress(f"students of {arm.loss}"))
        for arm in config.arms
    }
    student = None
    if "pld" in arms:
        kept = next(arm for arm in config.arms if arm.loss == "pld")
        student = bench.student("pld", kept.tries[arms["pld"].chosen], run=0)

    measures = evaluate.teacher_measures(labels["test"], splits.test.labels)
    return Outcome([*measures, *evaluate.arm_measures(arms)], evaluate.choice_curves(arms), student)


def bench_of(steps: Steps, config: Config, splits: data.Splits, labels: Arrays) -> ArmRunner:
    """What the arms share; students lie under all that makes them, the teacher's settings among it."""

    def place(stage: str, tried: Mapping[str, float]) -> Path:
        return steps.stage_dir(stage, config.data, config.teacher, config.student, tried)

    return ArmRunner(config, splits, labels, place)
