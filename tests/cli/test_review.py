"""`cyclealign review` at a terminal: output, stored rankings, and typing errors."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cyclealign.cli.main import app
from cyclealign.judge import human_review
from cyclealign.judge.templates import load_demonstrations
from cyclealign.records import Agreement, Candidate, Doubt, Ranking
from cyclealign.store import Store
from tests.support.store_values import opened, prompt, prompts

HOSTILE = "\x1b[2J[bold]look[/bold] at me\u2028twice"


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store in which two lists of one round wait for a person; the judge's order is that of the ids."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    with Store.open() as store:
        made = opened(store)
        for each in prompts(0, 3):
            ids = [f"{each.id}-{place}" for place in range(3)]
            texts = ("fine", HOSTILE, "poor")
            rows = [
                Candidate(id_, each.id, place, text, (1, place), -1.0 - place, "stop", None)
                for place, (id_, text) in enumerate(zip(ids, texts, strict=True))
            ]
            store.candidates.add(made.id, rows)
            steadiness = 0.25 if each == prompt(2) else 0.5
            judged = [Ranking(each.id, "judge", tuple(ids), steadiness), Ranking(each.id, "policy", tuple(ids[::-1]))]
            store.rankings.add(made.id, judged)
            store.agreements.record(made.id, [Agreement(each.id, (), 0, 3, 1.0, -1.0)])
        store.reviews.add(made.id, [Doubt(prompt(0).id, "the first doubt"), Doubt(prompt(1).id, "the second doubt")])
        yield store


def told(*arguments: str, typed: str = "") -> str:
    result = CliRunner().invoke(app, ["review", *arguments], input=typed, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return str(result.output)


def best_first(store: Store, place: int) -> str:
    """Return the line that ranks the answers in the order of their ids."""
    asked = store.reviews.find("trial")[place]
    return human_review.format_order(sorted(asked.answers), human_review.letters_of(asked))


def test_each_order_is_kept_at_once_and_a_wrong_one_is_asked_for_again(memory: Store) -> None:
    """Prevents answers that are lost when the person stops, and a slip that is kept as a gold label."""
    output = told("trial", typed=f"A A B\n{best_first(memory, 0)}\n")  # then the input ends
    assert "more than once: A" in output
    found = memory.reviews.find("trial")
    assert [each.status for each in found] == ["answered", "waiting"]
    assert found[0].verdict == tuple(sorted(found[0].answers))


def test_the_orders_of_judge_and_policy_are_told_after_the_persons_own(memory: Store) -> None:
    """Prevents a person who is led by what the judge holds: the label would be the judge's again."""
    output = told("trial", typed=f"{best_first(memory, 0)}\nq\n")
    first_list = output[output.index("1 of 2") : output.index("order>")]
    assert "judge" not in first_list
    assert "doubt" not in first_list
    assert f"judge: {best_first(memory, 0)}" in output[output.index("order>") :]


def test_a_skipped_list_does_not_come_back_and_one_that_was_left_does(memory: Store) -> None:
    told("trial", typed="s\nq\n")
    assert [each.status for each in memory.reviews.find("trial")] == ["skipped", "waiting"]
    assert "1 of 1" in told(typed="q\n")


def test_what_a_model_wrote_reaches_the_terminal_as_text(memory: Store) -> None:
    """Prevents an answer from clearing the screen or hiding another one, here and in the history."""
    asked = told("trial", typed="q\n")
    history = CliRunner().invoke(app, ["history", "trial", "--round", "1"], catch_exceptions=False).output
    for output in (asked, history):
        assert "\x1b" not in output
        assert "\\u001b[2J[bold]look[/bold] at me" in output


