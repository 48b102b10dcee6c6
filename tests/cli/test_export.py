"""`cyclealign export`: options reach the export, and the default folder is in the home folder."""

import json

import pytest

from cyclealign.store import Store
from tests.export.judged import judged_round, one_turn
from tests.support.experiment import run_command


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys):
    """Return a function that runs `cyclealign export` in a home with one accepted round; it returns code and output."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    with Store.open() as store:
        judged_round(store, [one_turn("q")], [["a", "b", "c"]])

    def run(*args: str) -> tuple[int, str]:
        code, output, _ = run_command(capsys, "export", *args)
        return code, " ".join(output.split())

    return run


def test_each_kind_is_written_to_its_own_folder(ran, tmp_path):
    """Prevents the second export from refusing the folder of the first."""
    for kind, rows in (("rankings", 1), ("preferences", 2), ("sft", 1)):
        code, said = ran(kind, "trial")
        assert (code, f"rows {rows}, lists 1 (ranked by people: 0), rounds 1" in said) == (0, True)
        lines = (tmp_path / "home" / "exports" / f"trial-{kind}" / f"{kind}.jsonl").read_text().splitlines()
        assert len(lines) == rows


def test_options_reach_the_export(ran, tmp_path):
    """Prevents an option that is accepted and forgotten."""
    assert ran("sft", "trial", "--form", "messages", "--output", str(tmp_path / "s"), "--round", "1")[0] == 0
    row = json.loads((tmp_path / "s" / "sft.jsonl").read_text())
    assert [turn["content"] for turn in row["messages"]] == ["q", "a"]
    assert ran("rankings", "trial", "--for", "argilla", "--output", str(tmp_path / "a"), "--all-rounds")[0] == 0
    assert (tmp_path / "a" / "records.json").is_file()
    assert ran("rankings", "trial", "--format", "parquet", "--output", str(tmp_path / "a"), "--overwrite")[0] == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["README.md", "rankings.parquet"]
    code, said = ran("rankings", "trial", "--min-preference", "0.9")
    assert (code, "no effect on rankings" in said) == (1, True)


def test_an_unknown_experiment_is_named(ran):
    code, said = ran("rankings", "trail")
    assert (code, "no experiment 'trail'" in said) == (1, True)


def test_options_may_stand_before_the_kind(ran, tmp_path):
    """Prevents commands of scripts for 0.2, in which the kind was an argument, from failing."""
    assert ran("--all-rounds", "--output", str(tmp_path / "o"), "rankings", "trial")[0] == 0
    assert (tmp_path / "o" / "rankings.jsonl").is_file()
