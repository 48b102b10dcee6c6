"""The command line: imports, output, and spellings of the last release."""

import json
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import cyclealign
from cyclealign.cli import main, run
from cyclealign.cli.lazy import load
from cyclealign.distill.registry import JOBS
from cyclealign.errors import BadPrompts

RUNNER = CliRunner()
HEAVY = {"torch", "transformers", "prefect", "sqlalchemy", "pydantic", "openai", "matplotlib", "numpy"}


def commands_below(command, name):
    """Yield each command with its full name."""
    yield name, command
    for child, sub in getattr(command, "commands", {}).items():
        yield from commands_below(sub, f"{name} {child}")


EVERY = [pair for name in main.COMMANDS for pair in commands_below(load(name), name)]


def test_an_interrupted_run_says_that_it_can_go_on(monkeypatch, capsys):
    """Prevents a run that was stopped by Ctrl-C from leaving its user without a word on what is kept."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cyclealign.cli.demo.run_align", interrupted)
    monkeypatch.setattr(sys, "argv", ["cyclealign", "demo"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 130
    assert "Rerun the same command to resume" in capsys.readouterr().out


def test_an_error_cannot_control_the_terminal_and_is_printed_whatever_its_text(monkeypatch, capsys):
    """Prevents a column's name or a provider's words from colouring the terminal, or from ending in a traceback."""

    def failing(*arguments: object) -> None:
        raise BadPrompts("found: \x1b[31mred, \ud83d [bold]")

    monkeypatch.setattr("cyclealign.cli.demo.run_align", failing)
    monkeypatch.setattr(sys, "argv", ["cyclealign", "demo"])
    with pytest.raises(SystemExit):
        main.main()
    assert "BadPrompts: found: \\u001b[31mred, \\ud83d [bold]" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_no_heavy_library(arguments):
    """Prevents `cyclealign --help` from taking seconds again, one import at a time."""
    code = (
        "import sys\n"
        "from cyclealign.cli.main import app\n"
        "try:\n    app()\n"
        "except SystemExit:\n    pass\n"
        "print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_the_version_is_that_of_the_package():
    """Prevents two versions of the version."""
    assert RUNNER.invoke(main.app, ["--version"]).output.strip() == f"cyclealign {cyclealign.__version__}"


def test_every_listed_command_has_a_module_and_every_module_with_a_command_is_listed():
    """Prevents a command that `--help` names and that cannot be run, or the other way round."""
    output = RUNNER.invoke(main.app, ["--help"]).output
    assert [line.split()[0] for line in output.partition("Commands:")[2].splitlines() if line] == list(main.COMMANDS)
    assert {name for name, _ in EVERY} >= set(main.COMMANDS)


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name for name, _ in EVERY])
def test_help_texts_are_printed_whole(name, command):
    """Prevents `[judge]` in a help text from being taken for markup and left out."""
    shown = RUNNER.invoke(main.app, [*name.split(), "--help"], env={"COLUMNS": "200"}).output
    texts = [command.help or "", *(getattr(parameter, "help", "") or "" for parameter in visible(command))]
    for bracketed in re.findall(r"\[\w+\]", " ".join(texts)):
        assert bracketed in shown


def visible(command):
    return [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]


def test_a_help_text_with_brackets_exists():
    """Prevents the test above from passing because no help text has brackets any more."""
    assert any("[judge]" in (getattr(parameter, "help", "") or "") for _, each in EVERY for parameter in each.params)


OLD = {
    ("prompts", "check"): "templates check",
    ("prompts", "show", "rank"): "templates show",
    ("prompts", "sets"): "prompts list",
    ("history", "--jobs"): "distill show",
    ("distill", "quantidce", "score", "FILE"): "distill score",
    ("distill", "--json", "quantidce", "score", "FILE"): "distill score",
    ("distill", "--seed", "3", "pld"): "distill run",
    **{("distill", name): "distill run" for name in JOBS},
    ("distill", "margin_mse"): "distill run",
}


@pytest.mark.parametrize("old", OLD, ids=" ".join)
def test_old_spellings_still_run_and_name_the_new_one(old, command):
    """Prevents scripts of the last release from failing, and their output from being mixed with the notice."""
    code, output, errors = command(*old)
    assert f"is now `cyclealign {OLD[old]}`" in errors
    assert "is now" not in output
    assert "No such command" not in errors
    # A job without a config, and a file that is missing, end in this project's own message: the command was reached.
    assert code == 0 or "Give either a config or --demo" in " ".join(output.split()) or "FILE" in output


def test_an_old_spelling_reaches_the_job_with_its_config(command, monkeypatch, tmp_path):
    """Prevents `distill pld CONFIG` from dropping its arguments on the way."""
    taken = []
    monkeypatch.setattr("cyclealign.cli.distill.run_job", lambda spec, config, as_json: taken.append((spec, config)))
    (tmp_path / "pld.toml").write_text("seed = 7\n")
    assert command("distill", "pld", str(tmp_path / "pld.toml"))[0] == 0
    ((spec, config),) = taken
    assert (spec.name, config.seed) == ("pld", 7)


def test_prompt_sets_are_listed_under_both_names(command, tmp_path):
    """Prevents `prompts sets` of the last release from failing."""
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": f"question {number}"}) for number in range(20)))
    assert command("prompts", "import", str(file), "--set", "[mine]")[0] == 0
    listed = command("prompts", "list")[1]
    assert "[mine]" in listed
    assert command("prompts", "sets")[1] == listed


def test_commands_are_typer_apps_of_their_module():
    """Prevents a command that is declared elsewhere than in the file of its name."""
    assert isinstance(run.app, typer.Typer)
    assert run.app.registered_commands[0].callback is run.run
