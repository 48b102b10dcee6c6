"""CPRD: the teacher scores all pairs once, and a student is trained for each arm from the same weights."""

from pathlib import Path

from cyclealign.distill.cprd import data, evaluate, predict, sources, student, train
from cyclealign.distill.cprd.config import DEMO, VERSION, Config
from cyclealign.distill.cprd.data import Splits
from cyclealign.distill.cprd.labels import label, teacher_identity
from cyclealign.distill.cprd.score_file import Scores
from cyclealign.distill.data.datasets import fingerprint
from cyclealign.distill.models.encoders import model_identity
from cyclealign.distill.settings import bearing
from cyclealign.distill.steps import Outcome, Steps
from cyclealign.distill.training import Loop, trained_folder

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "cprd"


def inputs(config: Config) -> dict[str, str]:
    """Return content hashes of the data and models that the config names; other content is another run.

    Raises:
        DistillError: the data set is missing.
    """
    hashes = {} if config.data.source == DEMO else {"data": fingerprint(config.data.source)}
    if config.data.source != DEMO and sources.has_turned(config.data):
        hashes["images"] = "upright"  # students of images as 0.1.0 read them are not those of today
    if config.student.model != DEMO:
        hashes["student"] = model_identity(config.student.model)
    if config.teacher.model != "simulated":
        hashes["teacher"] = teacher_identity(config.teacher.model)
    return hashes


def run(config: Config, steps: Steps) -> Outcome:
    """Distil a cross-encoder's order of hard negatives into a dual encoder, and compare it with other losses."""
    splits = steps.step("data", data.load, config.data, config.seed)
    # A student that cannot be loaded, or does not fit the data, is reported before the teacher scores for hours.
    steps.step("student", student.fresh, config.student, splits.train, config.data, config.seed)
    scores = steps.step("label", label, steps.labels, config, splits.train, steps.progress("score pairs"))
    folders: dict[str, list[Path]] = {
        arm: [steps.step(f"fit {arm}", fit, steps, config, splits, scores, arm, run) for run in range(config.runs)]
        for arm in config.arms
    }
    overlap, own = splits.test.overlap().astype(float), splits.test.own()
    similarities = {
        arm: [predict.similarities(student.load(str(folder), config.data), splits.test) for folder in row]
        for arm, row in folders.items()
    }
    figures = {arm: [evaluate.figures(run, overlap, own) for run in runs] for arm, runs in similarities.items()}
    curves = [evaluate.curve(arm, runs, own) for arm, runs in similarities.items()]
    kept = folders.get(evaluate.REFERENCE, folders[config.arms[-1]])[0]
    return Outcome(evaluate.measures(figures), curves, kept)


def fit(steps: Steps, config: Config, splits: Splits, scores: Scores, arm: str, run: int) -> Path:
    """Return the folder of a student, trained at most once. Arms of the same run start from the same weights."""

    def make(unfinished: Path, loop: Loop) -> None:
        seed = config.seed * 1000 + run
        dual_encoder = student.fresh(config.student, splits.train, config.data, seed)
        objective = train.Objective(arm, scores, splits.train.image, config.distillation)
        on_progress = steps.progress(f"train {arm}")
        train.fit(dual_encoder, splits.train, objective, config.student, seed, on_progress, loop)
        dual_encoder.save(unfinished)

    folder = steps.stage_dir(
        f"{arm} {run}", config.data, config.teacher, config.student, config.distillation, *bearing(config.trainer)
    )
    return trained_folder(folder, config.trainer, make)
