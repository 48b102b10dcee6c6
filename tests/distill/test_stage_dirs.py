"""Folders of the stages: runs whose relevant settings are the same share a stage."""

import importlib
from functools import partial
from typing import Any

import pytest

from cyclealign.config import Section, settings_identity
from cyclealign.distill.legacy import sources_of
from cyclealign.distill.pld import train
from cyclealign.distill.registry import JOBS
from cyclealign.distill.run import open_run
from cyclealign.distill.steps import Steps
from cyclealign.records import content_id
from cyclealign.store import Store
from tests.distill.conftest import Distil
from tests.distill.golden_jobs import STAGES
from tests.distill.test_run import TINY

pytestmark = pytest.mark.slow


LOOP = {
    "schedule": "linear",
    "warm_up": 0.5,
    "max_norm": 2.0,
    "precision": "bf16",
    "compile": True,
    "items_at_once": 2,
    "validate_every": 7,
    "patience": 2,
}


class Asked(Exception):
    """Ends a stage that asks where to lie."""


class Asking:
    """Stands for `Steps`: keeps what a stage says that it is made of, and ends it."""

    def __init__(self) -> None:
        self.made_of: list[dict[str, Any]] = []

    def stage(self, stage: str, made_of: Any, make: object) -> None:
        self.stage_dir(stage, *made_of)

    def progress(self, label: str) -> None:
        pass

    def stage_dir(self, stage: str, *made_of: Any) -> None:
        self.made_of = [each.model_dump(mode="json") if isinstance(each, Section) else each for each in made_of]
        raise Asked(stage)


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
    return found - {"seed", "force"}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_known_by_every_setting_that_bears_on_it(name):
    """Prevents a student of other settings, such as one that is added later, from being taken for the one asked for."""
    entry = JOBS[name.replace("_", "-")]
    config, module, job = entry.config(), entry.load(), Asking()
    call, free = STAGES[name]
    if name == "margin_mse":
        # So that the cut-off chooses the weights.
        config = config.model_copy(update={"data": config.data.model_copy(update={"validation_split": "dev"})})
    if "trainer" in type(config).model_fields:  # whose defaults are left out of the keys of stages
        loop = {key: value for key, value in LOOP.items() if key in type(config.trainer).model_fields}
        config = config.model_copy(update={"trainer": config.trainer.model_copy(update=loop)})
    with pytest.raises(Asked):
        call(module, job, config)
    bearing = borne(config, job.made_of)
    left = {each for each in every(config) - bearing if not {each, each.partition(".")[0]} & free}
    assert left == set()
    assert not bearing & free


def test_every_job_is_looked_at():
    """Prevents a job whose stages nobody compares with its settings."""
    assert set(STAGES) == {entry.function for entry in JOBS.values()}


def test_places_differ_by_what_makes_a_stage_and_by_nothing_else():
    """Prevents two runs from writing into one folder, or from training twice what is the same."""

    def name(made_by: str, stage: str, settings: dict[str, object]) -> str:
        return Steps("pld", made_by).stage_dir(stage, settings).name

    first = partial(name, "files, code and seed")
    assert first("pld 0", {"rate": 0.1}) == name("files, code and seed", "pld 0", {"rate": 0.1})
    others = [first("pld 1", {"rate": 0.1}), first("pld 0", {"rate": 0.2}), name("more", "pld 0", {"rate": 0.1})]
    assert len({first("pld 0", {"rate": 0.1}), *others}) == 4


