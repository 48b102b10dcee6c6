"""`cyclealign init`: a config that runs, written from the example; and completion in the shell."""

import json
import os
import subprocess
import sys

import pytest

from cyclealign.cli.init import per_round
from cyclealign.config import load_config
from cyclealign.config.starter import STARTER, starter_config
from cyclealign.store import Store
from tests.support.experiment import run_command
from tests.support.paths import PROMPTS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_prompts(folder, count):
    (folder / "mine.jsonl").write_text("\n".join(json.dumps({"prompt": f"question {n}"}) for n in range(count)))


ARGUMENTS = ("init", "mine", "--model", "models/x", "--judge-model", "gpt-4o-mini")


def test_the_config_holds_the_users_values_and_the_next_commands_are_named(folder, capsys):
    """Prevents eight edits before the first round, and a config whose set is smaller than a round."""
    write_prompts(folder, 60)
    code, output, errors = run_command(capsys, *ARGUMENTS, "--prompts", "mine.jsonl")
    assert code == 0, output + errors
    config = load_config(folder / "mine.toml")
    assert (config.experiment, config.prompts.set_name, config.policy.model) == ("mine", "mine", "models/x")
    assert (config.judge.kind, config.judge.model) == ("openai", "gpt-4o-mini")
    with Store.open() as store:
        (size,) = store.prompts.sets()
    assert (config.prompts.per_round, config.prompts.held_out) == (min(32, size.train), size.held_out)
    assert size.held_out >= 10, "a tenth of a small set would measure nothing"
    for command in ("export OPENAI_API_KEY=", "cyclealign doctor mine.toml --ask", "cyclealign run mine.toml"):
        assert command in output


def test_a_folder_of_weights_is_named_by_its_absolute_path(folder, capsys):
    """Prevents a config that works in one folder, and fails in the run of its deployment."""
    (folder / "models" / "x").mkdir(parents=True)
    assert run_command(capsys, *ARGUMENTS)[0] == 0
    assert load_config(folder / "mine.toml").policy.model == str(folder / "models" / "x")


@pytest.mark.parametrize(("train", "expected"), [(5000, 200), (600, 200), (130, 44), (60, 32), (20, 20), (0, 1)])
def test_a_set_lasts_for_several_rounds(train, expected):
    """Prevents a first round that uses the whole set up, so that a second is refused, and a last round of one."""
    assert per_round(train) == expected


def test_a_table_with_an_own_column_of_prompts_is_imported(folder, capsys):
    """Prevents advice that cannot be followed: the message on an unknown column says to add --column."""
    (folder / "mine.csv").write_text("id,question_en\n" + "\n".join(f"{n},question {n}" for n in range(40)))
    command = (*ARGUMENTS, "--prompts", "mine.csv")
    code, output, _ = run_command(capsys, *command)
    assert (code, "--column NAME" in " ".join(output.split())) == (1, True)
    assert not (folder / "mine.toml").exists()
    code, output, errors = run_command(capsys, *command, "--column", "question_en")
    assert code == 0, output + errors
    assert load_config(folder / "mine.toml").prompts.set_name == "mine"


def test_the_comment_on_the_price_holds_for_any_judge(folder, capsys):
    """Prevents a config that promises the price of another model than the one it names."""
    run_command(capsys, *ARGUMENTS[:-1], "other-judge")
    assert "gpt-4o-mini" not in (folder / "mine.toml").read_text()


def test_templates_are_found_from_any_folder(folder, capsys):
    """Prevents a config that is refused because it was not written in the checkout."""
    run_command(capsys, *ARGUMENTS)
    assert load_config(folder / "mine.toml").templates == str(PROMPTS)


def test_a_file_is_not_overwritten_and_nothing_is_imported_for_a_wrong_value(folder, capsys):
    """Prevents edits that are lost, and prompts in a set that no config names."""
    write_prompts(folder, 20)
    wrong = run_command(capsys, "init", "../x", *ARGUMENTS[2:], "--prompts", "mine.jsonl")
    assert (wrong[0], "'experiment'" in wrong[1]) == (1, True)
    with Store.open() as store:
        assert store.prompts.sets() == []
    (folder / "mine.toml").write_text("seed = 3\n")
    code, output, _ = run_command(capsys, *ARGUMENTS)
    assert (code, "exists already" in output) == (1, True)
    assert (folder / "mine.toml").read_text() == "seed = 3\n"
    assert run_command(capsys, *ARGUMENTS, "--force")[0] == 0


def test_the_example_is_copied_as_it_is_but_for_the_values(tmp_path):
    """Prevents a comment or a setting of the example from being lost on the way."""
    text = starter_config("x.toml", {"policy.model": 'a "b" \\ c', "prompts.per_round": 7})
    path = tmp_path / "x.toml"
    path.write_text(text)
    assert load_config(path).policy.model == 'a "b" \\ c'
    before, after = STARTER.read_text().splitlines(), text.splitlines()
    assert [line for line in before if line not in after and not line.startswith("#")] == [
        "per_round = 200",
        next(line for line in before if line.startswith("model = ") and "models/my-model" in line),
    ]
    with pytest.raises(KeyError):
        starter_config("x.toml", {"policy.modle": "x"})


def complete(words, home):
    environment = {
        **os.environ,
        "CYCLEALIGN_HOME": str(home),
        "_CYCLEALIGN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    code = "from cyclealign.cli.main import app; app(prog_name='cyclealign')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.slow
def test_the_shell_completes_commands_and_experiments(tmp_path):
    """Prevents completion that knows the stand-ins of commands only, and not their arguments."""
    from tests.support.store_values import opened

    (tmp_path / "home").mkdir()
    with Store.open(f"sqlite:///{tmp_path / 'home' / 'cyclealign.db'}") as store:
        opened(store, experiment="kitchen")
    assert complete("cyclealign his", tmp_path / "home") == ["history"]
    assert complete("cyclealign history ki", tmp_path / "home") == ["kitchen"]
    assert complete("cyclealign run x.toml --experiment ", tmp_path / "home") == ["kitchen"]
    assert complete("cyclealign history ", tmp_path / "none") == []
