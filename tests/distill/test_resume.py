"""Trainings that are cut off go on from their last checkpoint, and end with the weights of undisturbed ones."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from cyclealign.distill.training_state import Checkpoints
from cyclealign.files import hash_of_file
from tests.distill.conftest import Distil
from tests.distill.cprd import test_job as cprd
from tests.distill.idcm import test_job as idcm
from tests.distill.quantidce import test_job as quantidce
from tests.distill.test_run import TINY as PLD

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="sums on a GPU may differ between runs"),
]

JOBS = {"pld": PLD, "quantidce": quantidce.TINY, "cprd": cprd.TINY, "idcm": idcm.TINY}
# Enough steps for checkpoints in the middle; dropout and a queue, whose state must go on too.
LONGER: dict[str, dict[str, Any]] = {
    "pld": {"teacher": {"epochs": 2}, "student": {"epochs": 2}},
    "quantidce": {
        "encoder": {"sizes": {"hidden_dropout_prob": 0.2}},
        "arms": [{"name": "both", "pretraining": "mlr", "tuning": "kd"}],
    },
    "cprd": {"student": {"epochs": 3}},
    "idcm": {"etm": {"documents": {"steps": 3, "batch": 2}, "passages": {"steps": 3, "batch": 4}}},
}


def settings_of(job: str) -> dict[str, Any]:
    """The job's smallest settings with a checkpoint after every step."""
    settings: dict[str, Any] = tomllib.loads(JOBS[job])
    for section, values in LONGER[job].items():
        settings[section] = {**settings[section], **values} if isinstance(values, dict) else values
    return {**settings, "trainer": {"save_every": 1}}


def weights(home: Path) -> dict[str, str]:
    """Hash of each file of weights below a home's stages."""
    return {
        str(file.relative_to(home)): hash_of_file(file) for file in sorted((home / "distill").rglob("*.safetensors"))
    }


@pytest.mark.parametrize("job", JOBS)
def test_a_training_that_dies_again_and_again_ends_as_an_undisturbed_one(job, distil: Distil, tmp_path, monkeypatch):
    """Prevents a resumed training from beginning anew, from another order of batches, rate, dropout or queue."""
    distil(job, settings_of(job))
    undisturbed = weights(tmp_path / "home")
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "other"))
    save, saved, on_disk = Checkpoints.save, [0], set[int]()

    def dying(self: Checkpoints, step: int, state: Any) -> None:
        save(self, step, state)
        saved[0] += 1
        assert self.folder is not None
        on_disk.add(len([*self.folder.iterdir()]))
        if saved[0] % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", dying)
    deaths = 0
    while True:
        try:
            distil(job, settings_of(job))
        except KeyboardInterrupt:
            deaths += 1
        else:
            break
    assert deaths >= 2
    assert saved[0] < 2 * deaths + 2  # no step was saved twice
    assert on_disk == {1}
    assert weights(tmp_path / "other") == undisturbed
    assert not [*(tmp_path / "other").rglob("*-steps")]


def test_a_killed_process_goes_on(distil: Distil, tmp_path, monkeypatch):
    """Prevents checkpoints that are whole only if Python ends in an orderly way."""
    distil("pld", settings_of("pld"))
    undisturbed = weights(tmp_path / "home")
    file = tmp_path / "pld.toml"
    file.write_text(PLD.replace("epochs = 1", "epochs = 2") + "[trainer]\nsave_every = 1\n")
    environment = {**os.environ, "CYCLEALIGN_HOME": str(tmp_path / "other")}
    command = [sys.executable, "-m", "tests.distill.killed", "pld", str(file), "9"]
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    assert [*(tmp_path / "other").rglob("step-*.pt")]
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "other"))
    distil("pld", settings_of("pld"))
    assert weights(tmp_path / "other") == undisturbed
