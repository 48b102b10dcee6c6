"""PLD as a Prefect flow: label once, fit the arms from equal starts, examine all with one evaluator."""

from collections.abc import Mapping
from pathlib import Path

from prefect import flow

from cyclealign.config import load_settings
from cyclealign.distill.label_cache import Arrays
from cyclealign.distill.pld import data, evaluate, model, teacher
from cyclealign.distill.pld.config import Config
from cyclealign.distill.pld.tuning import ArmRunner
from cyclealign.distill.run import Job, opened
from cyclealign.files import EXAMPLES

# The form in the UI is filled from this instance: the demo's settings, which work at once on any machine.
FORM = load_settings(EXAMPLES / "pld-demo.toml", Config)


@flow(name="pld", flow_run_name="pld-seed-{config.seed}", persist_result=False, validate_parameters=True)
def pld(config: Config = FORM) -> int:
    """Distil a classifier by PLD, beside other losses with as many settings tried for each.

    Args:
        config: The data, the teacher, the student and the arms.

    Returns:
        The id of the run in the history.
    """
    with opened("pld", config, data.hashes(config)) as job:
        if job.finished:
            return job.id
        splits = job.step("data", data.load, config.data, config.seed)
        channels = 3 if config.data.colour else 1
        # What is wrong with the student is said here, not after the teacher was trained.
        model.made(config.student, splits.classes, config.data.texts, channels, config.seed)
        tells = job.tells("train the teacher"), job.tells("label in parts")
        labels = job.step("label", teacher.label, job.labels, config, splits, *tells)

        bench = bench_of(job, config, splits, labels)
        arms: dict[str, evaluate.Trained] = {
            arm.loss: job.step(f"arm {arm.loss}", bench.run, arm, job.tells(f"students of {arm.loss}"))
            for arm in config.arms
        }
        if "pld" in arms:
            kept = next(arm for arm in config.arms if arm.loss == "pld")
            job.student(bench.student("pld", kept.tries[arms["pld"].chosen], run=0))

        measures = evaluate.teacher_measures(labels["test"], splits.test.labels)
        return job.report([*measures, *evaluate.arm_measures(arms)], evaluate.choice_curves(arms))


def bench_of(job: Job, config: Config, splits: data.Splits, labels: Arrays) -> ArmRunner:
    """What the arms share; students lie under all that makes them, the teacher's settings among it."""

    def place(stage: str, tried: Mapping[str, float]) -> Path:
        return job.place(stage, config.data, config.teacher, config.student, tried)

    return ArmRunner(config, splits, labels, place)
