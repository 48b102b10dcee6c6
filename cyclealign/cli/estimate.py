"""`cyclealign estimate`: the cost of rounds before they run."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.cli.run import quiet_libraries
from cyclealign.config import load_config

app = new_app()


@app.command()
def estimate(
    config: Annotated[Path, typer.Argument(help="A TOML file, as for `cyclealign run`.")],
    sample: Annotated[
        int, typer.Option(min=0, help="Number of prompts for the policy to answer; 0 does not load the policy.")
    ] = 16,
    rounds: Annotated[int | None, typer.Option(help="Number of rounds to estimate; default: as in the config.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as JSON.")] = False,
) -> None:
    """Estimate the judge's calls, tokens and cost by round and purpose; nothing is sent to the judge."""
    quiet_libraries()
    settings = load_config(config)
    if rounds is not None:
        settings = settings.model_copy(update={"rounds": rounds, "until": None})
    from cyclealign.loop import estimate as loop_estimate

    result = loop_estimate.estimate(settings, sample)
    rows = loop_estimate.estimate_rows(result)
    if as_json:
        print(*result.remarks, sep="\n", file=sys.stderr)
        print(json.dumps(rows, indent=2))
        return
    table = Table("round", "purpose", "calls", "tokens", "USD", title=f"Estimate for '{settings.experiment}'")
    for row in rows:
        cells = (f"{row['calls']:,}", f"{row['tokens']:,}", f"{row['usd']:.4f}")
        table.add_row(str(row["round"]), str(row["purpose"]), *cells)
    console.print(table)
    for remark in result.remarks:
        print_plain(remark)
