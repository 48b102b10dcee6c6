"""`cyclealign automate`: act on the events of experiments: notify, or start a distillation job."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.errors import BadConfig

app = new_app(no_args_is_help=True, help="Act on the events of experiments, by automations of the Prefect server.")
Experiment = Annotated[
    str | None, typer.Option("--experiment", help="Only of this one; default: all.", autocompletion=experiment_names)
]


@app.command()
def notify(
    block: Annotated[str, typer.Argument(help="A notification block as TYPE/NAME, such as slack-webhook/team.")],
    event: Annotated[list[str] | None, typer.Option(help="An event; repeat for several. Default: all.")] = None,
    experiment: Experiment = None,
) -> None:
    """Send the events of experiments through a notification block; the same command again replaces the automation."""
    with server_client() as client:
        from flows.server import automations

        unknown = sorted(set(event or ()) - set(automations.EVENTS))
        if unknown:
            raise BadConfig(f"Unknown event {', '.join(unknown)}. Events: {', '.join(automations.EVENTS)}.")
        name = automations.notify(client, block, event or list(automations.EVENTS), experiment)
    print_plain(f"Automation '{name}' is on. To switch it off, disable it under Automations.")


@app.command()
def distill(
    deployment: Annotated[str, typer.Argument(help="A job, such as pld, or a deployment as FLOW/NAME.")],
    experiment: Experiment = None,
    parameters: Annotated[
        str, typer.Option(help="Parameters of the run as JSON; default: those of the deployment.")
    ] = "{}",
) -> None:
    """Start a distillation job after each accepted round; the same command again replaces the automation."""
    name = deployment if "/" in deployment else f"{deployment}/{deployment}"
    with server_client() as client:
        from flows.server import automations

        made = automations.distill(client, name, experiment, read_parameters(parameters))
    print_plain(f"Automation '{made}' is on. To switch it off, disable it under Automations.")


def read_parameters(text: str) -> dict[str, Any]:
    """Return the parameters.

    Raises:
        BadConfig: they are not an object in JSON.
    """
    try:
        parameters = json.loads(text)
    except ValueError as error:
        raise BadConfig(f"--parameters is not JSON ({error}).") from error
    if not isinstance(parameters, dict):
        raise BadConfig('--parameters must be an object, such as {"config": {"seed": 1}}.')
    return parameters


@contextmanager
def server_client() -> Iterator[Any]:
    """Yield a client of the Prefect server in use.

    Raises:
        BadConfig: none is running.
    """
    from flows.server.environment import ServerConfig, prefect_answers
    from flows.server.ephemeral import running_server

    server = ServerConfig.here(0) if os.environ.get("PREFECT_API_URL") else running_server()
    if server is None or not prefect_answers(server):
        raise BadConfig("No Prefect server is running. Start `cyclealign up`, or set PREFECT_API_URL.")
    os.environ.update(server.environment())  # before Prefect, which reads it when it is first imported
    from flows.server.deploy import client_of

    with client_of(server) as client:
        yield client
