"""`cyclealign review`: rank uncertain lists, on which policy and judge disagree and the judge is unsteady."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import console, conversation, indented, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.errors import BadConfig, BadOrder
from cyclealign.judge import human_review, templates
from cyclealign.records import LabelledList, Review
from cyclealign.store import Store
from cyclealign.store.reviews import labelled

QUIT, SKIP = "q", "s"
HOW = "Best first, such as [cyan]B A C[/]; [cyan]s[/] skips the list, [cyan]q[/] quits. Each ranking is saved at once."
app = new_app()


@app.command()
def review(
    experiment: Annotated[
        str | None, typer.Argument(help="One experiment; default: all.", autocompletion=experiment_names)
    ] = None,
    number: Annotated[int | None, typer.Option("--round", help="One round of the experiment.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the reviews and their state.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="List them as JSON.")] = False,
    queue: Annotated[
        int | None,
        typer.Option(
            min=1, help="Queue this many of a round's most uncertain lists; default round: the last one judged."
        ),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Append the human rankings to a file, as candidates for written demonstrations.")
    ] = None,
) -> None:
    """Rank uncertain lists; the orders of policy and judge are shown after yours."""
    if queue is not None and export is not None:
        raise BadConfig("Run `--queue` and `--export` separately: only ranked lists are exported.")
    if experiment is None and (number is not None or queue is not None or export is not None):
        raise BadConfig("Name the experiment: `cyclealign review EXPERIMENT --round N`.")
    with Store.open() as store:
        if experiment is not None:
            require_known(store, experiment, number)
        if queue is not None and experiment is not None:
            queue_lists(store, experiment, number, queue)
        elif export is not None:
            write_demonstrations(store.reviews.find(experiment, number), export)
        elif as_json:
            print(json.dumps([as_values(row) for row in store.reviews.find(experiment, number)], indent=2))
        elif listing:
            console.print(listed(store.reviews.find(experiment, number)))
        else:
            ask_in_turn(store, [row for row in store.reviews.find(experiment, number) if row.status == "waiting"])


def require_known(store: Store, experiment: str, number: int | None) -> None:
    """Raise NoSuchExperiment unless the experiment exists, and the round if one is given."""
    if number is None:
        store.experiments.require(experiment)
    else:
        store.rounds.get(experiment, number)


def queue_lists(store: Store, experiment: str, number: int | None, count: int) -> None:
    """Queue the most uncertain lists of a round; default: of the last one judged."""
    chosen = last_judged(store, experiment) if number is None else number
    round_ = store.rounds.get(experiment, chosen)
    agreements = store.agreements.by_prompt(round_.id)
    doubts = human_review.most_uncertain(agreements.values(), store.rankings.by_prompt(round_.id, "judge"), count)
    new = store.reviews.add(round_.id, doubts)
    print_plain(
        f"Round {chosen} of '{experiment}': {new} lists queued, {len(doubts) - new} were queued before, of "
        f"{len(agreements)}. Lists on which the judge is steady or agrees with the policy are never queued.",
    )


def last_judged(store: Store, experiment: str) -> int:
    """Return the last round whose policy and judge rankings were compared; if there is none, the last round."""
    numbers: list[int] = [row["number"] for row in store.history.outcomes(experiment)][::-1]
    judged = (one for one in numbers if store.agreements.by_prompt(store.rounds.get(experiment, one).id))
    return next(judged, numbers[0])


def ask_in_turn(store: Store, waiting: Sequence[Review]) -> None:
    """Show each waiting list and store the order that is typed; end of input stops without loss."""
    if not waiting:
        console.print("No list is waiting. Queue some of a round: `cyclealign review EXPERIMENT --queue 5`.")
        return
    console.print(HOW, highlight=False)
    for place, row in enumerate(waiting, 1):
        letters = human_review.letters_of(row)
        show(row, letters, f"{place} of {len(waiting)}: {row.experiment}, round {row.number}")
        order = typed_order(letters)
        if order == QUIT:
            return
        saved = store.reviews.skip(row.round_id, row.prompt.id) if order == SKIP else answered(store, row, order)
        if not saved:
            console.print("Another reviewer ranked this list in the meantime; that ranking is kept.")


def show(asked: Review, letters: Mapping[str, str], heading: str) -> None:
    """Print the prompt and its answers under letters; text that a model wrote is indented, and never markup."""
    console.rule(heading)
    console.print(conversation("    ", asked.prompt.text, asked.prompt.turns))
    for letter, candidate in letters.items():
        console.print()
        console.print(indented(f"[{letter}] ", asked.answers[candidate]))


def typed_order(letters: Mapping[str, str]) -> tuple[str, ...] | str:
    """Read an order of candidate ids, `SKIP` or `QUIT`; ask again until the line can be parsed."""
    while True:
        try:
            text = console.input("\norder> ").strip()
        except EOFError:
            return QUIT
        if text.lower() in (QUIT, SKIP):
            return text.lower()
        try:
            return human_review.parse_order(text, letters)
        except BadOrder as problem:
            print_plain(str(problem))


def answered(store: Store, asked: Review, order: Sequence[str]) -> bool:
    """Store the order, and only then print those of judge and policy, which must not influence it."""
    if not store.reviews.answer(asked.round_id, asked.prompt.id, order):
        return False
    letters = human_review.letters_of(asked)
    for by in ("judge", "policy"):
        theirs = store.rankings.by_prompt(asked.round_id, "judge" if by == "judge" else "policy")[asked.prompt.id]
        print_plain(f"{by}: {human_review.format_order(theirs.order, letters)}")
    print_plain(f"{asked.why}")
    return True


def as_values(asked: Review) -> dict[str, Any]:
    """Return one list as JSON values, without the orders of judge and policy."""
    letters = human_review.letters_of(asked)
    return {
        "experiment": asked.experiment,
        "round": asked.number,
        "prompt_id": asked.prompt.id,
        "question": asked.prompt.text,
        "turns": list(asked.prompt.turns),
        "answers": {letter: asked.answers[candidate] for letter, candidate in letters.items()},
        "why": asked.why,
        "status": asked.status,
        "order": None if asked.verdict is None else human_review.format_order(asked.verdict, letters),
        "learnt": asked.learnt,
    }


def listed(reviews: Sequence[Review]) -> Table | str:
    """Return a table with a row per list."""
    if not reviews:
        return "No list was queued for review yet: set `review.lists`, or run `cyclealign review EXPERIMENT --queue 5`."
    table = Table("experiment", "round", "answers", "state", "why")
    for row in reviews:
        state = row.status if not row.learnt else f"{row.status}, used in training"
        table.add_row(row.experiment, str(row.number), str(len(row.answers)), state, row.why)
    return table


def write_demonstrations(reviews: Sequence[Review], path: Path) -> None:
    """Append the human rankings to a file in the format of prompts/demonstrations.jsonl; skip questions it has.

    Raises:
        BadTemplate: a line of the file is not a demonstration.
        BadConfig: the path is a folder, or the file cannot be written.
    """
    if path.is_dir():
        raise BadConfig(f"{path} is a folder: name a file, such as {path / 'candidates.jsonl'}.")
    written = templates.load_demonstrations(path) if path.exists() else ()
    lists = [labelled(row) for row in reviews if row.status == "answered"]
    new = human_review.new_lists(lists, written)
    if new:
        append(path, [as_line(row) for row in new])
    print_plain(
        f"{len(new)} lists added to {path}; {len(lists) - len(new)} were skipped, since it has their questions. Read "
        "them before you show any to the judge.",
    )


def append(path: Path, lines: Sequence[str]) -> None:
    """Append lines to a file without rewriting it, so that an interruption leaves the old lines whole."""
    try:
        with path.open("a+b") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 1, 0))
            gap = b"" if file.read(1) in (b"", b"\n") else b"\n"
            file.write(gap + "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise BadConfig(f"{path} cannot be written ({error.strerror}). Name another file.") from error


def as_line(row: LabelledList) -> str:
    """Return a labelled list as a line of prompts/demonstrations.jsonl."""
    asked = {"messages": list(row.prompt.turns)} if row.prompt.turns else {"question": row.prompt.text}
    return json.dumps({**asked, "answers": list(row.answers)}, ensure_ascii=False)
