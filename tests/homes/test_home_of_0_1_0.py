"""A home, configs and schedules of 0.1.0 (commit 1d957e1) open with this version; ``0.1.0/README.md`` describes it."""

import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cyclealign.config import load_config
from tests.support.experiment import run_command

KEPT = Path(__file__).parent / "0.1.0"
MADE_IN = "/tmp/home-0.1.0"
EXPERIMENT = "old"
RUNS = {"pld": 1, "cprd": 2, "margin-mse": 3}
STEPS = {
    *("examine_judge", "generate", "judge", "watch_judge", "agree", "review"),
    *("teach", "answer_as_parent", "train", "evaluate", "decide"),
}
# A setting that bears on what is measured and reported alone, as (old text, new text) of the job's config.
EVALUATION_ONLY = {
    "pld": ('[[arms]]\nloss = "ce"\n', ""),
    "cprd": ('["none", "cprd"]', '["cprd"]'),
    "margin-mse": ("cutoff = 10", "cutoff = 5"),
}
CONFIGS = sorted((KEPT / "configs").glob("*.toml"))
SCHEDULES: dict[str, dict[str, Any]] = json.loads((KEPT / "schedules.json").read_text(encoding="utf-8"))

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The unpacked folder as the working directory, with the stored paths moved to it."""
    with tarfile.open(KEPT / "home.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    for path in (KEPT / "runs").iterdir():
        shutil.copy(path, tmp_path)
    settle(tmp_path / "home" / "cyclealign.db", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def command(
    site: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command line in the old home."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    return partial(run_command, capsys)


def settle(database: Path, folder: Path) -> None:
    """Replace the folder that the home was made in, in every column of a path, and end the killed run's lease."""
    with closing(sqlite3.connect(database)) as connection, connection:
        columns = connection.execute(
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c "
            "WHERE m.type = 'table' AND (c.name = 'path' OR c.name LIKE '%\\_path' ESCAPE '\\')"
        ).fetchall()
        for table, column in columns:
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (MADE_IN, str(folder)))
        # The killed run's lease is over on every machine, whatever its clock says.
        connection.execute("UPDATE round SET lease_until = '2000-01-01 00:00:00.000000' WHERE status = 'open'")


def answer(command: Command, *arguments: str) -> Any:
    """The JSON that a command prints."""
    code, output, errors = command(*arguments, "--json")
    assert code == 0, output + errors
    return json.loads(output)


def rows(site: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of the home's database."""
    with closing(sqlite3.connect(site / "home" / "cyclealign.db")) as connection:
        return sorted(connection.execute(query).fetchall())


def files_below(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its inode and modification time; a file that is written anew has others.

    The note beside labels is left out: each look-up of the labels writes it again.
    """
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file() and path.name != "made_of.json"}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


def test_the_history_reads_with_verdicts_and_step_names(command: Command) -> None:
    """Prevents a migration that loses rounds, and step names that no longer match the stored ones."""
    rounds = answer(command, "history", EXPERIMENT)
    assert [row["number"] for row in rounds] == [1, 2, 3]
    assert [row["verdict"] for row in rounds] == ["accepted", "rolled_back", None]
    assert [row["demonstrations_promoted"] for row in rounds] == [2, 2, 0]
    for number in (1, 2):
        detail = answer(command, "history", EXPERIMENT, "--round", str(number))
        assert {row["step"] for row in detail["steps"]} == STEPS
    code, output, errors = command("history", EXPERIMENT, "--round", "1")
    assert code == 0, output + errors


def test_the_review_and_the_rejudgement_are_kept(command: Command) -> None:
    """Prevents the loss of labels that people gave and of comparisons that were paid for."""
    first = answer(command, "review", EXPERIMENT, "--round", "1")
    assert [each["status"] for each in first] == ["answered"]
    (comparison,) = answer(command, "history", EXPERIMENT, "--round", "1")["rejudgements"]
    assert (comparison["model"], comparison["lists"]) == ("simulated-judge", 3)


@pytest.mark.slow
def test_the_open_round_goes_on_from_its_stored_plan(command: Command, site: Path) -> None:
    """Prevents a stored plan whose settings no longer validate, verdicts that are bought twice, and a lost parent."""
    judged = "SELECT r.id, c.key FROM judge_call c JOIN round r ON r.id = c.round_id WHERE r.number = 3 "
    judged += "AND c.purpose = 'rank'"
    before = rows(site, judged)
    code, output, errors = command("run", "align.toml")
    assert code == 0, output + errors
    assert before
    assert rows(site, judged) == before
    rounds = answer(command, "history", EXPERIMENT)
    assert [row["number"] for row in rounds] == [1, 2, 3]
    assert [row["verdict"] for row in rounds] == ["accepted", "rolled_back", "accepted"]
    accepted = answer(command, "history", EXPERIMENT, "--round", "1")["adapter"]
    resumed = answer(command, "history", EXPERIMENT, "--round", "3")
    assert resumed["adapter"]["parent_id"] == accepted["id"]
    assert {row["step"] for row in resumed["steps"]} == STEPS | {"examine_policy"}


@pytest.mark.slow
@pytest.mark.parametrize("job", RUNS)
def test_a_finished_distillation_is_found_finished(command: Command, site: Path, job: str) -> None:
    """Prevents a student that took days from being trained again after an update."""
    before = {name: files_below(site / "home" / name) for name in ("distill", "reports")}
    run = answer(command, "distill", job, f"{job}.toml")
    assert run["id"] == RUNS[job]
    assert Path(run["student_path"]).is_dir()
    assert {name: files_below(site / "home" / name) for name in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("job", EVALUATION_ONLY)
def test_students_and_labels_are_reused_when_only_the_evaluation_changes(
    command: Command, site: Path, job: str
) -> None:
    """Prevents a move of the code, or a renamed setting, from changing the places of labels and stages."""
    config, (old, new) = site / f"{job}.toml", EVALUATION_ONLY[job]
    text = config.read_text(encoding="utf-8")
    assert old in text
    config.write_text(text.replace(old, new), encoding="utf-8")
    before = files_below(site / "home" / "distill")
    run = answer(command, "distill", job, str(config))
    assert run["id"] not in RUNS.values()
    assert run["measures"]
    assert files_below(site / "home" / "distill") == before


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_example_config_of_that_version_loads(path: Path) -> None:
    """Prevents a renamed setting without an alias, which would refuse the configs that people have."""
    from cyclealign.distill.registry import JOBS

    entry = JOBS.get(path.stem.removesuffix("-demo"))
    loaded = entry.config(path) if entry else load_config(path)
    assert loaded.model_dump()


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_parameters_of_a_schedule_are_accepted(name: str) -> None:
    """Prevents schedules made in the UI from failing at night because a setting has another name."""
    from flows.align import align
    from flows.distill import FLOWS

    flow = align if name == "align" else FLOWS[name]
    validated = flow.validate_parameters(SCHEDULES[name])["config"]
    assert validated.seed == SCHEDULES[name]["config"]["seed"]
