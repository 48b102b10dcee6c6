"""The distillation jobs in the Prefect UI: every form opens, and a job started from its form leaves its table."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclealign.distill.registry import JOBS
from tests.browser.pages import box, fill_form_with, open_artifact, open_form, submit
from tests.distill.quantidce.test_job import TINY
from tests.support.launched import Launched, launched, until

pytestmark = pytest.mark.launch


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """Yield `cyclealign up`; the form of one job has tiny settings."""
    with launched(tmp_path_factory.mktemp("distill"), {"OMP_NUM_THREADS": "1"}) as one:
        one.begin()
        fill_form_with(one, "quantidce/quantidce", tomllib.loads(TINY))
        yield one


@pytest.mark.parametrize("job", sorted(JOBS))
def test_every_job_has_a_form_that_opens(site: Launched, page: Any, job: str) -> None:
    """Prevents a deployment whose settings the UI cannot display, so that it cannot be started there."""
    open_form(page, site, f"{job}/{job}")
    assert box(page, "Seed").locator("input").input_value() == "0"
    assert "Labels are kept" in box(page, "Force").inner_text()
    assert page.locator(".schema-form-property").count() > 8


def test_a_job_from_its_form_to_its_table(site: Launched, page: Any, tmp_path: Path) -> None:
    """Prevents a job that runs only from the command line."""
    open_form(page, site, "quantidce/quantidce")
    submit(page)
    run_id = until("a run started from the form", lambda: next((run["id"] for run in site.runs()), None))
    site.wait_for_state(run_id, "Completed")
    open_artifact(page, f"{site.url}/runs/flow-run/{run_id}", "quantidce-measures")
    page.locator("tbody tr").first.wait_for()
    assert "MLR + KD" in page.locator("tbody").inner_text()
    page.screenshot(path=tmp_path / "measures.png")
