"""`cyclealign judges`: compare judge models and template versions."""

import json
from typing import Annotated, Any

import typer

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import console, side_by_side
from cyclealign.cli.lazy import new_app
from cyclealign.evaluation.metric_table import ROUND_METRICS
from cyclealign.evaluation.report import ABSENT, two_decimals, usd_cell
from cyclealign.store import Store
from cyclealign.text import plain_text

app = new_app()


@app.command()
def judges(
    experiment: Annotated[
        str | None, typer.Argument(help="One experiment; default: all.", autocompletion=experiment_names)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every figure.")] = False,
) -> None:
    """Compare judge models and template versions: calls, cost, mean accuracy and steadiness."""
    with Store.open() as store:
        rows = store.judges.compare(experiment)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        console.print("No judge has been called yet. Start with `cyclealign demo` or `cyclealign run CONFIG`.")
    for table in side_by_side("Judges", [judge_row(row) for row in rows]):
        console.print(table)


def judge_row(judge: dict[str, Any]) -> dict[str, str]:
    """Return a judge's cells as text; the first heads its column."""
    figures = {
        metric.label: two_decimals(judge["figures"][metric.name]) if metric.name in judge["figures"] else ABSENT
        for metric in ROUND_METRICS
        if metric.compare
    }
    return {
        "judge": plain_text(judge["model"]),
        "template": judge["template_hash"][:12],
        "rounds": str(judge["rounds"]),
        "calls": f"{judge['answered_calls']:,}",
        "USD": usd_cell(judge["cost_usd"], judge["estimated_usd"]),
        **figures,
    }
