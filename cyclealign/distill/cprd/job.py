"""CPRD as a Prefect flow: the teacher scores all pairs once, each arm is fitted from equal starts, one examination."""

from pathlib import Path

from prefect import flow

from cyclealign.config import load_settings, settings_identity
from cyclealign.distill.cprd import data, evaluate, predict, student, teacher, train
from cyclealign.distill.cprd.config import DEMO, VERSION, Config
from cyclealign.distill.cprd.data import Pairs, Splits
from cyclealign.distill.data.datasets import fingerprint
from cyclealign.distill.label_cache import Arrays, in_parts, labelled, labelled_in_parts
from cyclealign.distill.legacy import CPRD_SIMULATED_TEACHER
from cyclealign.distill.models.encoders import identity
from cyclealign.distill.run import Job, opened
from cyclealign.distill.settings import version_key
from cyclealign.files import EXAMPLES, appearing_folder, hash_of_file

# The form in the UI is filled from this instance: the demo's settings, which work at once on any machine.
FORM = load_settings(EXAMPLES / "cprd-demo.toml", Config)
IMAGES_A_PART = 16


@flow(name="cprd", flow_run_name="cprd-seed-{config.seed}", persist_result=False, validate_parameters=True)
def cprd(config: Config = FORM) -> int:
    """Distil a cross-encoder's order of hard negatives into a dual encoder, beside other losses.

    Args:
        config: The images and captions, the teacher, the student and the arms.

    Returns:
        The id of the run in the history.
    """
    with opened("cprd", config, inputs_of(config)) as job:
        if job.finished:
            return job.id
        splits = job.step("data", data.load, config.data, config.seed)
        # A student that cannot be loaded, or whose data do not fit it, is found before the teacher scores for hours.
        job.step("student", student.fresh, config.student, splits.train, config.data, config.seed)
        scores = job.step("label", label, job, config, splits.train)["scores"]
        folders: dict[str, list[Path]] = {
            arm: [job.step(f"fit {arm}", fit, job, config, splits, scores, arm, run) for run in range(config.runs)]
            for arm in config.arms
        }
        job.student(folders.get(evaluate.REFERENCE, folders[config.arms[-1]])[0])
        truth, own = splits.test.overlap().astype(float), splits.test.own()
        found = {
            arm: [predict.similarities(student.load(str(each), config.data), splits.test) for each in row]
            for arm, row in folders.items()
        }
        figures = {arm: [evaluate.figures(each, truth, own) for each in row] for arm, row in found.items()}
        return job.report(evaluate.measures(figures), [evaluate.curve(arm, row, own) for arm, row in found.items()])


def inputs_of(config: Config) -> dict[str, str]:
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


def label(job: Job, config: Config, pairs: Pairs) -> Arrays:
    """The teacher's match probabilities of all training images with all training texts, computed once."""
    settings = config.teacher
    if settings.model == "simulated":
        # Labels of version 1 are keyed as 0.1.0 keyed them.
        code = CPRD_SIMULATED_TEACHER if VERSION == 1 else version_key("cprd", VERSION)
        teacher_settings = settings_identity(settings)
        made_of = {"pairs": pairs.content(), "teacher": teacher_settings, "seed": config.seed, "code": code}
        return labelled(job.labels, made_of, lambda: {"scores": teacher.simulated(pairs, settings, config.seed)})
    if Path(settings.model).suffix in (".npz", ".npy"):
        return {"scores": teacher.from_file(Path(settings.model), pairs)}
    encoder = teacher.CrossEncoder(settings.model, config.data.image_size)
    made_of = {"pairs": pairs.content(), "teacher": teacher_identity(settings.model)}
    parts = in_parts(len(pairs.images), IMAGES_A_PART)
    return labelled_in_parts(
        job.labels, made_of, parts, lambda part: encoder.rows(pairs, part), job.tells("score pairs")
    )


def fit(job: Job, config: Config, splits: Splits, scores: teacher.Scores, arm: str, run: int) -> Path:
    """The folder of a student, trained unless it is there. Arms of the same run start from the same weights."""
    folder = job.place(f"{arm} {run}", config.data, config.teacher, config.student, config.distillation)
    if not folder.exists():
        seed = config.seed * 1000 + run
        made = student.fresh(config.student, splits.train, config.data, seed)
        objective = train.Objective(arm, scores, splits.train.image, config.distillation)
        train.fit(made, splits.train, objective, config.student, seed, job.tells(f"train {arm}"))
        with appearing_folder(folder) as final:
            made.save(final)
    return folder
