"""All jobs have one shape, so one more runs, is found again and has a form without a line outside its package."""

import inspect
from pathlib import Path

import pytest

from cyclealign.distill import registry
from cyclealign.distill.registry import JOBS, JobSpec, job_named
from cyclealign.distill.steps import Outcome
from cyclealign.errors import DistillError, NoSuchJob
from cyclealign.store import Store
from tests.distill.conftest import Distil


@pytest.mark.parametrize("spec", JOBS.values(), ids=JOBS)
def test_every_job_has_the_same_shape(spec: JobSpec) -> None:
    """Prevents a job whose name, version or settings differ from those that its runs are stored under."""
    job = spec.load()
    assert (job.NAME, job.VERSION, job.Config) == (spec.name, spec.version(), spec.config_model())
    assert [*inspect.signature(job.inputs).parameters] == ["config"]
    assert [*inspect.signature(job.run).parameters] == ["config", "steps"]
    assert inspect.signature(job.run).return_annotation is Outcome


@pytest.mark.slow
def test_a_toy_job_runs_and_is_found_again(distil: Distil, toy: JobSpec, tmp_path: Path) -> None:
    """Prevents a job that needs more than its own package and one entry of the registry."""
    first = distil("toy", {})
    assert [(row["arm"], row["value"]) for row in first["measures"]] == [("mean", 1.5)]
    assert {row["step"] for row in first["steps"]} == {"label", "fit {mean}"}
    assert Path(first["student_path"]).parent == tmp_path / "home" / "distill" / "toy" / "stages"
    assert "| mean | 1.500 |" in Path(first["report_path"]).read_text()
    assert distil("toy", {})["id"] == first["id"]
    assert distil("toy", {"size": 2})["id"] != first["id"]
    forced = distil("toy", {}, force=True)
    assert forced["id"] != first["id"]
    assert forced["student_path"] != first["student_path"]
    with Store.open() as store:
        assert len(store.distillations.runs()) == 3


def test_a_job_whose_libraries_are_missing_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a traceback of an import where the extra `distill` is not installed."""
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DistillError, match=r"'pld' needs scipy\. Install: pip install 'cyclealign\[distill\]'"):
        JOBS["pld"].load()


def test_a_job_is_found_with_hyphens_and_underscores() -> None:
    """Prevents a name that works in Python from being unknown in the terminal."""
    assert job_named("margin_mse") is job_named("margin-mse")
    with pytest.raises(NoSuchJob, match=r"no distillation job 'nothing'\. There are: pld, "):
        job_named("nothing")
