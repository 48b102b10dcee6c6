"""`cyclealign rejudge`: rank a round again with another template, judge or set of demonstrations."""

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import console, conversation, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.cli.progress_bars import live_progress
from cyclealign.errors import BadConfig
from cyclealign.evaluation.report import interval
from cyclealign.judge import comparison
from cyclealign.judge.comparison import DemonstrationSet, Overrides
from cyclealign.records import Prompt, Spending
from cyclealign.text import plain_text

if TYPE_CHECKING:
    from cyclealign.config import JudgeSettings
    from cyclealign.loop.rejudge import RejudgeResult
    from cyclealign.loop.replay import Replay

SHOWN_LISTS = 3  # those whose order changed most
app = new_app()


@app.command()
def rejudge(
    experiment: Annotated[str, typer.Argument(help="The experiment.", autocompletion=experiment_names)],
    number: Annotated[int, typer.Option("--round", help="The round, open or closed.")],
    template: Annotated[Path | None, typer.Option(help="A folder with another rank.jinja.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file; only its [judge] and [budget] are used.")] = None,
    judge: Annotated[str | None, typer.Option(help="Another model, behind an OpenAI-compatible endpoint.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Address of that model's endpoint.")] = None,
    key_variable: Annotated[
        str | None, typer.Option(help="Environment variable with its API key; required if the address changes.")
    ] = None,
    demonstrations: Annotated[
        DemonstrationSet | None,
        typer.Option(
            help="Demonstrations to show: none, the round's written ones, or these and the dynamic ones in use now."
        ),
    ] = None,
    prompts: Annotated[
        int | None, typer.Option(min=1, help="Number of lists to rank; default: all of the round.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send the calls without asking for confirmation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank a round's answers again with another template, judge or demonstrations, and show which preferences flip.

    No policy is loaded and the round does not change. The cost is shown before anything is sent.
    """
    from cyclealign.loop.rejudge import rejudge as send_to_judge
    from cyclealign.loop.replay import max_cost, open_replay
    from flows.prefect_ports import PREFECT_PORTS

    change = Overrides(template, config, judge, base_url, demonstrations, prompts, key_variable)
    with open_replay(experiment, number, change, PREFECT_PORTS) as replay:
        confirm_cost(replay, max_cost(replay), yes, as_json)
        with nullcontext() if as_json else live_progress(console):
            outcome = send_to_judge(replay)
        if as_json:
            print(json.dumps(as_values(replay, outcome), indent=2))
        else:
            show(replay, outcome)


def confirm_cost(replay: "Replay", cost: Spending, yes: bool, as_json: bool) -> None:
    """Print the cost and ask for confirmation.

    Raises:
        BadConfig: there is no API key, or no terminal on which to confirm.
    """
    judge = replay.session.config.judge
    words = (
        f"{len(replay.lists)} lists of round {replay.round_.number}: at most {cost.calls:,} calls to "
        f"'{judge.model}' at {judge_location(judge)}, about {cost.tokens:,} tokens and {cost.usd:.4f} USD. Stored "
        "replies are free; repairs of unreadable replies are not included."
    )
    if not as_json:
        print_plain(words)
    if not cost.calls:
        return
    replay.session.ports.api_key(judge)  # a missing key should stop this before the confirmation
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        cost_line = f"{words} " if as_json else ""
        raise BadConfig(f"{cost_line}Nothing was sent. Confirm with --yes.")
    typer.confirm("Send these calls to the judge?", abort=True)


def judge_location(judge: "JudgeSettings") -> str:
    """Return the judge's address and the place of its API key."""
    from cyclealign.loop.backends import backend_of

    backend = backend_of(judge)
    if not backend.needs_key:
        return backend.location
    block = f" or Secret block '{judge.api_key_block}'" if judge.api_key_block else ""
    return f"{backend.location} (key in {judge.api_key_variable}{block})"


def show(replay: "Replay", outcome: "RejudgeResult") -> None:
    """Print the comparison of both rankings."""
    made = outcome.rejudgement
    print_plain(f"template {made.template_hash[:12]}, judge {made.model}, demonstrations {made.demonstrations}")
    print_plain(
        f"lists: {made.lists} compared, {made.unread} without a readable verdict; {made.pairs} pairs decided both times"
    )
    share = f"{interval(made.flips)} of the decided pairs of a list flipped"
    print_plain(f"flips: {share if made.flips else 'no pair decided both times'}")
    print_plain(f"Kendall tau of both orders: {interval(made.tau)}")
    print_plain(f"cost: {format_cost(made.cost)}; paid now: {format_cost(outcome.paid)}")
    for diff in outcome.comparison.most_changed(SHOWN_LISTS):
        asked = question(replay, diff)
        if asked.turns:
            print_plain(f"\nA conversation (tau {diff.tau:.2f}; place before -> after)")
            console.print(conversation("> ", asked.text, asked.turns))
        else:
            print_plain(f"\n> {plain_text(asked.text)}  (tau {diff.tau:.2f}; place before -> after)")
        texts = texts_of(replay, diff)
        for item, before, after in comparison.rank_changes(diff):
            print_plain(f"  {before} -> {after}. {plain_text(texts[item])}")


def format_cost(cost: Spending) -> str:
    """Return a cost as text."""
    return f"{cost.calls:,} calls, {cost.tokens:,} tokens, {cost.usd:.4f} USD"


def as_values(replay: "Replay", outcome: "RejudgeResult") -> dict[str, Any]:
    """Return the comparison as JSON values."""
    lists = [
        # "turned" is what 0.1.0 called "flipped".
        {
            **asdict(diff),
            "turned": diff.flipped,
            "question": question(replay, diff).text,
            "turns": list(question(replay, diff).turns),
            "answers": texts_of(replay, diff),
        }
        for diff in outcome.comparison.diffs
    ]
    return {**asdict(outcome.rejudgement), "paid_now": asdict(outcome.paid), "turns": lists}


def question(replay: "Replay", diff: comparison.RankingDiff) -> Prompt:
    """Return the prompt of a list."""
    return next(prompt for prompt in replay.round_.plan.prompts if prompt.id == diff.prompt_id)


def texts_of(replay: "Replay", diff: comparison.RankingDiff) -> dict[str, str]:
    """Return the answers of a list by id."""
    return {answer.id: answer.text for answer in replay.lists[diff.prompt_id]}
