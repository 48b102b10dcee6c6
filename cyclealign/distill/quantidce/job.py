"""QuantiDCE: first stages once a run, the arms' second stages from them, one examination of all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cyclealign.distill.data.datasets import fingerprint
from cyclealign.distill.models.encoders import identity
from cyclealign.distill.quantidce import data, evaluate, model, predict, train
from cyclealign.distill.quantidce.config import DEMO, VERSION, ArmSettings, Config, Pretraining
from cyclealign.distill.quantidce.data import Dialogues, Scored
from cyclealign.distill.quantidce.evaluate import Vector
from cyclealign.distill.steps import Outcome, Steps
from cyclealign.files import appearing_folder
from cyclealign.records import Metric

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "quantidce"


def run(config: Config, steps: Steps) -> Outcome:
    """Train a metric of dialogue coherence by multi-level ranking and few human scores, beside other ways."""
    dialogues = steps.step("data", data.load, config.data, config.seed)
    runs = range(config.runs)
    folders = {arm.name: [metric_of(steps, config, dialogues, arm, number) for number in runs] for arm in config.arms}
    measures = steps.step("examine", examine, config, dialogues, folders)
    return Outcome(measures, student=folders[config.arms[0].name][0])


def inputs(config: Config) -> dict[str, str]:
    """What data and encoder are known by: another content is another run.

    Raises:
        DistillError: a file or a data set is missing.
    """
    tests = {f"test {name}": source for name, source in config.data.tests.items()}
    named = {"levels": config.data.levels, "scored": config.data.scored, **tests}
    found = {name: fingerprint(source) for name, source in named.items() if source != DEMO}
    return found if config.encoder.model == DEMO else {**found, "encoder": identity(config.encoder.model)}


def metric_of(steps: Steps, config: Config, dialogues: Dialogues, arm: ArmSettings, run: int) -> Path:
    """The folder of an arm's metric; arms with the same first stage go on from the same one."""
    before = steps.step(f"first stage {arm.pretraining}", first_stage, steps, config, dialogues, arm.pretraining, run)
    if arm.tuning == "none":
        return before
    stage = f"{arm.pretraining} {arm.tuning} {run}"
    final = steps.stage_dir(stage, config.data, config.encoder, config.pretraining, config.tuning)

    def tune() -> None:
        metric = model.load(before)
        tell = steps.progress(f"scores {arm.name}")
        train.tune(metric, dialogues.scored, config.tuning, arm.tuning == "kd", seed_of(config, run), tell)
        with appearing_folder(final) as made:
            metric.save(made)

    if not final.exists():
        steps.step(f"second stage {arm.name}", tune)
    return final


def first_stage(steps: Steps, config: Config, dialogues: Dialogues, kind: Pretraining, run: int) -> Path:
    """The folder of a metric after its first stage, trained unless it is there."""
    final = steps.stage_dir(f"{kind} {run}", config.data, config.encoder, config.pretraining)
    if not final.exists():
        seed = seed_of(config, run)
        metric = model.fresh(config.encoder, seed)
        if kind != "none":
            tell = steps.progress(f"levels by {kind}")
            train.pretrain(metric, dialogues.graded, kind, config.pretraining, seed, tell)
        with appearing_folder(final) as made:
            metric.save(made)
    return final


def seed_of(config: Config, run: int) -> int:
    """One seed a run, the same for all arms."""
    return config.seed * 1000 + run


def examine(config: Config, dialogues: Dialogues, folders: dict[str, list[Path]]) -> list[Metric]:
    """Agreement with people on every test set, then the levels that each arm gives held-out contexts."""
    graded = [pair for row in dialogues.held_out for pair in train.flat(row)]
    found = {name: [scores_of(folder, dialogues.tests, graded) for folder in row] for name, row in folders.items()}
    measures = []
    for test, pairs in dialogues.tests.items():
        of_test = {name: [tests[test] for tests, _ in row] for name, row in found.items()}
        measures += evaluate.agreement(test, of_test, np.array([each.score for each in pairs]))
    for name, row in found.items():
        measures += evaluate.levels(name, dialogues.held_out, np.mean([levels for _, levels in row], axis=0))
    return measures


def scores_of(
    folder: Path, tests: Mapping[str, Sequence[Scored]], graded: Sequence[Scored]
) -> tuple[dict[str, Vector], Vector]:
    """What the metric of a folder gives each test set, and the graded pairs. It is in memory only while it is asked."""
    metric = model.load(folder)
    return {test: predict.scores(metric, pairs) for test, pairs in tests.items()}, predict.scores(metric, graded)
