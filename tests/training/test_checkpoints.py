"""A training that was killed goes on from its last checkpoint."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from cyclealign.policy import weights
from cyclealign.training import launcher
from cyclealign.training.checkpoints import last_published, publish
from cyclealign.training.worker import fit
from tests.support.paths import ROOT
from tests.support.training_jobs import no_progress, training_job
from tests.support.uneven_lists import LISTS

# 7 lists in steps of 3, three epochs: 9 steps.
SETTINGS = {"lists": LISTS, "prompts_per_step": 3, "epochs": 3, "save_every": 2, "lora_rank": 4}


def kill_after(job, folder, checkpoints, step):
    folder.mkdir()
    job.save(folder / "job.json")
    command = [sys.executable, "-m", "tests.support.killed_training", str(folder), str(checkpoints), str(step)]
    ended = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=200)
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "settings"),
    [
        (5, {"objective": "rrhf", "lora_dropout": 0.3, "lr_scheduler_type": "cosine"}),  # within an epoch
        (7, {"objective": "dpo", "max_steps": 9}),  # with a reference, within an epoch
        (7, {"objective": "pro", "method": "full"}),  # the checkpoint is the end of an epoch
        (5, {"objective": "list_dpo", "kl_weight": 0.1}),  # with a reference that is computed before the first step
    ],
)
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(folder, prompt_ids, tmp_path, step, settings):
    """Prevents hours that are lost, lists that are learnt twice or never, and a fresh optimizer in the middle."""
    parent = None
    if settings["objective"] == "dpo":
        parent = tmp_path / "parent"
        fit(training_job(folder, prompt_ids, epochs=1), parent, no_progress)
    job = training_job(folder, prompt_ids, parent=parent, **{**SETTINGS, **settings})
    checkpoints, steps = tmp_path / "checkpoints", []
    kill_after(job, tmp_path / "killed", checkpoints, step)
    kept = [path.name for path in checkpoints.iterdir()]
    assert kept == [f"step-{step - 1}"]
    figures, others = [], []
    resumed = fit(job, tmp_path / "resumed", lambda done, of: steps.append(done), checkpoints, figures.append)
    undisturbed = fit(job, tmp_path / "undisturbed", no_progress, None, others.append)
    assert [replace(each, seconds=None) for each in figures] == [replace(each, seconds=None) for each in others]
    assert steps[0] == step
    assert weights.content_hash(tmp_path / "resumed") == weights.content_hash(tmp_path / "undisturbed") is not None
    assert resumed == pytest.approx(undisturbed, rel=1e-12)


def test_the_last_checkpoint_alone_is_kept(tmp_path):
    """Prevents a disk that fills up, and a step 9 that counts as later than a step 10."""
    for step in (9, 10):
        made = tmp_path / f"checkpoint-{step}"
        made.mkdir()
        (made / "weights").write_text(str(step))
        publish(made, tmp_path / "kept", step)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["step-10"]
    assert last_published(tmp_path / "kept").name == "step-10"
    assert last_published(tmp_path / "none") is last_published(None) is None


def test_checkpoints_of_another_optimisation_are_deleted(folder, prompt_ids, tmp_path):
    """Prevents a training that goes on from a checkpoint of other lists or settings; less memory is no other one."""
    job = training_job(folder, prompt_ids, epochs=1)
    less_memory = replace(job, settings=job.settings.model_copy(update={"tokens_at_once": 40}))
    slower = replace(job, settings=job.settings.model_copy(update={"learning_rate": 1e-6}))
    assert less_memory.optimisation_hash == job.optimisation_hash
    assert len({job.optimisation_hash, slower.optimisation_hash, replace(job, seed=4).optimisation_hash}) == 3
    former = tmp_path / "checkpoints" / slower.optimisation_hash / "step-50"
    former.mkdir(parents=True)
    (tmp_path / "made").mkdir()
    launcher.train(job, tmp_path / "made", no_progress, checkpoints=tmp_path / "checkpoints")
    assert not former.exists()
