"""CPRD as a Prefect flow: the teacher scores all pairs once, each arm is fitted from equal starts, one examination."""

from pathlib import Path

from prefect import flow

from cyclealign.config import load_settings
from cyclealign.distill.cprd import data, evaluate, predict, student, teacher
from cyclealign.distill.cprd.config import Config
from cyclealign.distill.cprd.data import Pairs, Splits
from cyclealign.distill.labels import Arrays, in_parts, labelled, labelled_in_parts
from cyclealign.files import appearing_folder, hash_of_file
from flows.distilling import Job, opened

# The form in the UI is filled from this instance: the demo's settings, which work at once on any machine.
FORM = load_settings(Path(__file__).parent / "configs" / "cprd-demo.toml", Config)
IMAGES_A_PART = 16


@flow(name="cprd", flow_run_name="cprd-seed-{config.seed}", persist_result=False, validate_parameters=True)
def cprd(config: Config = FORM) -> int:
    """Distil a cross-encoder's order of hard negatives into a dual encoder, beside other losses.

    Args:
        config: The images and captions, the teacher, the student and the arms.

    Returns:
        The id of the run in the history.
    """
    inputs = inputs_of(config)
    with opened("cprd", config, inputs) as job:
        if job.finished:
            return job.id
        splits = job.step("data", data.load, config.data, config.seed)
        scores = job.step("label", label, job, config, splits.train, inputs)["scores"]
        folders: dict[str, list[Path]] = {
            arm: [job.step(f"fit {arm}", fit, job, config, splits, scores, arm, run) for run in range(config.runs)]
            for arm in config.arms
        }
        job.student(folders.get(evaluate.REFERENCE, folders[config.arms[-1]])[0])
        truth = splits.test.overlap().astype(float)
        found = {
            arm: [predict.similarities(student.load(str(each), config.data.most_words), splits.test) for each in row]
            for arm, row in folders.items()
        }
        figures = {arm: [evaluate.figures(each, truth) for each in row] for arm, row in found.items()}
        return job.report(evaluate.measures(figures), [evaluate.curve(arm, row) for arm, row in found.items()])


def inputs_of(config: Config) -> dict[str, str]:
    """The hashes of the files that the config names, as far as they are there; a missing one is found by its reader."""
    paths = {"captions": Path(config.data.source) / data.CAPTIONS, "teacher": Path(config.teacher.model)}
    return {name: hash_of_file(path) for name, path in paths.items() if path.is_file()}


def label(job: Job, config: Config, pairs: Pairs, inputs: dict[str, str]) -> Arrays:
    """The teacher's match probabilities of all training images with all training texts, computed once."""
    settings = config.teacher
    made_of = {"data": config.data.model_dump(), "teacher": settings.model_dump(), "seed": config.seed, **inputs}
    if settings.model == "simulated":
        return labelled(job.labels, made_of, lambda: {"scores": teacher.simulated(pairs, settings, config.seed)})
    if settings.model.endswith(".npy"):
        return {"scores": teacher.from_file(Path(settings.model), len(pairs))}
    encoder = teacher.CrossEncoder(settings.model)
    parts = in_parts(len(pairs), IMAGES_A_PART)
    return labelled_in_parts(
        job.labels, made_of, parts, lambda part: encoder.rows(pairs, part), job.tells("score pairs")
    )


def fit(job: Job, config: Config, splits: Splits, scores: teacher.Scores, arm: str, run: int) -> Path:
    """The folder of a student, trained unless it is there. Arms of the same run start from the same weights."""
    folder = job.folder / f"{arm.replace(' ', '-')}-{run}"
    if not folder.exists():
        seed = config.seed * 1000 + run
        made = student.fresh(config.student, splits.train, config.data.most_words, seed)
        tell = job.tells(f"train {arm}")
        student.fit(made, splits.train, scores, arm, config.student, config.distillation, seed, tell)
        with appearing_folder(folder) as final:
            made.save(final)
    return folder
