"""Run distillation jobs without Prefect, in a home of the test's own."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cyclealign.config import checked_settings
from cyclealign.distill import registry
from cyclealign.distill.registry import JOBS, JobSpec
from cyclealign.distill.run import run_job
from cyclealign.store import Store

Distil = Callable[..., dict[str, Any]]


@pytest.fixture
def distil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distil:
    """``distil(job, settings, **changes)`` runs a job, its settings a mapping or TOML; returns its row of the store."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))

    def run(job: str, settings: Mapping[str, Any] | str, **changes: Any) -> dict[str, Any]:
        values = tomllib.loads(settings) if isinstance(settings, str) else settings
        config = checked_settings({**values, **changes}, "test", JOBS[job].config_model())
        run_id = run_job(JOBS[job], config)
        with Store.open() as store:
            return next(row for row in store.distillations.runs(job) if row["id"] == run_id)

    return run


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> JobSpec:
    """One more job, registered."""
    monkeypatch.setattr(registry, "EXAMPLES", Path(__file__).parent / "toy")
    spec = JobSpec("toy", "tests.distill.toy", needs=())
    monkeypatch.setitem(registry.JOBS, "toy", spec)
    return spec
