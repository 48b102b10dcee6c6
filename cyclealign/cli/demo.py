"""`cyclealign demo`: three rounds in the demo world."""

import os
import shutil
import sys
from typing import Annotated

import typer

from cyclealign.cli.console import console
from cyclealign.cli.lazy import new_app
from cyclealign.cli.run import run_align
from cyclealign.config import load_config
from cyclealign.files import CHECKOUT, EXAMPLES

NEXT_STEPS = """
[bold]Next[/]
  [cyan]{program} history {experiment} --round 3[/]
      every answer, in the judge's order
  [cyan]make up[/]
      the Prefect UI on http://127.0.0.1:4200, to start rounds from a form
  [cyan]{program} templates show rank --example[/]
      the judge's prompt; edit prompts/rank.jinja and run again
  [cyan]{program} init NAME --model ... --judge-model ... --prompts FILE[/]
      your own model and judge

The judge of this demo is simulated: a small ranking model that learns from the
demonstrations in its prompt.
"""

app = new_app()


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Random seed; each seed is an experiment of its own.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rounds as JSON.")] = False,
) -> None:
    """Run three rounds in the demo world: a tiny policy and a simulated judge; no API key, no download."""
    # A step of this model is shorter than the threads' waits for one another: one thread is several times quicker.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config = load_config(EXAMPLES / "demo.toml").model_copy(
        update={
            "seed": seed,
            "experiment": f"demo-{seed}" if seed else "demo",
            "templates": str(CHECKOUT / "prompts"),
        }
    )
    run_align(config, as_json)
    if not as_json:
        console.print(NEXT_STEPS.format(experiment=config.experiment, program=program()))


def program() -> str:
    """Return the command by which the user's shell finds this program."""
    return "cyclealign" if shutil.which("cyclealign") else sys.argv[0]
