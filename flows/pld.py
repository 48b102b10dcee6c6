"""PLD as a Prefect flow: label once, fit the arms from equal starts, examine all with one evaluator."""

from pathlib import Path

import torch
from prefect import flow

from cyclealign.config import load_settings
from cyclealign.distill.labels import Arrays, labelled
from cyclealign.distill.pld import data, evaluate, predict, student, teacher
from cyclealign.distill.pld.config import ArmSettings, Config
from cyclealign.files import appearing_folder
from flows.distilling import Job, opened

# The form in the UI is filled from this instance: the demo's settings, which work at once on any machine.
FORM = load_settings(Path(__file__).parent / "configs" / "pld-demo.toml", Config)


@flow(name="pld", flow_run_name="pld-seed-{config.seed}", persist_result=False, validate_parameters=True)
def pld(config: Config = FORM) -> int:
    """Distil a classifier by PLD, beside other losses.

    Args:
        config: The data, the teacher, the student and the arms.

    Returns:
        The id of the run in the history.
    """
    with opened("pld", config) as job:
        if job.finished:
            return job.id
        splits = job.step("data", data.load, config.data, config.seed)
        labels = job.step("label", label, job, config, splits)
        accuracies: dict[str, list[float]] = {
            arm.loss: [
                job.step(f"fit {arm.loss}", fit, job, config, splits, labels, arm, run) for run in range(config.runs)
            ]
            for arm in config.arms
        }
        measures = [evaluate.teacher_measure(labels["test"], splits.test.labels), *evaluate.arm_measures(accuracies)]
        return job.report(measures)


def label(job: Job, config: Config, splits: data.Splits) -> Arrays:
    """The teacher's logits of all splits, computed once for the same data and teacher."""
    made_of = {"data": config.data.model_dump(), "teacher": config.teacher.model_dump(), "seed": config.seed}

    def make() -> Arrays:
        model = teacher.fresh_classifier(config.teacher, len(splits.classes), config.seed)
        nothing = torch.zeros(len(splits.train.labels), len(splits.classes))
        student.fit(model, splits.train, nothing, "ce", config.teacher, {}, config.seed, job.tells("train the teacher"))
        each = {"train": splits.train, "valid": splits.valid, "test": splits.test}
        return {name: predict.logits(model, items.images) for name, items in each.items()}

    return labelled(job.labels, made_of, make)


def fit(job: Job, config: Config, splits: data.Splits, labels: Arrays, arm: ArmSettings, run: int) -> float:
    """Train one student; its accuracy on the test items. Arms of the same run start from the same weights."""
    folder = job.folder / f"{arm.loss}-{run}"
    if not folder.exists():
        seed = config.seed * 1000 + run
        model = teacher.fresh_classifier(config.student, len(splits.classes), seed)
        logits = torch.from_numpy(labels["train"])
        student.fit(model, splits.train, logits, arm.loss, config.student, arm.tries[0], seed)
        with appearing_folder(folder) as made:
            model.save_pretrained(made)
    model = teacher.load(folder)
    if arm.loss == "pld":
        job.student(folder)
    return float(evaluate.hits(predict.logits(model, splits.test.images), splits.test.labels).mean())
