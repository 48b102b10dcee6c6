"""`cyclealign chat`: answers of trained weights and of others, next to each other in the terminal."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.cli.progress_bars import live_progress
from cyclealign.config import ExperimentConfig, checked
from cyclealign.errors import BadConfig, PolicyError
from cyclealign.loop.chosen_weights import ChosenWeights, chosen_weights
from cyclealign.loop.session import RoundSession, open_session
from cyclealign.policy import Answer
from cyclealign.records import Adapter, Message, Prompt
from cyclealign.store import Store
from cyclealign.text import plain_text, storable_text

BASE, PARENT = "base", "parent"
Side = tuple[str, Adapter | None]  # its heading, and its weights; None: the base model
app = new_app()


@app.command()
def chat(
    experiment: Annotated[str, typer.Argument(help="The experiment.", autocompletion=experiment_names)],
    against: Annotated[
        str, typer.Option(help="Compare with `base`, `parent` (the weights before the round) or the number of a round.")
    ] = BASE,
    number: Annotated[
        int | None, typer.Option("--round", help="A round, whatever its verdict; default: the last accepted one.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Per answer; default: policy.max_new_tokens of the round.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling; each prompt has its own.")] = 0,
) -> None:
    """Answer prompts, one a line, with trained weights and with others; Ctrl-D ends. Nothing is stored."""
    with Store.open() as store:
        chosen = chosen_weights(store, experiment, number)
        sides = ((f"round {chosen.round.number}", chosen.adapter), other_side(store, chosen, against))
    config = chosen.config
    if max_new_tokens is not None:
        changed = {**config.policy.model_dump(exclude_unset=True), "max_new_tokens": max_new_tokens}
        config = checked({**config.model_dump(exclude_unset=True), "policy": changed}, "command line")
    with open_session(config) as session:
        with live_progress(console):
            for _, weights in sides:  # both are found to be loadable before the first prompt
                session.use(weights)
        print_plain("One prompt a line; Ctrl-D ends. Each prompt starts a new conversation.")
        for place, line in enumerate(lines()):
            show_answers(session, sides, line, seed + place)


def other_side(store: Store, chosen: ChosenWeights, against: str) -> Side:
    """Return the weights to compare with.

    Raises:
        NoSuchExperiment: there is no such round.
        BadConfig: the text names nothing to compare with, or the round has no weights.
    """
    if against == BASE:
        return "base", None
    if against == PARENT:
        return ("parent", chosen.round.parent) if chosen.round.parent else ("parent (base)", None)
    if not against.isascii() or not against.isdecimal():
        raise BadConfig(f"--against takes base, parent or the number of a round; '{against}' is none of them.")
    other = chosen_weights(store, chosen.round.experiment, int(against))
    return f"round {other.round.number}", other.adapter


def lines() -> Iterator[str]:
    """Yield lines of standard input that are not blank, until its end."""
    if sys.stdin.isatty():
        import readline  # noqa: F401 - editing and history of `input`
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if line.strip():
            yield storable_text(line.strip())


def show_answers(session: RoundSession, sides: tuple[Side, ...], line: str, seed: int) -> None:
    """Print one answer of each side to a prompt, or the reason why there is none."""
    prompt = Prompt.of((Message(role="user", content=line),))
    try:
        answers = [answer_of(session, weights, prompt, seed) for _, weights in sides]
    except PolicyError as error:
        print_plain(plain_text(f"No answer: {error}"))
        return
    table = Table(show_lines=False, expand=True)
    for heading, _ in sides:
        table.add_column(heading, ratio=1, overflow="fold")
    table.add_row(*[Text(shown(answer, session.config)) for answer in answers])
    console.print(table)


def answer_of(session: RoundSession, weights: Adapter | None, prompt: Prompt, seed: int) -> Answer:
    """Return one sample.

    Raises:
        PolicyError: the prompt does not fit, or the weights cannot be used.
    """
    session.use(weights)
    room = session.policy.context_tokens - session.config.policy.max_new_tokens
    if (length := len(session.policy.prompt_ids(prompt))) > room:
        raise PolicyError(
            f"the prompt has {length} tokens, and the context has room for {max(room, 0)} beside "
            f"{session.config.policy.max_new_tokens} new ones. Shorten it, or lower --max-new-tokens."
        )
    ((answer,),) = session.policy.answer([prompt], 1, seed)
    return answer


def shown(answer: Answer, config: ExperimentConfig) -> str:
    """Return an answer as text that cannot control the terminal, with a note if it was cut."""
    text = plain_text(answer.text) or "(empty)"
    return f"{text}\n(cut at {config.policy.max_new_tokens} tokens)" if answer.finish_reason == "length" else text
