"""The run of a job: finished work is found, interrupted work is resumed, missing output is made again."""

import shutil
from pathlib import Path

import pytest

from cyclealign import progress
from cyclealign.distill.pld import train
from cyclealign.files import hash_of_folder
from cyclealign.store import Store
from tests.distill.conftest import Distil

pytestmark = pytest.mark.slow

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
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The loss of every student or teacher that PLD trains, in order."""
    losses: list[str] = []
    fit = train.fit

    def watched(*arguments, **options):
        losses.append(arguments[3])
        return fit(*arguments, **options)

    monkeypatch.setattr(train, "fit", watched)
    return losses


def test_the_same_config_finds_its_run_and_another_does_not(distil: Distil, tmp_path: Path) -> None:
    """Prevents finished work from being paid again, and old figures from standing for new settings."""
    first = distil("pld", TINY)
    assert {row["arm"] for row in first["measures"]} == {"teacher", "ce", "pld"}
    assert hash_of_folder(Path(first["student_path"])) == first["student_hash"]
    assert Path(first["report_path"]).read_text().count("| pld |") == 1
    assert Path(first["report_path"]).with_suffix(".svg").read_bytes().startswith(b"<?xml")
    assert {row["step"] for row in first["steps"]} >= {"data", "label", "arm ce", "arm pld"}
    assert distil("pld", TINY) == first
    labels = {*(tmp_path / "home" / "distill" / "pld" / "labels").iterdir()}
    forced = distil("pld", TINY, force=True)
    assert forced["id"] != first["id"]
    assert forced["measures"] == first["measures"]
    assert {*(tmp_path / "home" / "distill" / "pld" / "labels").iterdir()} == labels
    assert distil("pld", TINY, seed=1)["config_hash"] != first["config_hash"]


def test_an_interrupted_run_resumes_with_the_missing_arms(distil: Distil, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a kill from costing the arms that were done."""
    fitted: list[str] = []
    fit = train.fit

    def killed_at_pld(*arguments, **options):
        fitted.append(arguments[3])
        if fitted.count("pld") == 1:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(train, "fit", killed_at_pld)
    with pytest.raises(KeyboardInterrupt):
        distil("pld", TINY)
    with Store.open() as store:
        (interrupted,) = store.distillations.runs()
    assert interrupted["finished_at"] is None
    assert "arm pld" in {row["step"] for row in interrupted["steps"]}  # the seconds of a step that raised are kept
    before = len(fitted)
    assert distil("pld", TINY)["id"] == interrupted["id"]
    assert fitted[before:] == ["pld", "pld"]


@pytest.mark.parametrize(
    ("without", "expected"),
    [("reports", 0), ("distill/pld/stages", 4), ("distill/pld/stages/pld-*", 2), ("distill/pld/labels", 0)],
)
def test_a_finished_run_makes_missing_output_again(
    distil: Distil, trained: list[str], tmp_path: Path, without: str, expected: int
) -> None:
    """Prevents a removed student or report from being named as if it existed, and more work than is missing."""
    first = distil("pld", TINY)
    trained.clear()
    for folder in (tmp_path / "home").glob(without):
        shutil.rmtree(folder)
    headings: list[str] = []
    with progress.listening(lambda label, done, of: headings.append(label)):
        found = distil("pld", TINY)
    assert any("is missing and is made again" in heading for heading in headings) == (without != "distill/pld/labels")
    assert len(trained) == expected
    assert hash_of_folder(Path(found["student_path"])) == found["student_hash"]
    assert Path(found["report_path"]).with_suffix(".svg").is_file()
    assert Path(found["report_path"]).is_file()
    same = ("id", "measures", "student_path", "student_hash", "report_path")
    assert [found[name] for name in same] == [first[name] for name in same]
    with Store.open() as store:
        assert [run["finished_at"] is not None for run in store.distillations.runs()] == [True]


def test_a_run_that_another_machine_finished_is_found(
    distil: Distil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents machines that share a database and see each other's folders from doing each other's work again."""
    monkeypatch.setenv("CYCLEALIGN_DATABASE_URL", f"sqlite:///{tmp_path / 'shared.db'}")
    first = distil("pld", TINY)
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "of another machine"))
    assert distil("pld", TINY) == first
    assert not (tmp_path / "of another machine" / "distill").exists()
