"""Training in this process and in a process of its own."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from cyclealign.errors import TrainingFailed
from cyclealign.policy.weights import ADAPTER_WEIGHTS
from cyclealign.training.job import RankedAnswers
from cyclealign.training.launcher import train
from tests.support.paths import ROOT
from tests.support.training_jobs import no_progress, training_job

pytestmark = pytest.mark.slow

TWO = ROOT / "flows" / "configs" / "accelerate-two-gpus.yaml"


@pytest.mark.parametrize("config", [None, pytest.param(str(TWO), marks=pytest.mark.slow)], ids=["plain", "two"])
def test_a_process_of_its_own_trains_the_same_adapter(folder, prompt_ids, tmp_path, config):
    """Prevents the two values of training.process from being two methods, and a job file from losing a field.

    With the example's two processes there is one list: one of them has only padding.
    """
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    steps, figures, theirs = [], [], []
    loss = train(training_job(folder, prompt_ids, epochs=2), here, no_progress, on_step=figures.append)
    job = training_job(folder, prompt_ids, epochs=2, process="own", accelerate_config=config)
    other = train(job, there, lambda step, of: steps.append((step, of)), on_step=theirs.append)
    assert loss == pytest.approx(other, rel=1e-5)
    assert steps == [(1, 2), (2, 2)]
    assert [step.step for step in figures] == [step.step for step in theirs] == [1, 2]
    assert theirs[1].loss == pytest.approx(figures[1].loss, rel=1e-4)
    weights, others = load_file(here / ADAPTER_WEIGHTS), load_file(there / ADAPTER_WEIGHTS)
    assert all(torch.allclose(weights[name], others[name], atol=1e-6) for name in weights)


def test_a_training_process_that_fails_reports_its_exception(prompt_ids, tmp_path):
    """Prevents a half-written folder from being taken for an adapter."""
    job = training_job(str(tmp_path / "gone"), prompt_ids, process="own")
    with pytest.raises(TrainingFailed, match=r"Training failed: PolicyError: No model[^\n]*\nThe log is "):
        train(job, tmp_path, no_progress)


def test_a_training_process_ends_with_the_run_whatever_is_between_them():
    """Prevents a training process that holds the GPU after its run was killed, but not the launcher between them."""
    code = "import time; from cyclealign.processes import end_with_input; end_with_input(); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(120) == 1


@pytest.mark.parametrize("ranked", [{"weight": 0.0}, {"weight": 1.0, "pairs": ()}], ids=["no weight", "undecided"])
def test_lists_without_signal_are_refused(folder, tmp_path, ranked):
    """Prevents an adapter that was trained on nothing, or on an order that no verdict supports."""
    lists = (RankedAnswers((1, 2), ((3, 2), (4, 2)), **ranked),)
    with pytest.raises(TrainingFailed, match="nothing to learn from"):
        train(training_job(folder, (1, 2), lists=lists), tmp_path, no_progress)
