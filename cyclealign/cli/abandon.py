"""`cyclealign abandon`: give up the open round of an experiment."""

from typing import Annotated

import typer

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.loop.abandon import DEFAULT_REASON, summary
from cyclealign.loop.abandon import abandon as give_up

app = new_app()


@app.command()
def abandon(
    experiment: Annotated[
        str, typer.Argument(help="The experiment whose open round is given up.", autocompletion=experiment_names)
    ],
    reason: Annotated[str, typer.Option(help="For the history.")] = DEFAULT_REASON,
) -> None:
    """Give up the open round; its answers and paid replies are kept for the next one on the same prompts."""
    print_plain(summary(give_up(experiment, reason)))
