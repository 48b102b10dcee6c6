"""Messages about labels that an older version of a template made."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cyclealign.cli.main import app
from cyclealign.judge.template_versions import format_ranges, from_folder, stale_messages, stale_on_disk
from cyclealign.judge.templates import load_template
from cyclealign.records import LabelVersion, Template
from cyclealign.store import Store
from tests.support.store_values import answers, opened, prompt, ranked

NOW = Template("rank", "now")
RUNNER = CliRunner()


def label(number, version, experiment="demo", folder="prompts"):
    return LabelVersion(experiment, number, folder, version, 10)


def test_rounds_with_the_same_older_version_share_one_message():
    """Prevents labels from being read as if the current wording had made them."""
    rows = [
        label(1, "old" * 8),
        label(2, "old" * 8),
        label(3, NOW.hash),
        label(4, "older" * 5),
        label(1, NOW.hash, "x"),
    ]
    assert stale_messages(rows, NOW, Path("prompts")) == [
        f"rank.jinja is version {NOW.hash[:12]}; the labels of rounds 1-2 of 'demo' (20) were made with oldoldoldold: "
        "`cyclealign rejudge demo --round 2 --template prompts` shows what would change.",
        f"rank.jinja is version {NOW.hash[:12]}; the labels of round 4 of 'demo' (10) were made with olderolderol: "
        "`cyclealign rejudge demo --round 4 --template prompts` shows what would change.",
    ]


def test_labels_from_other_folders_are_left_out(tmp_path):
    """Prevents an experiment with its own template folder from being called stale."""
    rows = [label(1, "a", "mine", str(tmp_path)), label(1, "b"), label(2, "b", folder=str(tmp_path))]
    assert from_folder(rows, tmp_path) == rows
    assert from_folder(rows, Path("prompts")) == []
    assert stale_on_disk(rows[:1], "rank") == [], "the file is not there"


@pytest.mark.parametrize(("numbers", "words"), [([1, 2, 3, 5], "1-3, 5"), ([4], "4"), ([], "")])
def test_ranges_of_round_numbers(numbers, words):
    """Prevents a message that names the wrong rounds."""
    assert format_ranges(numbers) == words


def test_check_and_history_report_stale_labels_after_an_edit_only(tmp_path, monkeypatch):
    """Prevents labels from an older template version from going unnoticed."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    folder = tmp_path / "prompts"
    folder.mkdir()
    for name in ("rank.jinja", "demonstrations.jsonl"):
        (folder / name).write_text((Path("prompts") / name).read_text())
    monkeypatch.chdir(tmp_path)
    assert "labels" not in RUNNER.invoke(app, ["templates", "check"]).output
    assert not (tmp_path / "home").exists(), "a check makes no database"
    with Store.open() as store:
        made = opened(store, templates=[load_template(folder, "rank")])
        given = answers(made, prompt(0))
        store.candidates.add(made.id, given)
        store.rankings.add(made.id, [ranked(given)])
    assert "labels" not in RUNNER.invoke(app, ["templates", "check"]).output
    text = (folder / "rank.jinja").read_text()
    (folder / "rank.jinja").write_text(text.replace("You rank", "You carefully rank"))
    for command in (["templates", "check"], ["history", "trial"], ["history"]):
        said = " ".join(RUNNER.invoke(app, command).output.split())
        assert "the labels of round 1 of 'trial' (1)" in said
        assert "cyclealign rejudge trial --round 1 --template prompts" in said
