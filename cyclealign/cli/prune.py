"""`cyclealign prune`: delete old weights, checkpoints, labels and logs that nothing needs."""

import json
from typing import Annotated

import typer

from cyclealign.cli.console import print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.housekeeping import report
from cyclealign.housekeeping.clean import clean
from cyclealign.housekeeping.rules import HousekeepingRules
from cyclealign.store import Store

app = new_app()
DEFAULT = HousekeepingRules()


@app.command()
def prune(
    apply: Annotated[bool, typer.Option("--apply", help="Delete; otherwise only list.")] = False,
    adapters_days: Annotated[
        int, typer.Option(min=0, help="Age of weights that were not accepted.")
    ] = DEFAULT.adapters_days,
    keep_adapters: Annotated[
        int, typer.Option(min=0, help="Newest weights to keep of each experiment that were not accepted.")
    ] = DEFAULT.keep_adapters,
    checkpoints_days: Annotated[
        int, typer.Option(min=0, help="Age of checkpoints that no open run resumes.")
    ] = DEFAULT.checkpoints_days,
    labels_days: Annotated[int, typer.Option(min=0, help="Days since the last use of labels.")] = DEFAULT.labels_days,
    unfinished_days: Annotated[
        int | None,
        typer.Option(min=1, help="Days without a write after which an unfinished distillation run keeps no files."),
    ] = DEFAULT.unfinished_days,
    logs_days: Annotated[int, typer.Option(min=0, help="Age of logs.")] = DEFAULT.logs_days,
    keep_logs: Annotated[int, typer.Option(min=0, help="Newest logs to keep.")] = DEFAULT.keep_logs,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List old weights, checkpoints, labels and logs that nothing needs, with their sizes; --apply deletes them.

    Nothing goes that an accepted or open round, a student, or a run at work needs. The history stays.
    """
    rules = HousekeepingRules(
        dry_run=not apply,
        adapters_days=adapters_days,
        keep_adapters=keep_adapters,
        checkpoints_days=checkpoints_days,
        labels_days=labels_days,
        unfinished_days=unfinished_days,
        logs_days=logs_days,
        keep_logs=keep_logs,
    )
    with Store.open() as store:
        outcome = clean(store, rules)
    if as_json:
        print(json.dumps(report.as_json(outcome), indent=2))
        return
    for text in (*map(report.line, outcome.expired), *outcome.notes, report.summary(outcome)):
        print_plain(text)
    if outcome.dry_run and outcome.expired:
        print_plain("To delete them: the same command with --apply.")
