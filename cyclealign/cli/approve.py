"""`cyclealign approve`: decide about a round that waits for a person."""

import getpass
import os
from typing import Annotated

import typer

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import print_plain
from cyclealign.cli.history_round import print_overview
from cyclealign.cli.lazy import new_app
from cyclealign.errors import BadConfig
from cyclealign.records import Approval, Choice
from cyclealign.store import Store
from cyclealign.text import plain_text

app = new_app()


@app.command()
def approve(
    experiment: Annotated[
        str, typer.Argument(help="The experiment whose round waits.", autocompletion=experiment_names)
    ],
    accept: Annotated[bool, typer.Option("--accept", help="The next round starts from this one's weights.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Roll the round back as a whole.")] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Leave the round open; runs end until it is accepted or rejected.")
    ] = False,
    comment: Annotated[str, typer.Option(help="For the history.")] = "",
    by: Annotated[str | None, typer.Option(help="Who decides; default: the user of this machine.")] = None,
) -> None:
    """Accept or reject the round that waits (acceptance.approval = "ask"), or stop; without an option, show it."""
    given: dict[Choice, bool] = {"accept": accept, "reject": reject, "stop": stop}
    chosen = [choice for choice, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise BadConfig("Give one of --accept, --reject and --stop.")
    with Store.open() as store:
        if not chosen:
            show(store, experiment)
            return
        approval = store.approvals.decide(experiment, chosen[0], comment.strip(), by or getpass.getuser())
    print_plain(plain_text(outcome(approval, resumed=resume_on_server(approval.run))))


def show(store: Store, experiment: str) -> None:
    """Print the round that waits with its figures, and what may be decided."""
    store.experiments.require(experiment)
    approval = store.approvals.waiting(experiment)
    if approval is None:
        print_plain(f"No round of '{experiment}' waits for a decision.")
        return
    print_overview(store.history.overview(experiment, approval.number))
    print_plain(f"Decide with `cyclealign approve {experiment}` and --accept, --reject or --stop.")


def outcome(approval: Approval, resumed: bool) -> str:
    """Return what was stored, and what happens next."""
    assert approval.decision is not None
    round_name = f"Round {approval.number} of '{approval.experiment}'"
    stored = f"{round_name}: {approval.decision.choice}, by {approval.decision.decided_by}."
    changed = " The earlier decision is kept in the history." if len(approval.decisions) > 1 else ""
    following = "Its suspended run goes on." if resumed else "It counts once the experiment is run again."
    return f"{stored}{changed} {following}"


def resume_on_server(run: str) -> bool:
    """Resume the suspended run on the server of `cyclealign up` or of PREFECT_API_URL; return whether there was one."""
    from flows.server.environment import ServerConfig, prefect_answers
    from flows.server.ephemeral import running_server

    server = ServerConfig.here(0) if os.environ.get("PREFECT_API_URL") else running_server()
    if server is None or not prefect_answers(server):
        return False
    # Prefect reads its settings when it is first imported.
    os.environ.update(server.environment())
    from flows.approval_form import resume

    return resume(run)
