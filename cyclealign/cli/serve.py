"""`cyclealign serve`: the accepted weights of an experiment behind vLLM's OpenAI-compatible address."""

import os
import time
from typing import Annotated

import typer

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.cli.progress_bars import live_progress

app = new_app()


@app.command()
def serve(
    experiment: Annotated[str, typer.Argument(help="The experiment.", autocompletion=experiment_names)],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on, on the loopback address.")] = 8000,
    poll_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks for a newly accepted round.")
    ] = 10.0,
) -> None:
    """Serve the accepted weights by vLLM, and switch when a new round is accepted; Ctrl-C ends.

    Requests need the key of the variable VLLM_API_KEY (engine.api_key_variable), and name the experiment as the model.
    """
    from cyclealign.errors import BadConfig
    from cyclealign.loop.chosen_weights import chosen_weights
    from cyclealign.loop.follow_accepted import follow_accepted
    from cyclealign.loop.session import open_session
    from cyclealign.policy.vllm_accepted import AcceptedServer
    from cyclealign.store import Store

    with Store.open() as store:
        config = chosen_weights(store, experiment).config
    variable = config.engine.api_key_variable
    if not (key := os.environ.get(variable, "").strip()):
        raise BadConfig(f"Set {variable} in the environment to a key of your choice; requests must have it.")
    engine = config.engine.model_copy(update={"port": port})
    with open_session(config) as session:
        server = AcceptedServer(config.policy, engine, session.model_folder, experiment, key)

        def announce_switch(number: int) -> None:
            print_plain(f"Round {number} is served at {server.url} as the model '{experiment}'. Ctrl-C ends.")

        try:
            print_plain("Starting vLLM (takes half a minute to several minutes).")
            with live_progress(console):
                follow_accepted(
                    session.store,
                    experiment,
                    server,
                    session.verify_weights,
                    lambda: time.sleep(poll_seconds),
                    announce_switch,
                )
        except KeyboardInterrupt:
            print_plain("Stopped.")
        finally:
            server.stop()
