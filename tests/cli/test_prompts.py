"""`cyclealign prompts`: counts, remarks, dry runs, lists and single sets."""

import json

import pytest

from cyclealign.store import Store
from tests.support.experiment import run_command
from tests.support.prompt_files import written

ANSWERED = {"messages": [{"role": "user", "content": "[bold]q[/]"}, {"role": "assistant", "content": "a"}], "n": 1}


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys):
    """Return a function that runs `cyclealign prompts` and returns its output as one line of words."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))

    def run(*args: str) -> str:
        code, output, errors = run_command(capsys, "prompts", *args)
        assert code == 0, output + errors
        return " ".join(output.split())

    return run


def test_an_import_names_each_count(ran, tmp_path):
    """Prevents dropped turns, skipped rows and left out columns from going unnoticed."""
    pairs = [{"prompt": f"p{number}", "chosen": "x", "rejected": "y"} for number in range(3)]
    source = written(tmp_path, ANSWERED, *pairs, {"prompt": "p0"}, {"text": "bad"})
    said = ran("import", source, "--set", "s", "--skip-bad", "--hold-out-labelled", "--held-out-share", "0")
    assert "4 prompts added, 0 already there; 6 rows read, 1 skipped, 1 repeated a prompt, 3 held out" in said
    assert "3 labelled lists added, 0 already there" in said
    assert "Answers of the assistant at the end dropped (the policy writes its own): 1" in said
    assert "line 6: expected a non-empty 'prompt'" in said
    assert "Columns not read: n." in said
    again = ran("import", source, "--set", "s", "--skip-bad", "--hold-out-labelled")
    assert "0 prompts added, 4 already there" in again
    assert "0 labelled lists added, 3 already there" in again


def test_labelled_lists_of_train_prompts_are_named(ran, tmp_path):
    """Prevents a set whose judge cannot be measured, although the file had the labels."""
    source = written(tmp_path, {"prompt": "q", "chosen": "x", "rejected": "y"})
    said = ran("import", source, "--set", "s", "--held-out-share", "0")
    assert "Labelled lists left out, since their prompts are for training: 1. --hold-out-labelled" in said
    again = ran("import", source, "--set", "s", "--hold-out-labelled")
    assert "since the set has their prompts for training: 1" in again
    with Store.open() as store:
        assert store.prompts.labelled_lists("s") == []


def test_a_dry_run_shows_prompts_and_stores_nothing(ran, tmp_path):
    """Prevents a set from being filled with the wrong column before anybody has looked."""
    rows = [ANSWERED, *[{"prompt": f"p{number}"} for number in range(5)]]
    said = ran("import", written(tmp_path, *rows), "--set", "s", "--dry-run")
    assert "Nothing was stored" in said
    assert "user: [bold]q[/]" in said
    assert ["p1" in said, "p2" in said] == [True, False]
    assert "No prompt set yet" in ran("list")


def test_sets_are_listed_and_shown(ran, tmp_path):
    source = written(tmp_path, {"prompt": "q", "chosen": "best", "rejected": "worst"}, {"prompt": "other"})
    ran("import", source, "--set", "s", "--hold-out-labelled", "--held-out-share", "0")
    listed = json.loads(ran("list", "--json"))
    assert listed == [{"name": "s", "train": 1, "held_out": 1, "labelled": 1, "unused": 1}]
    assert "user: other" in ran("show", "s")
    labelled = ran("show", "s", "--split", "labelled")
    assert labelled.index("answer 1: best") < labelled.index("answer 2: worst")


def test_a_log_is_imported_without_secrets_near_duplicates_and_beyond_a_sample(ran, tmp_path):
    """Prevents an import of traffic that keeps a key, counts a text twice, or does not say what it left out."""
    question = "how do i bake a loaf of bread in a small oven without a tin and without much salt"
    texts = [question, f"{question}?", "mail the invoice to me@example.org", "write a poem about tyres"]
    records = [{"request": {"messages": [{"role": "user", "content": text}]}} for text in texts]
    source = written(tmp_path, *records, records[0], {"type": "SPAN", "input": "x"})
    said = ran("import", source, "--set", "s", "--from", "openai-log", "--held-out-share", "0")
    assert "3 prompts added, 0 already there; 6 rows read, 0 skipped, 1 repeated a prompt" in said
    assert "Near-duplicates left out (MinHash, similarity of at least 0.85): 1" in said
    assert "Removed: e-mail addresses: 1" in said
    assert "mail the invoice to [EMAIL]" in ran("show", "s")
    every = ("--no-redact", "--near-duplicates", "1", "--sample", "2")
    said = ran("import", source, "--set", "t", "--from", "openai-log", "--held-out-share", "0", *every)
    assert "2 prompts added" in said
    assert "Left out by --sample 2 (3 clusters by MinHash): 2" in said


def test_a_column_of_a_log_is_refused(tmp_path, monkeypatch, capsys):
    """Prevents an option that is accepted and forgotten."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    log = ("--from", "openai-log", "--column", "x")
    code, said, _ = run_command(capsys, "prompts", "import", written(tmp_path, {}), "--set", "s", *log)
    assert (code, "Leave one out" in said) == (1, True)
