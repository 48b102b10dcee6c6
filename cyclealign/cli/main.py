"""The console script `cyclealign`."""

import sys
from typing import Annotated

import typer

import cyclealign as package
from cyclealign.cli.lazy import LazyGroup, new_app
from cyclealign.errors import CycleAlignError

INTERRUPTED = 130  # the exit code that Typer gives to Ctrl-C
COMMANDS = {
    "init": "Write a config for your own model and judge, and import prompts.",
    "demo": "Run three rounds in the demo world: no GPU, no API key, no download.",
    "run": "Run rounds of an experiment; rerunning resumes.",
    "estimate": "Estimate calls, tokens and cost; nothing is sent.",
    "doctor": "Check that this machine can run a config.",
    "up": "Start the Prefect UI, a worker and the deployments on this machine.",
    "deploy": "Make a deployment of your own config in the Prefect UI.",
    "automate": "Notify, or start a distillation job, when a round is accepted or an experiment needs you.",
    "approve": "Accept or reject a round that waits for your decision.",
    "abandon": "Give up the open round of an experiment; paid replies are kept.",
    "experiments": "List, rename, archive, delete and prune experiments.",
    "prune": "List or delete old weights, checkpoints, labels and logs that nothing needs.",
    "history": "Show the rounds of experiments.",
    "browse": "Show the history in a web browser: rounds, answers, the judge's exchanges, spending.",
    "judges": "Compare judge models and template versions.",
    "review": "Rank uncertain lists yourself.",
    "rejudge": "Rank a round again with another judge, template or demonstrations.",
    "db": "Copy, check and back up the database.",
    "chat": "Answer prompts with trained weights and with the base model, next to each other.",
    "serve": "Serve the accepted weights by vLLM's OpenAI-compatible address.",
    "export": "Export rankings, pairs or best answers as a data set, or the trained model.",
    "prompts": "Import, list and show prompt sets.",
    "templates": "Check, keep and show the judge's templates.",
    "distill": "Run and inspect distillation jobs.",
}


class Commands(LazyGroup):
    """The commands of `cyclealign`."""

    summaries = COMMANDS


app = new_app(cls=Commands, no_args_is_help=True, add_completion=True)


def print_version(asked: bool) -> None:
    """Print the version and exit."""
    if asked:
        print(f"cyclealign {package.__version__}")
        raise typer.Exit


@app.callback()
def cyclealign(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Align a language model with human preferences by iterative distillation from a black-box judge."""


def main() -> None:
    """Run the command line; an error of this project ends in its message rather than a traceback."""
    try:
        app()
    except CycleAlignError as error:
        print_error(error)
        sys.exit(1)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("Stopped. Rerun the same command to resume.")
        raise


def print_error(error: CycleAlignError) -> None:
    """Print an error's name and message; brackets in it are text, and characters that control a terminal are shown."""
    from rich.markup import escape

    from cyclealign.cli.console import console
    from cyclealign.text import plain_text

    console.print(f"[bold red]{type(error).__name__}[/]: {escape(plain_text(str(error)))}")


if __name__ == "__main__":
    main()
