"""The command `cyclealign judges`: judge models and versions of the template beside one another."""

import json
from typing import Annotated, Any

import typer

from cyclealign.cli.console import console, side_by_side
from cyclealign.cli.lazy import new_app
from cyclealign.store import Store
from cyclealign.text import plain_text

# Figure -> what it is called, in the order in which people compare judges.
FIGURES = {
    "judge_accuracy": "accuracy on labels",
    "health_accuracy": "... of the controls",
    "judge_steadiness": "steadiness",
    "judge_position_consistency": "position consistency",
    "health_repeat": "repetition stability",
    "judge_first_bias": "bias to the first (tau)",
    "judge_length_bias": "length (tau)",
    "health_junk": "junk refused",
    "health_injection": "injections refused",
}
app = new_app()


@app.command()
def judges(
    experiment: Annotated[str | None, typer.Argument(help="One experiment; all where absent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs, with every figure.")] = False,
) -> None:
    """Compare judges and versions of the template: calls, cost, how right and how steady they were on average."""
    with Store.open() as store:
        found = store.judges.compare(experiment)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    if not found:
        console.print("No judge was asked yet. Start with `cyclealign demo` or `cyclealign run CONFIG`.")
    for table in side_by_side("Judges", [judge_row(each) for each in found]):
        console.print(table)


def judge_row(judge: dict[str, Any]) -> dict[str, str]:
    """A judge's readable cells; the first is the head of its column."""
    figures = {
        label: f"{judge['figures'][name]:.2f}" if name in judge["figures"] else "n/a" for name, label in FIGURES.items()
    }
    return {
        "judge": plain_text(judge["model"]),
        "template": judge["template"][:12],
        "rounds": str(judge["rounds"]),
        "calls": f"{judge['calls']:,}",
        "USD": f"{judge['cost_usd']:.4f}",
        **figures,
    }
