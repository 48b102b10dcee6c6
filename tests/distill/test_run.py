"""What all distillation flows share, through the command line: finding finished work, going on after a kill."""

import json
import shutil
from pathlib import Path

import pytest

from cyclealign.distill import registry
from cyclealign.files import hash_of_folder
from cyclealign.store import Store
from tests.support.paths import ROOT

TINY = """
runs = 2
[data]
classes = 5
train_per_class = 6
valid_per_class = 2
test_per_class = 4
[teacher]
sizes = { embedding_size = 4, hidden_sizes = [4], depths = [1], layer_type = "basic" }
epochs = 1
batch = 8
[student]
sizes = { embedding_size = 4, hidden_sizes = [4], depths = [1], layer_type = "basic" }
epochs = 1
batch = 8
[[arms]]
loss = "ce"
[[arms]]
loss = "pld"
"""


@pytest.fixture
def tiny(tmp_path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_the_same_config_finds_its_run_and_another_does_not(command, tiny, tmp_path, monkeypatch):
    """Prevents finished work from being paid again, and old figures from standing for new settings."""
    code, output, errors = command("distill", "run", "pld", str(tiny), "--json")
    assert code == 0, errors
    first = json.loads(output)
    assert {each["arm"] for each in first["measures"]} == {"teacher", "ce", "pld"}
    assert hash_of_folder(Path(first["student_path"])) == first["student_hash"]
    assert Path(first["report_path"]).read_text().count("| pld |") == 1
    assert Path(first["report_path"]).with_suffix(".svg").read_bytes().startswith(b"<?xml")
    assert {each["step"] for each in first["steps"]} >= {"data", "label", "arm ce", "arm pld"}

    found = json.loads(command("distill", "run", "pld", str(tiny), "--json")[1])
    assert found == first
    labels = set((tmp_path / "home" / "distill" / "pld" / "labels").iterdir())
    again = json.loads(command("distill", "run", "pld", str(tiny), "--json", "--force")[1])
    assert again["id"] != first["id"]
    assert again["measures"] == first["measures"]
    assert set((tmp_path / "home" / "distill" / "pld" / "labels").iterdir()) == labels
    other = json.loads(command("distill", "run", "pld", str(tiny), "--json", "--seed", "1")[1])
    assert other["config_hash"] != first["config_hash"]

    code, output, _ = command("history", "--jobs", "--json")
    assert [run["id"] for run in json.loads(output)] == [first["id"], again["id"], other["id"]]
    assert "PLD above it" in command("history", "--jobs")[1]


def test_a_killed_run_goes_on_with_the_arms_that_are_missing(command, tiny, monkeypatch):
    """Prevents a kill from costing the arms that were done."""
    from cyclealign.distill.pld import train

    fitted: list[str] = []
    fit = train.fit

    def killed_at_pld(*arguments, **more):
        if arguments[3] == "pld" and "pld" not in fitted:
            fitted.append("pld")
            raise KeyboardInterrupt
        fitted.append(arguments[3])
        return fit(*arguments, **more)

    monkeypatch.setattr(train, "fit", killed_at_pld)
    assert command("distill", "run", "pld", str(tiny))[0] == 130
    with Store.open() as store:
        assert [run["finished_at"] for run in store.distillations.runs()] == [None]
    assert "not finished" in command("history", "--jobs")[1]
    before = len(fitted)
    assert command("distill", "run", "pld", str(tiny))[0] == 0
    assert fitted[before:] == ["pld", "pld"]
    with Store.open() as store:
        assert len(store.distillations.runs()) == 1


@pytest.mark.parametrize(
    ("without", "trained"),
    [("reports", 0), ("distill/pld/stages", 4), ("distill/pld/stages/pld-*", 2), ("distill/pld/labels", 0)],
)
def test_a_finished_run_makes_again_what_is_gone(command, tiny, tmp_path, monkeypatch, without, trained):
    """Prevents a student or a report that somebody removed from being named as there, and more work than is missing."""
    from cyclealign.distill.pld import train

    first = json.loads(command("distill", "run", "pld", str(tiny), "--json")[1])
    fitted: list[str] = []
    fit = train.fit

    def watched(*arguments, **more):
        fitted.append(arguments[3])
        return fit(*arguments, **more)

    monkeypatch.setattr(train, "fit", watched)
    for folder in (tmp_path / "home").glob(without):
        shutil.rmtree(folder)
    code, output, errors = command("distill", "run", "pld", str(tiny), "--json")
    assert code == 0, errors
    found = json.loads(output)
    assert ("is missing and is made again" in errors) == (without != "distill/pld/labels")
    assert len(fitted) == trained
    assert hash_of_folder(Path(found["student_path"])) == found["student_hash"]
    assert Path(found["report_path"]).with_suffix(".svg").is_file()
    assert Path(found["report_path"]).is_file()
    same = ("id", "measures", "student_path", "student_hash", "report_path")
    assert [found[name] for name in same] == [first[name] for name in same]
    with Store.open() as store:
        assert [run["finished_at"] is not None for run in store.distillations.runs()] == [True]


def test_a_run_that_another_machine_finished_is_found(command, tiny, tmp_path, monkeypatch):
    """Prevents machines that share a database and see each other's folders from doing each other's work again."""
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", f"sqlite:///{tmp_path / 'shared.db'}")
    first = json.loads(command("distill", "run", "pld", str(tiny), "--json")[1])
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "of another machine"))
    assert json.loads(command("distill", "run", "pld", str(tiny), "--json")[1]) == first
    assert not (tmp_path / "of another machine" / "distill").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "no distillation job 'nothing'. There are: "),
        (("pld",), "Give a config or --demo"),
        (("pld", "absent.toml"), "absent.toml: cannot be read"),
    ],
)
def test_mistakes_end_in_one_message(command, arguments, message):
    code, output, _ = command("distill", "run", *arguments)
    assert code == 1
    assert message in " ".join(output.split())
    assert "Traceback" not in output


@pytest.mark.parametrize("entry", registry.JOBS.values(), ids=lambda entry: entry.name)
def test_every_job_is_registered_alike(entry):
    """Prevents a job that the command line knows from missing in the UI, or from an empty form."""
    import yaml
    from prefect.flows import load_flow_from_entrypoint

    from flows.distill import FLOWS

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (mine,) = [each for each in deployments if each["name"] == entry.name]
    flow = load_flow_from_entrypoint(mine["entrypoint"])
    assert flow is FLOWS[entry.name]
    assert flow.name == entry.name
    assert mine["work_pool"]["name"] == "local"
    form = flow.parameters.properties["config"]
    assert form["default"] == entry.config().model_dump(mode="json")
