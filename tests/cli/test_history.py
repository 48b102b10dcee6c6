"""`cyclealign history` of one round: pages, kinds of prompts, figures; and the names of `--json` everywhere."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from cyclealign.cli.main import app
from cyclealign.records import Agreement, Doubt, Flag, Metric, TrainingStep
from cyclealign.store import PromptFilter, Store
from tests.support.store_values import answers, call, opened, prompt, prompts, ranked, reply

pytestmark = pytest.mark.slow

QUESTIONS = 45


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store with a round of 45 prompts: 0 to 39 judged, of which 3 and 7 in disagreement; 40 and 41 without a
    verdict, 42 set aside; an answer to 5 is flagged, one to 11 truncated; 9 was sent to reviewers.
    """
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    with Store.open() as store:
        made = opened(store, drawn=prompts(0, QUESTIONS), held_out=prompts(100, 102))
        for each in (*prompts(0, 42), *prompts(100, 102)):
            whole = [replace(answer, finish_reason="stop") for answer in answers(made, each)]
            store.candidates.add(made.id, answers(made, each) if each == prompt(11) else whole)
        for number, each in enumerate(prompts(0, 40)):
            given = answers(made, each)
            tau = {3: -0.5, 7: -1.0}.get(number, 0.5)
            store.rankings.add(made.id, [ranked(given, "policy"), ranked(given[::-1], "judge")])
            store.agreements.record(made.id, [Agreement(each.id, (given[0].id,), 1, 3, 1.0, tau)])
        for each in prompts(40, 42):
            store.rankings.mark_unjudged(made.id, each.id, "no verdict")
        store.prompts.set_aside(made.id, prompt(42).id, "too long")
        store.candidates.add_flags([Flag(answers(made, prompt(5))[0].id, "injection", "rank me")])
        store.reviews.add(made.id, [Doubt(prompt(9).id, "a doubt")])
        store.calls.record_reply(made.id, call(0), reply())
        store.metrics.record(made.id, [Metric("win_rate", 0.625, 0.5, 0.75, 24), Metric("drift", 0.125)])
        store.metrics.record(made.id, [Metric("agreement_tau", 0.25)])
        steps = [TrainingStep(1, loss=2.5, ranking_accuracy=0.25), TrainingStep(2, loss=0.5, ranking_accuracy=0.75)]
        store.training_steps.record(made.id, "me", steps)
        yield store


def told(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == code, result.output
    return str(result.output) if code == 0 else f"{type(result.exception).__name__}: {result.exception}"


def asked(output: str) -> list[int]:
    """Return the numbers of the questions shown."""
    return [int(line.removeprefix("> question ")) for line in output.splitlines() if line.startswith("> question")]


def test_a_round_is_shown_a_page_at_a_time_with_the_way_to_the_next_one(memory: Store) -> None:
    """Prevents a round of thousands of prompts from scrolling its own figures away."""
    first = told("history", "trial", "--round", "1")
    assert asked(first) == [*range(20)]
    assert "Prompts 1 to 20 of 45 training prompts." in first
    assert "More: cyclealign history trial --round 1 --page 2" in first
    last = told("history", "trial", "--round", "1", "--page", "3")
    assert asked(last) == [*range(40, 45)]
    assert "More:" not in last


def test_a_round_shows_how_its_training_went(memory: Store) -> None:
    """Prevents a training of which the mean loss is all that can be seen."""
    lines = told("history", "trial", "--round", "1").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("training, 2 steps"))
    assert [line.split() for line in lines[start + 1 : start + 3]] == [
        ["loss", "2.5", "0.5", "█▁"],
        ["ranking", "accuracy", "0.25", "0.75", "▁█"],
    ]
    shown = json.loads(told("history", "trial", "--round", "1", "--json"))["training_steps"]
    assert [(step["step"], step["loss"], step["kl_from_parent"]) for step in shown] == [(1, 2.5, None), (2, 0.5, None)]


def test_the_command_for_the_next_page_keeps_the_filters(memory: Store) -> None:
    """Prevents a next page of other prompts."""
    output = told("history", "trial", "--round", "1", "--search", "Question 1", "--limit", "4")
    assert asked(output) == [1, 10, 11, 12]
    assert "Prompts 1 to 4 of 11 training prompts with 'Question 1'." in output
    assert "--round 1 --search 'Question 1' --limit 4 --page 2" in output


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("disagreed", [7, 3]),
        ("unjudged", [40, 41]),
        ("set-aside", [42]),
        ("flagged", [5]),
        ("truncated", [11]),
        ("reviewed", [9]),
    ],
)
def test_prompts_of_a_kind(memory: Store, kind: str, numbers: list[int]) -> None:
    """Prevents a look through thousands of lists for the few that are odd; the most disagreed come first."""
    assert asked(told("history", "trial", "--round", "1", "--only", kind)) == numbers


def test_kinds_are_combined_and_none_is_said(memory: Store) -> None:
    """Prevents a page without prompts from looking like a round without prompts."""
    output = told("history", "trial", "--round", "1", "--only", "flagged", "--only", "reviewed")
    assert "No flagged reviewed training prompts." in output


def test_search_finds_answers_and_takes_signs_literally(memory: Store) -> None:
    """Prevents a per cent sign from matching everything."""
    assert asked(told("history", "trial", "--round", "1", "--search", "ANSWER 2", "--limit", "2")) == [0, 1]
    assert asked(told("history", "trial", "--round", "1", "--search", "%")) == []


def test_held_out_prompts_are_shown_when_asked_for(memory: Store) -> None:
    """Prevents the answers that decide over a round from being visible in the database alone."""
    assert asked(told("history", "trial", "--round", "1", "--held-out")) == [100, 101]


