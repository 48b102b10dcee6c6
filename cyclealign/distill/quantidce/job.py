"""QuantiDCE: first stages are trained once per run, the second stage of each arm continues one of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cyclealign.distill.data.datasets import fingerprint
from cyclealign.distill.models.encoders import model_identity
from cyclealign.distill.quantidce import data, evaluate, model, predict, train
from cyclealign.distill.quantidce.config import DEMO, VERSION, ArmSettings, Config, Pretraining
from cyclealign.distill.quantidce.data import Dialogues, Scored
from cyclealign.distill.quantidce.evaluate import Vector
from cyclealign.distill.settings import bearing
from cyclealign.distill.steps import Outcome, Steps
from cyclealign.distill.training import Loop, trained_folder
from cyclealign.records import Metric

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "quantidce"


def inputs(config: Config) -> dict[str, str]:
    """Return content hashes of the data and the encoder that the config names; other content is another run.

    Raises:
        DistillError: a file or a data set is missing.
    """
    tests = {f"test {name}": source for name, source in config.data.tests.items()}
    sources = {"levels": config.data.levels, "scored": config.data.scored, **tests}
    hashes = {name: fingerprint(source) for name, source in sources.items() if source != DEMO}
    return hashes if config.encoder.model == DEMO else {**hashes, "encoder": model_identity(config.encoder.model)}


def run(config: Config, steps: Steps) -> Outcome:
    """Train a metric of dialogue coherence in two stages, and compare it with other combinations of stages."""
    dialogues = steps.step("data", data.load, config.data, config.seed)
    runs = range(config.runs)
    folders = {arm.name: [fit_arm(steps, config, dialogues, arm, number) for number in runs] for arm in config.arms}
    measures = steps.step("examine", examine, config, dialogues, folders)
    return Outcome(measures, student=folders[config.arms[0].name][0])


def fit_arm(steps: Steps, config: Config, dialogues: Dialogues, arm: ArmSettings, run: int) -> Path:
    """Return the folder of an arm's metric, trained at most once; arms with the same first stage share it."""
    first = steps.step(f"first stage {arm.pretraining}", first_stage, steps, config, dialogues, arm.pretraining, run)
    if arm.tuning == "none":
        return first
    stage = f"{arm.pretraining} {arm.tuning} {run}"
    folder = steps.stage_dir(
        stage, config.data, config.encoder, config.pretraining, config.tuning, *bearing(config.trainer)
    )

    def make(unfinished: Path, loop: Loop) -> None:
        metric = model.load(first)
        kd, seed, on_progress = arm.tuning == "kd", seed_of(config, run), steps.progress(f"scores {arm.name}")
        train.tune(metric, dialogues.scored, config.tuning, kd, seed, on_progress, loop)
        metric.save(unfinished)

    if not folder.exists():  # a step without work would be stored in the history too
        steps.step(f"second stage {arm.name}", trained_folder, folder, config.trainer, make)
    return folder


def first_stage(steps: Steps, config: Config, dialogues: Dialogues, kind: Pretraining, run: int) -> Path:
    """Return the folder of a metric after its first stage, trained at most once."""

    def make(folder: Path, loop: Loop) -> None:
        seed = seed_of(config, run)
        metric = model.fresh(config.encoder, seed)
        if kind != "none":
            on_progress = steps.progress(f"levels by {kind}")
            train.pretrain(metric, dialogues.graded, kind, config.pretraining, seed, on_progress, loop)
        metric.save(folder)

    folder = steps.stage_dir(f"{kind} {run}", config.data, config.encoder, config.pretraining, *bearing(config.trainer))
    return trained_folder(folder, config.trainer, make)


def seed_of(config: Config, run: int) -> int:
    """Return the seed of a run, the same for all arms."""
    return config.seed * 1000 + run


def examine(config: Config, dialogues: Dialogues, folders: dict[str, list[Path]]) -> list[Metric]:
    """Return the agreement with human scores on every test set, and the levels of the held-out contexts.

    Args:
        folders: arm -> metrics by run.
    """
    held_out = [pair for row in dialogues.held_out for pair in train.pairs_of(row)]
    scores = {arm: [scores_of(folder, dialogues.tests, held_out) for folder in row] for arm, row in folders.items()}
    measures = []
    for test, pairs in dialogues.tests.items():
        of_test = {arm: [tests[test] for tests, _ in runs] for arm, runs in scores.items()}
        measures += evaluate.agreement(test, of_test, np.array([pair.score for pair in pairs]))
    for arm, runs in scores.items():
        measures += evaluate.levels(arm, dialogues.held_out, np.mean([levels for _, levels in runs], axis=0))
    return measures


def scores_of(
    folder: Path, tests: Mapping[str, Sequence[Scored]], held_out: Sequence[Scored]
) -> tuple[dict[str, Vector], Vector]:
    """Return a metric's scores of each test set and of the held-out pairs.

    The metric is freed on return: many arms and runs would not fit into memory together.
    """
    metric = model.load(folder)
    return {test: predict.scores(metric, pairs) for test, pairs in tests.items()}, predict.scores(metric, held_out)
