"""Training with two processes (gloo, on the CPU) gives the weights of one."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from cyclealign.config import TrainingSettings
from cyclealign.policy.weights import ADAPTER_WEIGHTS
from cyclealign.training.job import TrainingJob
from tests.support.paths import ROOT
from tests.support.tiny import make_model
from tests.support.uneven_lists import LISTS

pytestmark = pytest.mark.slow
OF_ADAPTERS = ("rrhf", "lipo", "dpo")  # a list, a list with a reference, pairs
JOBS = (*OF_ADAPTERS, "full")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders of the jobs, each trained by one process and by two; DPO continues from RRHF's adapter."""
    home = tmp_path_factory.mktemp("together")
    model = str(make_model(home / "model"))
    for name in JOBS:
        choice = {"method": "full"} if name == "full" else {"objective": name, "lora_rank": 4}
        settings = TrainingSettings(**choice, learning_rate=5e-3, epochs=2, prompts_per_step=4)
        parent = str(home / "rrhf" / "alone") if name == "dpo" else None
        (home / name).mkdir()
        TrainingJob(model, None, parent, settings, LISTS, seed=3).save(home / name / "job.json")
    command = [sys.executable, "-m", "tests.support.several_processes", *[str(home / each) for each in JOBS]]
    ended = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return home


@pytest.mark.parametrize("objective", OF_ADAPTERS)
def test_two_processes_train_the_adapter_of_one(trained, objective):
    """Prevents steps of double size, a mean of means, rows that count twice, and weights that only one process sees."""
    alone, shared = trained / objective / "alone", trained / objective / "shared"
    reports = [json.loads(path.read_text()) for path in (alone / "loss-0.json", *sorted(shared.glob("loss-*.json")))]
    assert len(reports) == 3
    assert reports[0]["steps"] == reports[1]["steps"] == reports[2]["steps"]
    assert [each["loss"] for each in reports] == pytest.approx([reports[0]["loss"]] * 3, rel=1e-4)
    check_equal_figures(*(each["figures"] for each in reports))
    weights = check_equal_weights(alone / ADAPTER_WEIGHTS, shared / ADAPTER_WEIGHTS)
    assert max(tensor.abs().max().item() for name, tensor in weights.items() if "lora_B" in name) > 1e-3


def check_equal_figures(alone, *shared):
    """Prevents figures of one process's part of a step; each process has the same ones."""
    for figures in shared:
        for step, other in zip(alone, figures, strict=True):
            names = [name for name in step if name != "seconds" and step[name] is not None]
            assert [other[name] for name in names] == pytest.approx([step[name] for name in names], rel=1e-3, abs=1e-5)
    assert all(step["ranking_accuracy"] is not None for step in alone)


def check_equal_weights(path, other):
    weights, others = load_file(path), load_file(other)
    assert weights.keys() == others.keys()
    for name in weights:
        assert torch.allclose(weights[name], others[name], atol=2e-5), name
    return weights


def test_two_processes_train_the_full_weights_of_one(trained):
    """Prevents full weights that each process saves for itself, or that one process alone has changed."""
    alone, shared = trained / "full" / "alone", trained / "full" / "shared"
    weights = check_equal_weights(alone / "model.safetensors", shared / "model.safetensors")
    before = load_file(trained / "model" / "model.safetensors")
    assert min((weights[name] - before[name]).abs().max().item() for name in before) > 1e-3
