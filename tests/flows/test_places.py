"""Where the stages of distillation jobs lie: runs that differ in nothing that bears on a stage share it."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cyclealign.config import Section
from cyclealign.distill.margin_mse.config import Arm
from cyclealign.distill.outcome import DistillationRun
from cyclealign.distill.pld import student
from cyclealign.distill.quantidce.config import ARMS
from cyclealign.store import Store
from flows.distilling import Job, opened
from flows.jobs import JOBS
from tests.flows.test_distilling import TINY


class Asked(Exception):
    """Ends a stage that asks where to lie."""


class Asking:
    """Stands for a `Job`: keeps what a stage says that it is made of, and ends it."""

    def __init__(self) -> None:
        self.made_of: list[dict[str, Any]] = []

    def place(self, stage: str, *made_of: Any) -> None:
        self.made_of = [each.model_dump(mode="json") if isinstance(each, Section) else each for each in made_of]
        raise Asked(stage)


def second_stage(module: Any, job: Any, config: Any) -> None:
    """Of QuantiDCE; its first stage, which is asked before, is taken for done."""
    job.step = lambda *_: None
    module.metric_of(job, config, None, ARMS[0], 0)


# Of each job the last stage of training, called until it asks for its place, and the settings that do not bear on it.
STAGES: dict[str, tuple[Callable[[Any, Any, Any], object], set[str]]] = {
    "cprd": (lambda module, job, config: module.fit(job, config, None, None, "cprd", 0), {"runs", "arms"}),
    "idcm": (
        lambda module, job, config: module.fitted_esm(job, config, None, None, [], "ndcg2"),
        {"evaluation", "esm.losses"},
    ),
    "leaf": (lambda module, job, config: module.fitted(job, config, "student", None, None, None), {"evaluation"}),
    "margin_mse": (
        lambda module, job, config: module.fitted(job, config, None, None, None, Arm("ranknet", 0.0)),
        {
            "training.arms",
            "training.offsets",
            "training.offset_arms",
            "evaluation.recall",
            "evaluation.dense",
            "evaluation.relevant_from",
        },
    ),
    "pld": (
        lambda module, job, config: module.bench_of(job, config, None, None).student("pld", {"tau": 1.0}, 0),
        {"runs", "tuning_runs", "arms"},
    ),
    "quantidce": (second_stage, {"runs", "arms"}),
}


def borne(config: Section, made_of: list[dict[str, Any]]) -> set[str]:
    """The settings, as `section.key`, that stand in what a stage is made of."""
    found = set()
    for name, section in config.model_dump(mode="json").items():
        if isinstance(section, dict):
            for part in made_of:
                if part.items() <= section.items():
                    found |= {f"{name}.{key}" for key in part}
    return found


def every(config: Section) -> set[str]:
    """All settings but those that every stage has by itself."""
    found = set()
    for name, section in config.model_dump(mode="json").items():
        found |= {f"{name}.{key}" for key in section} if isinstance(section, dict) else {name}
    return found - {"seed", "again"}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_known_by_every_setting_that_bears_on_it(name):
    """Prevents a student of other settings, such as one that is added later, from being taken for the one asked for."""
    (entry,) = [each for each in JOBS.values() if each.package == name]
    config, module, job = entry.config(), importlib.import_module(entry.flow_module), Asking()
    call, free = STAGES[name]
    if name == "margin_mse":
        # So that the cut-off chooses the weights.
        config = config.model_copy(update={"data": config.data.model_copy(update={"validation_split": "dev"})})
    with pytest.raises(Asked):
        call(module, job, config)
    bearing = borne(config, job.made_of)
    left = {each for each in every(config) - bearing if not {each, each.partition(".")[0]} & free}
    assert left == set()
    assert not bearing & free


def test_every_job_is_looked_at():
    """Prevents a job whose stages nobody compares with its settings."""
    assert set(STAGES) == {entry.package for entry in JOBS.values()}


def test_places_differ_by_what_makes_a_stage_and_by_nothing_else():
    """Prevents two runs from writing into one folder, or from training twice what is the same."""

    def place(id: int, made_by: str, stage: str, settings: dict[str, object]) -> str:
        return (
            Job("pld", DistillationRun(id, "pld", "config", "code", False), None, made_by).place(stage, settings).name
        )

    first = partial(place, 1, "files, code and seed")
    assert first("pld 0", {"rate": 0.1}) == place(2, "files, code and seed", "pld 0", {"rate": 0.1})
    others = [first("pld 1", {"rate": 0.1}), first("pld 0", {"rate": 0.2}), place(1, "more", "pld 0", {"rate": 0.1})]
    assert len({first("pld 0", {"rate": 0.1}), *others}) == 4


def test_another_run_trains_only_what_the_others_have_not(command, tmp_path, monkeypatch):
    """Prevents hours of training for one more arm, and old students where all is to be done again."""
    fitted: list[str] = []
    fit = student.fit

    def watched(*arguments: Any, **more: Any) -> Any:
        fitted.append(arguments[3])
        return fit(*arguments, **more)

    monkeypatch.setattr(student, "fit", watched)

    def trained(config: str, *more: str) -> list[str]:
        """The losses of the students that a run of the config trains."""
        (tmp_path / "config.toml").write_text(config)
        before = len(fitted)
        code, _, errors = command("distill", "pld", str(tmp_path / "config.toml"), *more)
        assert code == 0, errors
        return fitted[before:]

    teacher = ["ce"]  # once: its labels are kept
    assert trained(TINY) == [*teacher, "ce", "ce", "pld", "pld"]
    assert trained(f'{TINY}[[arms]]\nloss = "kd"\n'.replace("runs = 2", "runs = 3")) == ["ce", "pld", "kd", "kd", "kd"]
    assert trained(TINY, "--again") == ["ce", "ce", "pld", "pld"]
    assert trained(TINY.replace("runs = 2", "runs = 1")) == []
    assert trained(TINY.replace("batch = 8\n[[", "batch = 9\n[[", 1)) == ["ce", "ce", "pld", "pld"]
    with Store.open() as store:
        runs = store.distillations()
    assert len({run["id"] for run in runs}) == 5
    assert len({run["student_path"] for run in runs}) == 3  # the second and fourth took over the first one's


def test_a_run_that_was_asked_for_again_keeps_its_places_when_it_goes_on(tmp_path, monkeypatch):
    """Prevents a second training that was killed from going on with the students of the first."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    config = JOBS["pld"].config()

    def place(again: bool = False) -> str:
        with opened("pld", config.model_copy(update={"again": again})) as job:
            return job.place("stage", {}).name

    first = place()
    assert place() == first
    with Store.open() as store:
        store.finish_distillation(1, [])
    second = place(again=True)
    assert second != first
    assert [place(), place(again=True)] == [second, second]
