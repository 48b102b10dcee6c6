"""CPRD by its flow: trained, kept, and found again."""

import json
import sys

import pytest

TINY = """
runs = 1
arms = ["none", "cprd"]
[data]
train = 16
test = 6
image_size = 16
[student]
epochs = 1
layers = 1
size = 16
batch = 8
[distillation]
num_hard_negatives = 4
"""


def test_the_job_leaves_a_student_and_its_figures(tmp_path, prefect_server, monkeypatch, capsys):
    """Prevents a job whose student cannot be loaded, and one that trains anew what is finished."""
    from cyclealign.cli.main import main
    from cyclealign.distill.cprd import student
    from cyclealign.distill.cprd.config import DataSettings

    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    config = tmp_path / "tiny.toml"
    config.write_text(TINY)
    monkeypatch.setattr(sys, "argv", ["cyclealign", "distill", "run", "cprd", str(config), "--json"])
    found = []
    for _ in range(2):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="0"):
            main()
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["id"] == found[1]["id"]
    assert {each["arm"] for each in found[0]["measures"]} == {"none", "cprd"}
    assert student.load(found[0]["student_path"], DataSettings(image_size=16)).of_texts(["a red circle"]).shape == (
        1,
        8,
    )
