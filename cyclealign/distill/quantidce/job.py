"""QuantiDCE as a Prefect flow: first stages once a run, the arms' second stages from them, one examination of all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from prefect import flow

from cyclealign.config import load_settings
from cyclealign.distill.data.datasets import fingerprint
from cyclealign.distill.models.encoders import identity
from cyclealign.distill.quantidce import data, evaluate, model, predict, train
from cyclealign.distill.quantidce.config import DEMO, ArmSettings, Config, Pretraining
from cyclealign.distill.quantidce.data import Dialogues, Scored
from cyclealign.distill.quantidce.evaluate import Vector
from cyclealign.distill.run import Job, opened
from cyclealign.files import EXAMPLES, appearing_folder
from cyclealign.records.distillation import Measure

# The form in the UI is filled from this instance: the demo's settings, which work at once on any machine.
FORM = load_settings(EXAMPLES / "quantidce-demo.toml", Config)


@flow(name="quantidce", flow_run_name="quantidce-seed-{config.seed}", persist_result=False, validate_parameters=True)
def quantidce(config: Config = FORM) -> int:
    """Train a metric of dialogue coherence by multi-level ranking and few human scores, beside other ways.

    Args:
        config: The dialogues, the encoder, the two stages and the arms.

    Returns:
        The id of the run in the history.
    """
    with opened("quantidce", config, inputs_of(config)) as job:
        if job.finished:
            return job.id
        dialogues = job.step("data", data.load, config.data, config.seed)
        runs = range(config.runs)
        folders = {arm.name: [metric_of(job, config, dialogues, arm, run) for run in runs] for arm in config.arms}
        measures = job.step("examine", examine, config, dialogues, folders)
        job.student(folders[config.arms[0].name][0])
        return job.report(measures)


def inputs_of(config: Config) -> dict[str, str]:
    """What data and encoder are known by: another content is another run.

    Raises:
        DistillError: a file or a data set is missing.
    """
    tests = {f"test {name}": source for name, source in config.data.tests.items()}
    named = {"levels": config.data.levels, "scored": config.data.scored, **tests}
    inputs = {name: fingerprint(source) for name, source in named.items() if source != DEMO}
    return inputs if config.encoder.model == DEMO else {**inputs, "encoder": identity(config.encoder.model)}


def metric_of(job: Job, config: Config, dialogues: Dialogues, arm: ArmSettings, run: int) -> Path:
    """The folder of an arm's metric; arms with the same first stage go on from the same one."""
    before = job.step(f"first stage {arm.pretraining}", first_stage, job, config, dialogues, arm.pretraining, run)
    if arm.tuning == "none":
        return before
    stage = f"{arm.pretraining} {arm.tuning} {run}"
    final = job.place(stage, config.data, config.encoder, config.pretraining, config.tuning)

    def tune() -> None:
        metric = model.load(before)
        tell = job.tells(f"scores {arm.name}")
        train.tune(metric, dialogues.scored, config.tuning, arm.tuning == "kd", seed_of(config, run), tell)
        with appearing_folder(final) as made:
            metric.save(made)

    if not final.exists():
        job.step(f"second stage {arm.name}", tune)
    return final


def first_stage(job: Job, config: Config, dialogues: Dialogues, kind: Pretraining, run: int) -> Path:
    """The folder of a metric after its first stage, trained unless it is there."""
    final = job.place(f"{kind} {run}", config.data, config.encoder, config.pretraining)
    if not final.exists():
        seed = seed_of(config, run)
        metric = model.fresh(config.encoder, seed)
        if kind != "none":
            tell = job.tells(f"levels by {kind}")
            train.pretrain(metric, dialogues.graded, kind, config.pretraining, seed, tell)
        with appearing_folder(final) as made:
            metric.save(made)
    return final


def seed_of(config: Config, run: int) -> int:
    """One seed a run, the same for all arms."""
    return config.seed * 1000 + run


def examine(config: Config, dialogues: Dialogues, folders: dict[str, list[Path]]) -> list[Measure]:
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
