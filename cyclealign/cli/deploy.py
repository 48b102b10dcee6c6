"""`cyclealign deploy`: a deployment of one's own config, whose form in the Prefect UI shows it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cyclealign.cli.console import print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.config import ExperimentConfig, load_config
from cyclealign.errors import BadConfig
from cyclealign.files import home

app = new_app()


@app.command()
def deploy(
    config: Annotated[Path | None, typer.Argument(help="A TOML file; default: list your deployments.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the deployment; default: the experiment's.")] = None,
    remove: Annotated[str | None, typer.Option(help="Delete this deployment of yours, with its schedules.")] = None,
) -> None:
    """Make a deployment of your config, or update it; `cyclealign up` registers it again at every start."""
    from flows.server import own_deployments

    if remove is not None:
        if config is not None:
            raise BadConfig("Give either a config or --remove.")
        own_deployments.drop(home(), remove)
        print_plain(f"Deployment '{remove}' is removed{since_when(update_server())}.")
    elif config is not None:
        chosen = own_deployments.keep(home(), config, name)
        print_plain(
            f"Deployment '{chosen}' is kept in {own_deployments.folder_of(home())}{when(update_server(chosen))}."
        )
        if paths := relative_paths(load_config(config)):
            print_plain(
                "Its runs start in the folder of `cyclealign up`, where these paths must hold; write absolute ones if "
                f"that is not this folder: {', '.join(paths)}."
            )
    else:
        print_plain(
            "\n".join(own_deployments.names(home())) or "No deployment of your own: `cyclealign deploy my.toml`."
        )


def relative_paths(config: ExperimentConfig) -> list[str]:
    """Return the settings of the config that are relative paths to something in the current folder, as text."""
    given = {
        "templates": config.templates if "templates" in config.model_fields_set else None,
        "policy.model": config.policy.model,
        "policy.chat_template": config.policy.chat_template,
        "training.accelerate_config": config.training.accelerate_config,
    }
    return [
        f"{name} = '{path}'"
        for name, path in given.items()
        if path and not Path(path).is_absolute() and Path(path).exists()
    ]


def when(url: str | None) -> str:
    """Return when the change is seen in the Prefect UI."""
    return f" and shown at {url}/deployments" if url else "; the next `cyclealign up` shows it"


def since_when(url: str | None) -> str:
    """Return when the removal is seen in the Prefect UI."""
    return (
        f", and no longer shown at {url}/deployments" if url else "; the next `cyclealign up` takes it off the server"
    )


def update_server(name: str | None = None) -> str | None:
    """Register the deployment, or delete the removed ones, on the running server; return its address or None."""
    from flows.server.environment import ServerConfig, prefect_answers
    from flows.server.ephemeral import running_server

    server = ServerConfig.here(0) if os.environ.get("PREFECT_API_URL") else running_server()
    if server is None or not prefect_answers(server):
        return None
    # Prefect reads its settings when it is first imported.
    os.environ.update(server.environment())
    from flows.server import deploy as registration

    if name is not None:
        registration.deploy(server, name)
    else:
        with registration.client_of(server) as client:
            registration.delete_removed(client, server.home)
    return server.url