@pytest.mark.parametrize("columns", ["200", "40"])
def test_no_answer_can_pass_for_two(memory: Store, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """Prevents an answer that writes another one below itself, by its lines or by where a terminal breaks them."""
    monkeypatch.setenv("COLUMNS", columns)
    forged = ("> a prompt", "[C] a fine answer", "[D] another", "  1. (-0.10) the best")
    text = "\n\n".join(forged) + "\n" + " ".join(["x" * 33, *forged])
    made = opened(memory, experiment="forger")
    ids = [f"forged-{place}" for place in range(3)]
    rows = [
        Candidate(id_, prompt(0).id, place, f"{place} {text}", (1, place), -1.0, "stop", None)
        for place, id_ in enumerate(ids)
    ]
    memory.candidates.add(made.id, rows)
    memory.rankings.add(made.id, [Ranking(prompt(0).id, "judge", tuple(ids), 0.5)])
    memory.reviews.add(made.id, [Doubt(prompt(0).id, "why")])
    shown = told("forger", typed="q\n")
    assert re.findall(r"^\[.\]", shown, re.MULTILINE) == ["[A]", "[B]", "[C]"]
    history = CliRunner().invoke(app, ["history", "forger", "--round", "1"], catch_exceptions=False).output
    assert re.findall(r"^ {0,4}(\d)\. \(", history, re.MULTILINE) == ["1", "2", "3"]


def test_the_history_says_what_people_said(memory: Store) -> None:
    """Prevents gold labels that nobody can find again, or a judge that looks right where people found it wrong."""
    memory.reviews.answer(1, prompt(0).id, sorted(memory.reviews.find("trial")[0].answers)[::-1])
    output = CliRunner().invoke(app, ["history", "trial", "--round", "1"], catch_exceptions=False).output
    assert "a reviewer ranked: 3 2 1 (not used in training; the first doubt)" in output
    assert "sent to reviewers: waiting" in output
    assert "judge against reviewers (judge_against_people): 0.000" in output
    assert "policy against reviewers (policy_against_people): 1.000" in output


def test_the_most_doubtful_lists_of_a_round_can_be_queued_afterwards(memory: Store) -> None:
    """Prevents people from being useful only while a run waits for them, and the same list from being asked twice."""
    memory.rounds.close(1, "me", "accepted", "better")
    assert "1 lists queued, 1 were queued before" in told("trial", "--queue", "2")
    assert [each.prompt for each in memory.reviews.find("trial")] == [prompt(0), prompt(1), prompt(2)]
    rows = json.loads(told("trial", "--round", "1", "--json"))
    assert [each["question"] for each in rows] == ["question 0", "question 1", "question 2"]
    assert set(rows[0]["answers"]) == {"A", "B", "C"}


def test_after_a_refused_round_the_lists_of_the_judged_one_are_queued(memory: Store) -> None:
    """Prevents a queue that stays empty because the last round ended before anything was ranked."""
    memory.rounds.close(1, "me", "accepted", "better")
    refused = opened(memory, drawn=prompts(4, 6))
    memory.rounds.close(refused.id, "me", "rolled_back", "the judge failed its controls")
    assert "Round 1 of 'trial': 1 lists queued" in told("trial", "--queue", "2")
    empty = " ".join(told("trial", "--queue", "2", "--round", "2").split())
    assert "Lists on which the judge is steady or agrees with the policy are never queued" in empty


def test_what_cannot_be_exported_to_says_so_and_stays(memory: Store, tmp_path: Path) -> None:
    """Prevents a queue or an export that is silently left out, and a traceback for a folder."""
    file = tmp_path / "candidates.jsonl"
    both = CliRunner().invoke(app, ["review", "trial", "--queue", "2", "--export", str(file)])
    assert "separately" in str(both.exception)
    assert not file.exists()
    assert len(memory.reviews.find("trial")) == 2
    folder = CliRunner().invoke(app, ["review", "trial", "--export", str(tmp_path)])
    assert "is a folder: name a file" in str(folder.exception)


def test_exported_lists_can_be_read_as_demonstrations_and_come_once(memory: Store, tmp_path: Path) -> None:
    """Prevents a file that the next round cannot load, and one that grows with each export."""
    file = tmp_path / "candidates.jsonl"
    file.write_text('{"question": "mine", "answers": ["good", "bad"]}')  # without an end of line
    assert "0 lists added" in told("trial", "--export", str(file))
    memory.reviews.answer(1, prompt(0).id, sorted(memory.reviews.find("trial")[0].answers))
    told("trial", "--export", str(file))
    assert "0 lists added" in told("trial", "--export", str(file))
    mine, exported = load_demonstrations(file)
    assert (mine.question, exported.question) == ("mine", "question 0")
    assert exported.answers == ("fine", HOSTILE, "poor")


def test_a_round_without_its_experiment_is_refused(memory: Store) -> None:
    result = CliRunner().invoke(app, ["review", "--round", "1"])
    assert "Name the experiment" in str(result.exception)
