"""`cyclealign up`: the Prefect server, a worker and the deployments."""

from typing import Annotated

import typer

from cyclealign.cli.lazy import new_app

app = new_app()


@app.command()
def up(port: Annotated[int, typer.Option(help="Port of the Prefect UI.")] = 4200) -> None:
    """Start the Prefect UI, a worker and the deployments, on this machine only."""
    from flows.server.up import up as bring_up

    bring_up(port)