def test_another_run_trains_only_what_the_others_have_not(distil: Distil, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents hours of training for one more arm, and old students where all is to be done again."""
    fitted: list[str] = []
    fit = train.fit

    def watched(*arguments: Any, **more: Any) -> Any:
        fitted.append(arguments[3])
        return fit(*arguments, **more)

    monkeypatch.setattr(train, "fit", watched)

    def trained(config: str, **changes: Any) -> list[str]:
        """Return the losses of the students that a run of the config trains."""
        before = len(fitted)
        distil("pld", config, **changes)
        return fitted[before:]

    teacher = ["ce"]  # once: its labels are kept
    assert trained(TINY) == [*teacher, "ce", "ce", "pld", "pld"]
    assert trained(f'{TINY}[[arms]]\nloss = "kd"\n'.replace("runs = 2", "runs = 3")) == ["ce", "pld", "kd", "kd", "kd"]
    assert trained(TINY, force=True) == ["ce", "ce", "pld", "pld"]
    assert trained(TINY.replace("runs = 2", "runs = 1")) == []
    assert trained(TINY.replace("batch = 8\n[[", "batch = 9\n[[", 1)) == ["ce", "ce", "pld", "pld"]
    with Store.open() as store:
        runs = store.distillations.runs()
    assert len({run["id"] for run in runs}) == 5
    assert len({run["student_path"] for run in runs}) == 3  # the second and fourth took over the first one's


def test_a_run_that_was_asked_for_again_keeps_its_places_when_it_goes_on(tmp_path, monkeypatch):
    """Prevents a second training that was killed from going on with the students of the first."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    config = JOBS["pld"].config()

    def place(again: bool = False) -> str:
        with open_run(JOBS["pld"], config.model_copy(update={"force": again}), {}) as opened:
            return opened.steps.stage_dir("stage", {}).name

    first = place()
    assert place() == first
    with Store.open() as store:
        store.distillations.finish(1, [])
    second = place(again=True)
    assert second != first
    assert [place(), place(again=True)] == [second, second]


# The hash of PLD's sources in 0.1.0, and a stage as 0.1.0 keyed it.
SOURCES = "617b01cdaa8580cf48d5e158"
STAGE = content_id("stage", content_id("made by", {"data": "d1"}, SOURCES, 0, 0), "pld 0", [{"tau": 1.0}])


def test_a_stage_of_0_1_0_is_taken_and_others_lie_under_the_version(tmp_path, monkeypatch):
    """Prevents the students that a user's home holds from being trained again after an upgrade."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    stages = tmp_path / "distill" / "pld" / "stages"
    with open_run(JOBS["pld"], JOBS["pld"].config(), {"data": "d1"}) as opened:
        steps = opened.steps
        new = steps.stage_dir("pld 0", {"tau": 1.0})
        assert new.parent == stages
        assert new.name != f"pld-0-{STAGE[:16]}"
        (stages / f"pld-0-{STAGE[:16]}-steps").mkdir(parents=True)  # a training of 0.1.0 that was cut off
        assert steps.stage_dir("pld 0", {"tau": 1.0}).name == f"pld-0-{STAGE[:16]}"
        (stages / f"pld-0-{STAGE[:16]}-steps").rename(stages / f"pld-0-{STAGE[:16]}")
        assert steps.stage_dir("pld 0", {"tau": 1.0}).name == f"pld-0-{STAGE[:16]}"
        assert steps.stage_dir("pld 0", {"tau": 2.0}).name != steps.stage_dir("pld 0", {"tau": 1.0}).name
    with open_run(JOBS["pld"], JOBS["pld"].config(), {"data": "d2"}) as opened:
        assert not opened.steps.stage_dir("pld 0", {"tau": 1.0}).exists()


def run_of_0_1_0(job: str, finished: bool = True) -> int:
    """Put a run of the demo's settings into the store as 0.1.0 did."""
    config = JOBS[job].config()
    settings = settings_identity(config, exclude={"force"})
    hashes = (content_id("distillation", job, settings, {"data": "d1"}), str(sources_of(job, 1)))
    with Store.open() as store:
        run = store.distillations.open(job, settings, hashes, config.seed, force=True)
        if finished:
            store.distillations.finish(run.id, [])
    return run.id


@pytest.mark.parametrize("job", [name for name in JOBS if sources_of(name, 1)])
def test_a_run_of_0_1_0_is_found_until_the_version_is_raised(job, tmp_path, monkeypatch):
    """Prevents finished work from being done again after an upgrade, and old figures from standing for new results."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    first, second = run_of_0_1_0(job), run_of_0_1_0(job)
    with open_run(JOBS[job], JOBS[job].config(), {"data": "d1"}) as found:
        assert (found.run.id, found.run.finished, found.run.repeat) == (second, True, 1)
    with open_run(JOBS[job], JOBS[job].config().model_copy(update={"force": True}), {"data": "d1"}) as asked:
        assert asked.run.id not in (first, second)
        assert (asked.run.finished, asked.run.repeat) == (False, 2)
    with open_run(JOBS[job], JOBS[job].config(), {"data": "d2"}) as other:
        assert other.run.id not in (first, second, asked.run.id)
    monkeypatch.setattr(importlib.import_module(f"{JOBS[job].package}.config"), "VERSION", 2)
    with open_run(JOBS[job], JOBS[job].config(), {"data": "d1"}) as raised:
        assert (raised.run.finished, raised.run.repeat, raised.steps.made_by_before) == (False, 0, None)
        assert raised.run.id not in (first, second, asked.run.id, other.run.id)


def test_keys_follow_from_settings_data_seed_and_version_alone(tmp_path, monkeypatch):
    """Prevents a comment, or anything else that no result depends on, from training everything anew."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    config = JOBS["pld"].config()
    with open_run(JOBS["pld"], config, {"data": "d1"}) as opened:
        assert opened.run.code_hash == content_id("version", "pld", 1)
        assert opened.run.config_hash == content_id(
            "distillation", "pld", settings_identity(config, exclude={"force"}), {"data": "d1"}
        )
        made_by = content_id("made by", {"data": "d1"}, opened.run.code_hash, config.seed, 0)
        made = content_id("stage", made_by, "pld 0", [settings_identity(config.data), {"tau": 1.0}])
        assert opened.steps.stage_dir("pld 0", config.data, {"tau": 1.0}).name == f"pld-0-{made[:16]}"
