"""The version of a template that the next round uses, after a round that was rolled back."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cyclealign.cli.main import app
from cyclealign.errors import NoSuchExperiment
from cyclealign.judge.templates import load_template
from cyclealign.loop.template_choice import choose_template
from cyclealign.records import Metric, Template
from cyclealign.store import Store, Verdict
from tests.support.paths import ROOT
from tests.support.store_values import answers, plan, prompt, prompts, ranked

GOOD = Metric("judge_accuracy", 0.8, 0.75, 0.85, 48)
ALIKE = Metric("judge_accuracy", 0.74, 0.69, 0.79, 48)
WORSE = Metric("judge_accuracy", 0.5, 0.45, 0.55, 48)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of templates, to be edited."""
    shutil.copytree(ROOT / "prompts", tmp_path / "templates")
    return tmp_path / "templates"


def edit(folder: Path) -> Template:
    file = folder / "rank.jinja"
    file.write_text(file.read_text().replace("You rank", "You carefully rank"))
    return load_template(folder, "rank")


def closed(store: Store, folder: Path, verdict: Verdict, accuracy: Metric | None, model: str = "a-judge") -> None:
    """A closed round with the template of the folder."""
    store.prompts.add("set", [(each, "train") for each in prompts(0, 2)], "test")
    chosen = plan(drawn=prompts(0, 2), templates=(load_template(folder, "rank"),))
    settings: dict[str, object] = {"judge": {"model": model}, "templates": str(folder)}
    made = store.rounds.open(replace(chosen, settings=settings), "me", 600)
    store.candidates.add(made.id, answers(made, prompt(0)))
    store.rankings.add(made.id, [ranked(answers(made, prompt(0)), "judge")])
    if accuracy is not None:
        store.metrics.record(made.id, [accuracy])
    store.rounds.close(made.id, "me", verdict, "win rate 0.48 is below 0.50")


@pytest.mark.parametrize(("accuracy", "model"), [(None, "a-judge"), (ALIKE, "a-judge"), (WORSE, "another")])
def test_an_edit_stays_unless_its_labels_were_worse(
    store: Store, folder: Path, accuracy: Metric | None, model: str
) -> None:
    """Prevents a win rate below its bound, much of it chance, from taking a person's edit out of use."""
    closed(store, folder, "accepted", GOOD)
    edited = edit(folder)
    closed(store, folder, "rolled_back", accuracy, model)
    choice = choose_template(store, "trial", folder, "rank")
    assert choice.template == edited
    assert "was used by round 2 of 'trial', rolled back (win rate 0.48 is below 0.50)" in choice.notice
    assert "`cyclealign templates keep rank --experiment trial`" in choice.notice


def test_an_edit_with_measurably_worse_labels_gives_way_until_it_is_kept(store: Store, folder: Path) -> None:
    """Prevents rounds that are paid for with labels known to be worse, and a decision that nobody can overrule."""
    accepted = load_template(folder, "rank")
    closed(store, folder, "accepted", GOOD)
    edited = edit(folder)
    closed(store, folder, "rolled_back", WORSE)
    choice = choose_template(store, "trial", folder, "rank")
    assert choice.template == accepted
    assert "less accurate with it (0.50 in round 2, 0.80 in 1)" in choice.notice
    assert f"The accepted version {accepted.hash[:12]} is used instead." in choice.notice
    store.templates.keep("trial", edited)
    assert choose_template(store, "trial", folder, "rank").template == edited
    assert choose_template(store, "trial", folder, "rank").notice == ""
    assert store.templates.kept("another") == set()


def test_an_edit_that_no_round_used_is_used_without_a_notice(store: Store, folder: Path) -> None:
    """Prevents a notice on every round."""
    closed(store, folder, "accepted", GOOD)
    edited = edit(folder)
    choice = choose_template(store, "trial", folder, "rank")
    assert (choice.template, choice.notice) == (edited, "")


def test_a_template_is_kept_for_an_experiment_that_exists(store: Store, folder: Path) -> None:
    """Prevents a decision that is stored under a misspelt name."""
    with pytest.raises(NoSuchExperiment):
        store.templates.keep("trail", load_template(folder, "rank"))


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["templates", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_check_names_the_edit_and_keep_keeps_it(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents an edit from being out of use without a way to see and to change it."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "400")
    with Store.open() as store:
        closed(store, folder, "accepted", GOOD)
        edited = edit(folder)
        closed(store, folder, "rolled_back", WORSE)
    checked = told("check", "--folder", str(folder))
    assert f"version {edited.hash[:12]}, was used by round 2 of 'trial'" in checked
    assert "is used instead" in checked
    assert "is kept: the next rounds of 'trial' use it" in told("keep", "--experiment", "trial")
    assert "is used instead" not in told("check", "--folder", str(folder))
    edit_again = folder / "rank.jinja"
    edit_again.write_text(edit_again.read_text() + "\n")
    assert "the next round uses it anyway" in told("keep", "rank", "--experiment", "trial", "--folder", str(folder))
