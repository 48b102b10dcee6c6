"""Print the runs of distillation jobs."""

import json
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from cyclealign.cli.console import console, print_plain
from cyclealign.distill.report import cell, measure_table
from cyclealign.records import Metric
from cyclealign.records.distillation import arm_metric
from cyclealign.store import Store

MAX_COLUMNS = 5


def show_runs(job: str | None, as_json: bool) -> None:
    """Print the runs of one job, or of all."""
    with Store.open() as store:
        runs = store.distillations.runs(job)
    if as_json:
        print(json.dumps(runs, indent=2, default=str))
        return
    for row in runs:
        print_run(row)
    if not runs:
        console.print("No distillation job has run yet: try [cyan]cyclealign distill run pld --demo[/].")


def print_run(run: dict[str, Any]) -> None:
    """Print one run of a job: its measures by arm, its student and its report."""
    state = f"finished {run['finished_at'][:16]}" if run["finished_at"] else "unfinished: rerun the command to resume"
    print_plain(f"{run['job']}, run {run['id']}, seed {run['seed']}, {run['seconds']:.0f} s: {state}")
    measures = [arm_metric(row) for row in run["measures"]]
    if measures:
        console.print(measures_as_table(measures))
    if run["student_path"]:
        print_plain(f"student: {run['student_path']} ({run['student_hash'][:12]})")
    if run["report_path"]:
        print_plain(f"report: {run['report_path']}")


def measures_as_table(measures: Sequence[Metric]) -> Table:
    """Return a table with a row per arm and a column per measure; with many measures, a row per measure."""
    rows = measure_table(measures)
    if len(rows[0]) <= MAX_COLUMNS:
        table = Table(*map(escape, rows[0]))
        for row in rows:
            table.add_row(*map(escape, row.values()))
        return table
    table = Table("arm", "measure", "value")
    for arm, *_ in (row.values() for row in rows):
        for number, measure in enumerate(measure for measure in measures if measure.arm == arm):
            table.add_row("" if number else escape(arm), escape(measure.name), cell(measure))
    return table
