"""The command `cyclealign rejudge`: a round's verdicts under another template, judge or set of demonstrations."""

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.cli.progress_bars import live_progress
from cyclealign.errors import BadConfig
from cyclealign.evaluation.report import interval
from cyclealign.judge import comparison
from cyclealign.judge.comparison import DemonstrationSet, Overrides
from cyclealign.records import Spending
from cyclealign.text import plain_text

if TYPE_CHECKING:
    from cyclealign.config import JudgeSettings
    from cyclealign.loop.rejudge import Outcome, Replay

MOST_CHANGED = 3
app = new_app()


@app.command()
def rejudge(
    experiment: Annotated[str, typer.Argument(help="The experiment.")],
    number: Annotated[int, typer.Option("--round", help="The round, open or closed.")],
    template: Annotated[Path | None, typer.Option(help="A folder with another rank.jinja.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file; its [judge] and [budget] count, if there.")] = None,
    judge: Annotated[str | None, typer.Option(help="Another model of an OpenAI-compatible endpoint.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Its address.")] = None,
    key_variable: Annotated[
        str | None, typer.Option(help="The name of the variable with its key; wanted where the address is another.")
    ] = None,
    demonstrations: Annotated[
        DemonstrationSet | None,
        typer.Option(help="none; the round's written ones; or these and the dynamic ones in use now."),
    ] = None,
    prompts: Annotated[int | None, typer.Option(min=1, help="So many of the round's lists.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask the judge without asking you.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Rank a round's answers again under another template, judge or demonstrations, and show what turns.

    No policy is loaded and nothing of the round changes. What it will cost is said first.
    """
    from cyclealign.loop.rejudge import foreseen, replay_of
    from cyclealign.loop.rejudge import rejudge as put_to_the_judge
    from flows.prefect_ports import PREFECT_PORTS

    change = Overrides(template, config, judge, base_url, demonstrations, prompts, key_variable)
    with replay_of(experiment, number, change, PREFECT_PORTS) as replay:
        agreed_to(replay, foreseen(replay), yes, as_json)
        with nullcontext() if as_json else live_progress(console):
            outcome = put_to_the_judge(replay)
        if as_json:
            print(json.dumps(as_values(replay, outcome), indent=2))
        else:
            show(replay, outcome)


def agreed_to(replay: "Replay", cost: Spending, yes: bool, as_json: bool) -> None:
    """Say what it will cost and ask whether it may.

    Raises:
        BadConfig: there is no key, or nobody to ask.
    """
    judge = replay.session.config.judge
    words = (
        f"{len(replay.lists)} lists of round {replay.round_.number}: at most {cost.calls:,} calls to "
        f"'{judge.model}' at {whereabouts(judge)}, about {cost.tokens:,} tokens and {cost.usd:.4f} USD; what is "
        "answered already is free, a repair of a reply that cannot be read comes on top."
    )
    if not as_json:
        say(words)
    if not cost.calls:
        return
    replay.session.ports.api_key(judge)  # that there is none is better known before a yes than after it
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        said = f"{words} " if as_json else ""
        raise BadConfig(f"{said}Nothing was asked: give --yes to have it asked.")
    typer.confirm("Ask the judge?", abort=True)


def whereabouts(judge: "JudgeSettings") -> str:
    """The judge's address, and where its key is."""
    from cyclealign.loop.backends import backend_of

    backend = backend_of(judge)
    if not backend.needs_key:
        return backend.location
    block = f" or Secret block '{judge.api_key_block}'" if judge.api_key_block else ""
    return f"{backend.location} (key in {judge.api_key_variable}{block})"


def show(replay: "Replay", outcome: "Outcome") -> None:
    """What came of it, for a person."""
    made = outcome.made
    say(f"template {made.template_hash[:12]}, judge {made.model}, demonstrations {made.demonstrations}")
    say(
        f"lists: {made.lists} compared, {made.unread} without a readable verdict; {made.pairs} pairs decided both times"
    )
    share = f"{interval(made.flips)} of the decided pairs of a list came out the other way"
    say(f"flips: {share if made.flips else 'no pair decided both times'}")
    say(f"Kendall tau of both orders: {interval(made.tau)}")
    say(f"cost: {spelled(made.cost)}; paid now: {spelled(outcome.paid)}")
    for diff in outcome.comparison.most_changed(MOST_CHANGED):
        say(f"\n> {plain_text(question_text(replay, diff))}  (tau {diff.tau:.2f}; place before -> after)")
        texts = texts_of(replay, diff)
        for item, before, after in comparison.rank_changes(diff):
            say(f"  {before} -> {after}. {plain_text(texts[item])}")


def say(words: str) -> None:
    """Print text of ours or of models as text."""
    print_plain(words)


def spelled(cost: Spending) -> str:
    """A cost in words."""
    return f"{cost.calls:,} calls, {cost.tokens:,} tokens, {cost.usd:.4f} USD"


def as_values(replay: "Replay", outcome: "Outcome") -> dict[str, Any]:
    """What came of it, for programs."""
    lists = [
        # "turned" is what 0.1.0 called "flipped".
        {
            **asdict(diff),
            "turned": diff.flipped,
            "question": question_text(replay, diff),
            "answers": texts_of(replay, diff),
        }
        for diff in outcome.comparison.diffs
    ]
    return {**asdict(outcome.made), "paid_now": asdict(outcome.paid), "turns": lists}


def question_text(replay: "Replay", diff: comparison.RankingDiff) -> str:
    """The prompt of a list, as text."""
    return next(each.text for each in replay.round_.plan.prompts if each.id == diff.prompt_id)


def texts_of(replay: "Replay", diff: comparison.RankingDiff) -> dict[str, str]:
    """The answers of a list by id."""
    return {each.id: each.text for each in replay.lists[diff.prompt_id]}