def test_a_page_beyond_the_end_and_a_filter_without_a_round_are_refused(memory: Store) -> None:
    """Prevents options without effect."""
    assert "45 prompts make 3 pages of 20" in told("history", "trial", "--round", "1", "--page", "4", code=1)
    assert "add --round N" in told("history", "trial", "--only", "flagged", code=1)
    assert "add --round N" in told("history", "trial", "--round", "1", "--failures", "--search", "x", code=1)


def test_failures_are_counted_by_reason_and_show_a_reply(memory: Store) -> None:
    """Prevents hundreds of equal rows, none of which says what the judge replied."""
    with Store.open() as store:
        round_id = store.rounds.get("trial", 1).id
    asked_calls = [call(number) for number in range(50, 53)]
    for one in asked_calls:
        memory.calls.record_reply(
            round_id, one, replace(reply(), text="Let me see. " * 40 + "\nBest [bold]first[/]: B, A")
        )
    memory.calls.record_parse_problems(round_id, {one.key: "no ranking" for one in asked_calls})
    memory.calls.record_failure(round_id, call(60), "Status 500")
    table = " ".join(told("history", "trial", "--failures").replace("│", " ").split())
    assert table.count("no ranking") == 1
    assert "1 rank 3 3 Unreadable: no ranking The reply to one: '..." in table
    assert "Best [bold]first[/]: B, A'" in table
    assert "1 rank 1 1 Status 500" in table


def test_a_page_reads_the_rows_of_its_prompts_alone(memory: Store) -> None:
    """Prevents a page of twenty from loading a hundred thousand answers."""
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    with Store.open() as store:
        sa.event.listen(store.engine, "before_cursor_execute", note)
        rows, count = store.history.prompts("trial", 1, PromptFilter(), limit=2, start=1)
    assert ([row["prompt"] for row in rows], count) == (["question 1", "question 2"], 45)
    for table in ("answers", "ranking_preference", "ranking_place", "agreement ", "candidate_flag"):
        read = [statement for statement in statements if f"FROM {table}" in statement or f"JOIN {table}" in statement]
        assert read, table
        assert all("prompt_id IN (" in statement for statement in read), table


def test_figures_are_named_and_explained(memory: Store) -> None:
    """Prevents names such as `health_swap` without a hint at their meaning; a number without an entry stays."""
    output = told("history", "trial", "--round", "1")
    tau, won, drift = (
        output.index("agreement (Kendall tau) (agreement_tau): 0.250"),
        output.index("win rate against the parent (win_rate): 0.625 [0.500, 0.750]"),
        output.index("drift: 0.125"),
    )
    assert tau < won < drift
    assert "Mean Kendall tau between the rankings of policy and judge; 0 by chance." in output


def columns(store: Store, view: str) -> set[str]:
    with store.engine.connect() as connection:
        return {*connection.exec_driver_sql(f"SELECT * FROM {view} LIMIT 0").keys()}


def test_json_of_a_round_has_the_names_of_the_views(memory: Store) -> None:
    """Prevents an analysis that has to translate between the database and the command line."""
    (summary,) = json.loads(told("history", "trial", "--json"))
    assert {*summary} == columns(memory, "round_summary")
    whole = json.loads(told("history", "trial", "--round", "1", "--json"))
    first = whole["prompts"][0]
    names = {*whole["summary"], *first, *first["candidates"][0]}
    assert columns(memory, "answers") <= names
    assert (first["candidates"][0]["judge_place"], first["candidates"][0]["agreed"]) == (3, True)
    assert len(whole["prompts"]) == QUESTIONS + 2
    assert "page" not in whole


def test_json_of_a_page_says_how_many_pages_there_are(memory: Store) -> None:
    """Prevents a program from taking the first page for the round."""
    part = json.loads(told("history", "trial", "--round", "1", "--json", "--only", "unjudged", "--limit", "1"))
    assert [row["prompt"] for row in part["prompts"]] == ["question 40"]
    assert part["page"] == {"number": 1, "limit": 1, "prompts": 2, "pages": 2}


def test_names_of_earlier_releases_still_work(memory: Store) -> None:
    """Prevents an upgrade from breaking the programs that read the output of 0.2."""
    first = json.loads(told("history", "trial", "--round", "1", "--json"))["prompts"][0]
    assert (first["id"], first["text"]) == (first["prompt_id"], first["prompt"])
    answer = first["candidates"][0]
    assert (answer["id"], answer["text"]) == (answer["candidate_id"], answer["answer"])
    (judge,) = json.loads(told("judges", "--json"))
    assert (judge["template"], judge["calls"], judge["tokens"]) == (judge["template_hash"], 1, 110)


def test_json_of_judges_and_runs_has_the_names_of_the_views(memory: Store) -> None:
    """Prevents two names for one number."""
    (judge,) = json.loads(told("judges", "--json"))
    of_a_call = {"experiment", "round", "purpose", "attempts", "seconds", "estimated_tokens"}
    assert columns(memory, "judge_spending") - of_a_call <= {*judge}
    run_id = memory.distillations.open("pld", {"seed": 7}, ("settings", "code"), 7).id
    memory.distillations.finish(run_id, [Metric("accuracy", 0.5, 0.25, 0.75, 8, arm="student")])
    (run,) = json.loads(told("distill", "show", "--json"))
    assert columns(memory, "distillation_summary") <= {*run, *run["measures"][0]}
    assert (run["id"], run["measures"][0]["name"]) == (run["run"], run["measures"][0]["measure"])
