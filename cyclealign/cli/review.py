"""The command `cyclealign review`: a person ranks the lists on which policy and judge disagree and the judge wavers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cyclealign.cli.console import console, indented, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.errors import BadConfig, BadOrder
from cyclealign.judge import human_review, templates
from cyclealign.records import LabelledList, Review
from cyclealign.store import Store
from cyclealign.store.reviews import labelled

QUIT, SKIP = "q", "s"
HOW = "Best first, such as [cyan]B A C[/]; [cyan]s[/] skips the list, [cyan]q[/] ends. Each answer is kept at once."
app = new_app()


@app.command()
def review(
    experiment: Annotated[str | None, typer.Argument(help="One experiment; all where absent.")] = None,
    number: Annotated[int | None, typer.Option("--round", help="One round of it.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show what was asked, and what became of it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
    queue: Annotated[
        int | None,
        typer.Option(
            min=1, help="Ask for so many lists of a round, the most doubtful ones; of the last that was judged."
        ),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Append what people ranked to a file of demonstrations, for you to look at.")
    ] = None,
) -> None:
    """Rank the lists on which policy and judge disagree and the judge is unsteady; their orders are shown after."""
    if queue is not None and export is not None:
        raise BadConfig("Give `--queue` and `--export` one after the other: only what people have ranked is exported.")
    if experiment is None and (number is not None or queue is not None or export is not None):
        raise BadConfig("Name the experiment: `cyclealign review EXPERIMENT --round N`.")
    with Store.open() as store:
        if experiment is not None:
            known(store, experiment, number)
        if queue is not None and experiment is not None:
            ask_for(store, experiment, number, queue)
        elif export is not None:
            write_demonstrations(store.reviews.find(experiment, number), export)
        elif as_json:
            print(json.dumps([as_values(each) for each in store.reviews.find(experiment, number)], indent=2))
        elif listing:
            console.print(listed(store.reviews.find(experiment, number)))
        else:
            ask_in_turn(store, [each for each in store.reviews.find(experiment, number) if each.status == "waiting"])


def known(store: Store, experiment: str, number: int | None) -> None:
    """Raise NoSuchExperiment unless there is such an experiment, and such a round of it."""
    if number is None:
        store.history.summaries(experiment)
    else:
        store.rounds.get(experiment, number)


def ask_for(store: Store, experiment: str, number: int | None, count: int) -> None:
    """Put the most doubtful lists of a round to people; of the last judged one where none is named."""
    chosen = last_judged(store, experiment) if number is None else number
    round_ = store.rounds.get(experiment, chosen)
    agreements = store.agreements.by_prompt(round_.id)
    doubts = human_review.most_uncertain(agreements.values(), store.rankings.by_prompt(round_.id, "judge"), count)
    new = store.reviews.add(round_.id, doubts)
    print_plain(
        f"Round {chosen} of '{experiment}': {new} lists queued, {len(doubts) - new} were there before, of "
        f"{len(agreements)}: lists on which the judge is steady, or agrees with the policy, are never asked for.",
    )


def last_judged(store: Store, experiment: str) -> int:
    """The last round whose policy and judge have been compared; the last one at all where there is none such."""
    numbers: list[int] = [row["number"] for row in store.history.summaries(experiment)][::-1]
    judged = (each for each in numbers if store.agreements.by_prompt(store.rounds.get(experiment, each).id))
    return next(judged, numbers[0])


def ask_in_turn(store: Store, waiting: Sequence[Review]) -> None:
    """Show each waiting list and keep the order that is typed; an end of the input ends it, and loses nothing."""
    if not waiting:
        console.print("No list is waiting. Queue some of a round: `cyclealign review EXPERIMENT --queue 5`.")
        return
    console.print(HOW, highlight=False)
    for place, each in enumerate(waiting, 1):
        letters = human_review.letters_of(each)
        show(each, letters, f"{place} of {len(waiting)}: {each.experiment}, round {each.number}")
        order = typed_order(letters)
        if order == QUIT:
            return
        kept = store.reviews.skip(each.round_id, each.prompt.id) if order == SKIP else answered(store, each, order)
        if not kept:
            console.print("Somebody else settled this list meanwhile; theirs stays.")


def show(asked: Review, letters: Mapping[str, str], heading: str) -> None:
    """The prompt and its answers under letters. What a model wrote is printed as text, and never at the margin."""
    console.rule(heading)
    console.print(indented("    ", asked.prompt.text))
    for letter, candidate in letters.items():
        console.print()
        console.print(indented(f"[{letter}] ", asked.answers[candidate]))


def typed_order(letters: Mapping[str, str]) -> tuple[str, ...] | str:
    """What the person answers: an order of candidate ids, `SKIP` or `QUIT`; asked again while it cannot be read."""
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
    """Keep the order; then, and not before, say what judge and policy hold."""
    if not store.reviews.answer(asked.round_id, asked.prompt.id, order):
        return False
    letters = human_review.letters_of(asked)
    for by in ("judge", "policy"):
        theirs = store.rankings.by_prompt(asked.round_id, "judge" if by == "judge" else "policy")[asked.prompt.id]
        print_plain(f"{by}: {human_review.format_order(theirs.order, letters)}")
    print_plain(f"{asked.why}")
    return True


def as_values(asked: Review) -> dict[str, Any]:
    """One list as JSON values, without the orders of judge and policy."""
    letters = human_review.letters_of(asked)
    return {
        "experiment": asked.experiment,
        "round": asked.number,
        "prompt_id": asked.prompt.id,
        "question": asked.prompt.text,
        "answers": {letter: asked.answers[each] for letter, each in letters.items()},
        "why": asked.why,
        "status": asked.status,
        "order": None if asked.verdict is None else human_review.format_order(asked.verdict, letters),
        "learnt": asked.learnt,
    }


def listed(reviews: Sequence[Review]) -> Table | str:
    """A row a list."""
    if not reviews:
        return (
            "Nobody was asked to rank a list yet: settings `review.lists`, or `cyclealign review EXPERIMENT --queue 5`."
        )
    table = Table("experiment", "round", "answers", "state", "why")
    for each in reviews:
        state = each.status if not each.learnt else f"{each.status}, learnt"
        table.add_row(each.experiment, str(each.number), str(len(each.answers)), state, each.why)
    return table


def write_demonstrations(reviews: Sequence[Review], path: Path) -> None:
    """Append what people ranked to a file in the form of prompts/demonstrations.jsonl; questions in it already stay.

    Raises:
        BadTemplate: the file holds a line that is no demonstration.
        BadConfig: there is a folder of that name, or the file cannot be written.
    """
    if path.is_dir():
        raise BadConfig(f"{path} is a folder: name a file, such as {path / 'candidates.jsonl'}.")
    written = templates.load_demonstrations(path) if path.exists() else ()
    lists = [labelled(each) for each in reviews if each.status == "answered"]
    new = human_review.new_lists(lists, written)
    if new:
        append(path, [as_line(each) for each in new])
    print_plain(
        f"{len(new)} lists added to {path}, {len(lists) - len(new)} of their questions were in it before. Look at them "
        "before the judge is shown any.",
    )


def append(path: Path, lines: Sequence[str]) -> None:
    """Add lines at the end of a file; what is there is not written again, so a cut leaves it whole."""
    try:
        with path.open("a+b") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 1, 0))
            gap = b"" if file.read(1) in (b"", b"\n") else b"\n"
            file.write(gap + "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise BadConfig(f"{path} cannot be written ({error.strerror}). Name another file.") from error


def as_line(each: LabelledList) -> str:
    """A labelled list as a line of prompts/demonstrations.jsonl."""
    return json.dumps({"question": each.prompt.text, "answers": list(each.answers)}, ensure_ascii=False)
