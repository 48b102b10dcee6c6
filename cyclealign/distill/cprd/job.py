"""CPRD: the teacher scores all pairs once, each arm is fitted from equal starts, one examination."""

from pathlib import Path

from cyclealign.config import settings_identity
from cyclealign.distill.cprd import data, evaluate, predict, student, teacher, train
from cyclealign.distill.cprd.config import DEMO, VERSION, Config
from cyclealign.distill.cprd.data import Pairs, Splits
from cyclealign.distill.data.datasets import fingerprint
from cyclealign.distill.label_cache import Arrays, in_parts, labelled, labelled_in_parts
from cyclealign.distill.legacy import CPRD_SIMULATED_TEACHER
from cyclealign.distill.models.encoders import identity
from cyclealign.distill.settings import version_key
from cyclealign.distill.steps import Outcome, Steps
from cyclealign.files import appearing_folder, hash_of_file

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "cprd"
IMAGES_A_PART = 16


def run(config: Config, steps: Steps) -> Outcome:
    """Distil a cross-encoder's order of hard negatives into a dual encoder, beside other losses."""
    splits = steps.step("data", data.load, config.data, config.seed)
    # A student that cannot be loaded, or whose data do not fit it, is found before the teacher scores for hours.
    steps.step("student", student.fresh, config.student, splits.train, config.data, config.seed)
    scores = steps.step("label", label, steps, config, splits.train)["scores"]
    folders: dict[str, list[Path]] = {
        arm: [
            steps.step(f"fit {arm}", fit, steps, config, splits, scores, arm, number) for number in range(config.runs)
        ]
        for arm in config.arms
    }
    truth, own = splits.test.overlap().astype(float), splits.test.own()
    found = {
        arm: [predict.similarities(student.load(str(each), config.data), splits.test) for each in row]
        for arm, row in folders.items()
    }
    figures = {arm: [evaluate.figures(each, truth, own) for each in row] for arm, row in found.items()}
    curves = [evaluate.curve(arm, row, own) for arm, row in found.items()]
    return Outcome(evaluate.measures(figures), curves, folders.get(evaluate.REFERENCE, folders[config.arms[-1]])[0])


def inputs(config: Config) -> dict[str, str]:
    """What the data and models that the config names are known by, so that others make another run."""
    found = {} if config.data.source == DEMO else {"data": fingerprint(config.data.source)}
    if config.student.model != DEMO:
        found["student"] = identity(config.student.model)
    if config.teacher.model != "simulated":
        found["teacher"] = teacher_identity(config.teacher.model)
    return found


def teacher_identity(model: str) -> str:
    """The hash of a score file, or what a cross-encoder is known by; a missing file is found by its reader."""
    return hash_of_file(Path(model)) if Path(model).is_file() else identity(model)


def label(steps: Steps, config: Config, pairs: Pairs) -> Arrays:
    """The teacher's match probabilities of all training images with all training texts, computed once."""
    settings = config.teacher
    if settings.model == "simulated":
        # Labels of version 1 are keyed as 0.1.0 keyed them.
        code = CPRD_SIMULATED_TEACHER if VERSION == 1 else version_key("cprd", VERSION)
        teacher_settings = settings_identity(settings)
        made_of = {"pairs": pairs.content(), "teacher": teacher_settings, "seed": config.seed, "code": code}
        return labelled(steps.labels, made_of, lambda: {"scores": teacher.simulated(pairs, settings, config.seed)})
    if Path(settings.model).suffix in (".npz", ".npy"):
        return {"scores": teacher.from_file(Path(settings.model), pairs)}
    encoder = teacher.CrossEncoder(settings.model, config.data.image_size)
    made_of = {"pairs": pairs.content(), "teacher": teacher_identity(settings.model)}
    parts = in_parts(len(pairs.images), IMAGES_A_PART)
    return labelled_in_parts(
        steps.labels, made_of, parts, lambda part: encoder.rows(pairs, part), steps.progress("score pairs")
    )


def fit(steps: Steps, config: Config, splits: Splits, scores: teacher.Scores, arm: str, run: int) -> Path:
    """The folder of a student, trained unless it is there. Arms of the same run start from the same weights."""
    folder = steps.stage_dir(f"{arm} {run}", config.data, config.teacher, config.student, config.distillation)
    if not folder.exists():
        seed = config.seed * 1000 + run
        made = student.fresh(config.student, splits.train, config.data, seed)
        objective = train.Objective(arm, scores, splits.train.image, config.distillation)
        train.fit(made, splits.train, objective, config.student, seed, steps.progress(f"train {arm}"))
        with appearing_folder(folder) as final:
            made.save(final)
    return folder
