"""Pages of the runs of distillation jobs."""

from pathlib import Path
from typing import Any

from cyclealign.browse.page import Page
from cyclealign.distill.report import measure_table
from cyclealign.errors import NoSuchJob
from cyclealign.records.distillation import arm_metric
from cyclealign.store import Store

RUNS = ("Distillation runs", "/distillations")
MAX_REPORT_CHARS = 400_000


def listing(store: Store) -> Page:
    """Return all runs, the newest first."""
    runs = store.distillations.runs()[::-1]
    return Page("distillations.html", "Distillation runs", {"runs": runs}, store.distillations.summary())


def run_page(store: Store, number: int) -> Page:
    """Return a run with its arms, measures and intervals, its steps, settings and report."""
    run = next((row for row in store.distillations.runs() if row["run"] == number), None)
    if run is None:
        raise NoSuchJob(f"There is no distillation run {number}.")
    measures = measure_table([arm_metric(row) for row in run["measures"]])
    values = {"run": run, "measures": measures, "report": report_of(run)}
    return Page("distillation.html", f"{run['job']}, run {number}", values, run["measures"], [RUNS])


def report_of(run: dict[str, Any]) -> str | None:
    """Return the text of the run's report; None if it has none, or its file is not on this machine."""
    path = Path(run["report_path"]) if run["report_path"] else None
    if path is None or path.suffix != ".md" or not path.is_file():
        return None
    return path.read_text(encoding="utf-8", errors="replace")[:MAX_REPORT_CHARS]
